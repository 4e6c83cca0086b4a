"""The training benchmark: both engines run on the same rows, and the summary compares medians."""

import pytest

from benchmarks import training_speed
from benchmarks.training import alone, summary
from include.settings import get_settings
from tests.training import fabricate

ROWS = 300
DAYS = 2


@pytest.fixture
def days(home):
    from include.lake.lake import get_lake

    log = fabricate.impressions(DAYS, ROWS)
    for number in range(DAYS):
        fabricate.publish(get_lake(), log, number)
    yield [fabricate.day(number) for number in range(DAYS)]
    get_settings.cache_clear()


@pytest.mark.parametrize("whole", [training_speed.ours_whole, training_speed.rechub_whole])
def test_end_to_end_reads_every_row_of_all_days(whole, days):
    assert whole(days, 64, 1)["rows"] == DAYS * ROWS


@pytest.mark.parametrize("whole", [training_speed.defaults_whole, training_speed.lightgbm_whole])
def test_engines_with_threads_of_their_own_read_every_row(whole, days, monkeypatch):
    monkeypatch.setenv("CTR_MODEL", "ple")  # these days have no text vectors
    get_settings.cache_clear()
    assert whole(days)["rows"] == DAYS * ROWS


@pytest.mark.parametrize("step", [training_speed.ours_step, training_speed.rechub_step])
def test_steps_are_whole_passes_over_the_last_day(step, days):
    result = step(days, 64, 1, 0.05)
    assert result["rows"] % ROWS == 0
    assert result["rows"] > 0


def test_both_engines_have_equally_many_matrix_weights(days):
    """Embeddings, normalisation and what only our engine reads are not counted."""
    from torch_rechub.basic.features import DenseFeature, SparseFeature

    from training.learn.artifact import build_model
    from training.learn.train import fresh_state, scan_dataset
    from training.learn.warm_start import config_of

    chosen = training_speed.own_settings(64, 1)
    config, lake = config_of(chosen), training_speed.get_lake()
    ours = build_model(
        fresh_state(lake, scan_dataset(lake, days, None, config.variant, 100), config, chosen, days[-1])
    ).backbone
    inputs = ours.first.experts.linear.in_features
    features = [SparseFeature("user_id", 1, 16), DenseFeature("dense", inputs - 16)]
    theirs = training_speed._network(features, len(config.scenes))

    def products(network) -> int:
        matrices = [weight for name, weight in network.named_parameters() if weight.dim() == 2 and "embed" not in name]
        return sum(weight.numel() for weight in matrices)

    assert products(ours) == products(theirs)


def test_the_summary_compares_medians():
    def measurement(engine, what, speed, **more):
        return {"engine": engine, "what": what, "threads": 1, "rows_per_second": speed, "peak_mib": 10, **more}

    found = [{"engine": "matmul", "what": "step", "threads": 1, "flop_per_second": 2e9, "peak_mib": 1}]
    for speed in (100.0, 200.0, 900.0):
        found += [measurement("ours", "step", speed, flop_per_row=1e6), measurement("rechub", "step", 50.0)]
        found += [measurement("ours", "whole", speed), measurement("rechub", "whole", 20.0)]
        found += [
            {"engine": engine, "what": "whole", "threads": 0, "rows_per_second": speed, "peak_mib": 7}
            for engine in ("defaults", "lightgbm")
        ]
    assert alone(found)["lightgbm"] == {"rows_per_second": 200, "peak_mib": 7}
    (row,) = summary(found)
    assert row["step"]["ratio"] == 4
    assert row["whole"]["ratio"] == 10
    assert row["share_of_matmul"] == 0.1
