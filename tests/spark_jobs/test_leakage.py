"""Single-feature AUC against scikit-learn."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from spark_jobs.leakage import SUSPECTS, leak_checks, single_feature_auc


def sample(rows: int = 800) -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({name: random.integers(0, 9, rows).astype(float) for name in SUSPECTS})
    return frame.assign(label=random.integers(0, 2, rows), scene=random.choice(["0", "1"], rows))


def test_auc_is_that_of_scikit_learn_in_either_direction():
    frame = sample()
    frame["user_ctr_7d"] = frame["label"] * 0.5 + np.random.default_rng(0).random(len(frame))
    frame["item_ctr_7d"] = -frame["user_ctr_7d"]
    found = single_feature_auc(frame)
    for name in ("user_ctr_7d", "item_ctr_7d", "user_clicks_7d"):
        auc = roc_auc_score(frame["label"], frame[name])
        assert np.isclose(found[name], max(auc, 1 - auc))


def test_nulls_alone_are_no_leak():
    frame = sample()
    frame["deep_features_0"] = np.nan
    assert single_feature_auc(frame)["deep_features_0"] == 0.5


def test_a_copied_label_fails_in_its_scene_only():
    frame = sample()
    frame.loc[frame["scene"] == "1", "deep_features_0"] = frame["label"]
    found = {check["column"]: check for check in leak_checks(frame)}
    assert (found["scene 0"]["status"], found["scene 1"]["status"]) == ("pass", "fail")
    assert found["scene 1"]["observed"] == "deep_features_0 1.000"
    assert "too few clicks" in found["scene 2"]["observed"]
