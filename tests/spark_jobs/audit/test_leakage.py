"""The statistical part of the leakage audit finds leaks, and reports nothing on honest days."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from include.checks import Measure
from include.sample.day import generate_day
from include.sample.world import World
from include.schemas import DEEP_FEATURES
from spark_jobs.audit.leakage import SUSPECTS, bound_of, column_aucs, leak_checks, single_feature_auc, text_scores


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
    found = {check.column: check for check in leak_checks(frame, column_aucs(frame), [])}
    assert (found["scene 0"].status, found["scene 1"].status) == ("pass", "fail")
    assert found["scene 1"].observed == "deep_features_0 1.000 (bound 0.950)"
    assert found["scene 1"].measure == Measure(1.0, None, 0.95, "auc")
    assert 0.5 < found["scene 0"].measure.value < found["scene 0"].measure.high
    assert "too few clicks" in found["scene 2"].observed
    assert found["scene 2"].measure is None


def test_words_and_entities_reveal_the_outcome_in_any_script():
    frame = sample()
    frame["item_title"] = np.where(frame["label"] == 1, "茶杯 已点击", "茶杯 未点击")
    frame["query_entities"] = [["tea", "seen - clicked" if label else "seen"] for label in frame["label"]]
    frame["bill_entities"] = [[] for _ in frame["label"]]
    scores = text_scores(frame)
    for name in ("item_title", "query_entities"):
        assert roc_auc_score(frame["label"], scores[name]) > 0.99, name
    assert (scores["bill_entities"] == 0).all()


def test_a_usual_auc_is_no_leak_and_an_unusual_one_is():
    usual = [{"user_ctr_7d": 0.70}, {"user_ctr_7d": 0.72}, {"user_ctr_7d": 0.71}]
    bound = bound_of("user_ctr_7d", usual, clicks=400, others=3600)
    assert 0.77 < bound < 0.90
    assert bound_of("user_ctr_7d", usual, clicks=40_000, others=360_000) < bound
    assert bound_of("user_ctr_7d", usual[:2], clicks=400, others=3600) == 0.95
    assert bound_of("a new column", usual, clicks=400, others=3600) == 0.95


def test_thirty_clean_generated_days_raise_nothing():
    """Deep features, texts, and 7-day counts and rates of users and items, of generated days of 6,000 rows."""
    world = World(5, 6_000, ("0", "1", "2", "3", "4"))
    recent = []
    log = []
    for n in range(30):
        columns = generate_day(world, date(2023, 7, 1) + timedelta(days=n)).columns
        today = pd.DataFrame({name: columns[name] for name in ("user_id", "item_id", "scene", "label")}).astype(str)
        today["label"] = today["label"].astype(int)
        frame = today.assign(**{name: pd.to_numeric(columns[name], errors="coerce") for name in DEEP_FEATURES})
        frame["item_title"] = columns["item_title"].astype(str)
        for raw, name in (("query_entity_seq", "query_entities"), ("item_entity_names", "item_entities")):
            frame[name] = [text.strip('"').split("|") for text in columns[raw].astype(str)]
        week = pd.concat(log[-7:]) if log else today.iloc[:0]
        for entity in ("user", "item"):
            counts = week.groupby(f"{entity}_id")["label"].agg(["size", "sum"]).reindex(today[f"{entity}_id"]).fillna(0)
            impressions = counts["size"].to_numpy()
            clicks = counts["sum"].to_numpy()
            frame[f"{entity}_impressions_7d"] = impressions
            frame[f"{entity}_clicks_7d"] = clicks
            frame[f"{entity}_ctr_7d"] = (clicks + 2) / (impressions + 20)
        aucs = column_aucs(frame)
        checks = list(leak_checks(frame, aucs, recent[-7:]))
        assert {check.status for check in checks} == {"pass"}, (n, [check.observed for check in checks])
        assert len(aucs["0"]) > 30
        recent.append(aucs)
        log.append(today)
