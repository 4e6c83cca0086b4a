"""The benchmark of the bootstrap resamples every group of the requested rows."""

from benchmarks.bootstrap import measure, scored_rows


def test_all_groups_of_so_many_rows_and_users_are_resampled():
    found = measure(rows=4_000, users=1_500, resamples=10, threads=2, seed=1)
    assert (found["groups"], found["users"]) == (57, 1_500)
    assert found["peak_mib"] >= found["before_mib"]


def test_both_models_predict_the_same_rows():
    (one, other), _ = scored_rows(1_000, 400, 1)
    assert (one.label == other.label).all()
    assert (one.probability != other.probability).any()
