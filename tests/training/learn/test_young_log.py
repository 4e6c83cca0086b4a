"""A model of five stationary days of 8,000 rows: its small scenes are not predicted far from the truth."""

import fabricate
import numpy as np
import pandas as pd
import pytest

from include.lake.lake import Lake
from include.settings import Settings
from training.learn.train import fit
from training.tables import read_day

pytestmark = pytest.mark.long

DAYS, ROWS = 5, 8_000
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Lake, pd.DataFrame]:
    """Settings, the lake of `DAYS` days and the one after, and the log whose `score` is the true logit."""
    home = tmp_path_factory.mktemp("young")
    log, lake = fabricate.impressions(DAYS + 1, ROWS), Lake(f"file://{home}/lake")
    for number in range(DAYS + 1):
        fabricate.publish(lake, log, number)
    return Settings(home=home, model="ple"), lake, log


@pytest.mark.parametrize("seed", [3, 4])
def test_each_scene_of_the_next_day_is_predicted_near_the_truth(young, seed: int) -> None:
    """The final weights err by scene otherwise than the younger ones did.

    Offsets of days as they were predicted left a scene of 6 % of the rows at 0.80 (seed 3) and 0.89 (seed 4) of the truth.
    """
    settings, lake, log = young
    days = [fabricate.day(number) for number in range(DAYS)]
    predictor = fit(lake, days, settings.model_copy(update={"seed": seed}), None).predictor
    rows = read_day(lake, "training", fabricate.day(DAYS), "the test")
    predicted = predictor.predict(rows, lake).probability
    today = log[log.number == DAYS]
    truth, scene = 1 / (1 + np.exp(-today.score.to_numpy())), today.scene.to_numpy()
    ratios = [predicted[scene == code].mean() / truth[scene == code].mean() for code in range(5)]
    assert np.allclose(ratios, 1, atol=TOLERANCE), np.round(ratios, 3)
