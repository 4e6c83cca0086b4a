import numpy as np

from training.learn.calibration import Calibration, sigmoid


def biased(rows: int, slope: float, offset: float, seed: int = 0):
    """Logits from which the truth differs by a slope and an offset."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2, 1, rows)
    labels = (rng.random(rows) < sigmoid(slope * logits + offset)).astype(float)
    return logits, labels


def test_finds_slope_and_offset_of_each_scene():
    first, second = biased(40_000, 0.7, 0.4), biased(40_000, 1.2, -0.3, seed=1)
    scene = np.repeat([0, 1], 40_000)
    fitted = Calibration.fit(np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]]), scene, 2)
    assert np.allclose(fitted.slope, [0.7, 1.2], atol=0.08)
    assert np.allclose(fitted.offset, [0.4, -0.3], atol=0.15)


def test_mean_prediction_meets_the_clicks():
    logits, labels = biased(20_000, 1.0, 0.5)
    scene = np.zeros(len(logits), np.int64)
    predicted = Calibration.fit(logits, labels, scene, 1).apply(logits, scene)
    assert abs(predicted.mean() / labels.mean() - 1) < 0.01


def test_offsets_of_other_logits_meet_their_clicks():
    before, now = biased(20_000, 0.8, 0.5), biased(20_000, 0.8, -0.2, seed=1)
    scene = np.zeros(20_000, np.int64)
    fitted = Calibration.fit(*before, scene, 1)
    moved = fitted.with_offsets_of(*now, scene)
    assert moved.slope.tolist() == fitted.slope.tolist()
    assert abs(moved.apply(now[0], scene).mean() / now[1].mean() - 1) < 0.01
    assert abs(fitted.apply(now[0], scene).mean() / now[1].mean() - 1) > 0.5


def test_an_offset_stays_where_there_are_no_rows():
    nothing = np.empty(0)
    one = Calibration(np.array([1.5]), np.array([0.25]))
    assert one.with_offsets_of(nothing, nothing, np.empty(0, np.int64)).offset.tolist() == [0.25]


def test_few_clicks_hardly_move_it_and_no_rows_not_at_all():
    logits, labels = biased(20, 0.2, 2.0)
    fitted = Calibration.fit(logits, labels, np.zeros(20, np.int64), 2)
    assert abs(fitted.slope[0] - 1) < 0.3
    assert abs(fitted.offset[0]) < 1.0  # of the 3 that would fit these rows best
    assert (fitted.slope[1], fitted.offset[1]) == (1.0, 0.0)


def test_survives_json_and_goes_part_of_the_way():
    one = Calibration(np.array([1.5, 1.0]), np.array([0.25, 0.0]))
    assert Calibration.from_json(one.as_json(("a", "b")), ("a", "b")).slope.tolist() == [1.5, 1.0]
    assert Calibration.identity(2).towards(one, 0.5).slope.tolist() == [1.25, 1.0]
