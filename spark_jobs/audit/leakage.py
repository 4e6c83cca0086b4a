"""Looks for leaks: columns that alone predict the label implausibly well, and counts that hold what was not yet known.

Three checks of every staged training partition; the tests make a fourth (does any column move when the labels of the day
are changed?):

- *statistical*: the AUC of each column alone in each scene, against an absolute bound and against that of recent days;
- *recomputed*: counts of some users and items, against the published aggregates and totals of the days before;
- *lineage*: in `spark_jobs/audit/checks.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.checks import Check, Measure, check_result
from include.features import FEATURES
from include.quality.suites import LEAK_MIN_CLICKS, LEAK_MIN_DAYS, LEAK_SIGMAS
from include.schemas import DEEP_FEATURES
from include.settings import get_settings

SUSPECTS = (*(feature.name for feature in FEATURES), *DEEP_FEATURES)
"""Numeric columns of `training`, each checked alone."""
TEXTS = ("item_title", "item_entities", "query_entities", "service_entities", "bill_entities")
"""Text columns of `logs`, each checked alone through its words."""

Aucs = dict[str, dict[str, float]]
"""AUC by scene and column."""

_WORD = re.compile(r"[^\W_\u2e80-\u9fff]+|[\u2e80-\u9fff]")
"""A word of an alphabet, or a Chinese, Japanese or Korean character."""
_ENTITY_SEPARATOR = "\x1f"
_BUCKETS = 2**16
_COUNTS = ("impressions", "clicks")
_COUNT_KEY = ("kind", "key", "within")
"""What a count is looked up by: its kind, the user or item, and the scene, item or topic within which it counts."""

# Statistical


def single_feature_auc(sample: pd.DataFrame) -> pd.Series:
    """Return the AUC of each numeric column alone, `[columns] float64`, in either direction (0.5 to 1); nulls rank in the middle.

    `sample` has `label` and columns of `SUSPECTS`; whether a deep feature is missing is a column of its own,
    `deep_features_0 missing`. From rank sums with ties averaged (Mann-Whitney U).
    """
    values = sample[[name for name in SUSPECTS if name in sample]].astype("float64")
    missing = values[[name for name in DEEP_FEATURES if name in values]].isna().astype("float64").add_suffix(" missing")
    return _auc(values.fillna(values.median()).fillna(0.0).join(missing), sample["label"])


def _auc(values: pd.DataFrame, label: pd.Series) -> pd.Series:
    ranks = values.rank()
    clicked = label.to_numpy() == 1
    clicks = int(clicked.sum())
    others = int((~clicked).sum())
    auc = (ranks[clicked].sum() - clicks * (clicks + 1) / 2) / (clicks * others)
    return auc.where(auc >= 0.5, 1 - auc)


def text_scores(sample: pd.DataFrame) -> pd.DataFrame:
    """Return how the words of each text column predict the label, `[rows, columns] float64` log-odds.

    `sample` has `label` and columns of `TEXTS` (text, or lists of entities, which count whole and by their words). Naive Bayes
    is learned on one half of the rows and applied to the other, and the other way round.
    """
    half = np.arange(len(sample)) % 2 == 0
    return pd.DataFrame(
        {name: _two_folds(sample[name], sample["label"].to_numpy() == 1, half) for name in TEXTS if name in sample},
        index=sample.index,
    )


def _two_folds(
    texts: pd.Series, clicked: npt.NDArray[np.bool_], half: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    from sklearn.feature_extraction.text import HashingVectorizer

    codes, distinct = pd.factorize(texts.map(_as_one_text))
    vectorizer = HashingVectorizer(n_features=_BUCKETS, analyzer=_tokens, binary=True, norm=None, alternate_sign=False)
    words = vectorizer.transform(distinct)[codes] if len(distinct) else None
    scores = np.zeros(len(texts))
    for learn in (half, ~half):
        if words is None or clicked[learn].all() or not clicked[learn].any():
            continue
        odds = []
        for outcome in (True, False):
            own = learn & (clicked == outcome)
            odds.append(np.log((np.asarray(words[own].sum(axis=0)).ravel() + 0.5) / (own.sum() + 1)))
        scores[~learn] = words[~learn] @ (odds[0] - odds[1])
    return scores


def _as_one_text(text: Any) -> str:
    if isinstance(text, str):
        return text
    return "" if text is None or isinstance(text, float) else _ENTITY_SEPARATOR.join(text)


def _tokens(text: str) -> list[str]:
    """Return the words of a text, and each of its entities (or the whole of it) as a token."""
    return _WORD.findall(text.lower()) + [f"={entity}" for entity in text.split(_ENTITY_SEPARATOR) if entity]


def column_aucs(sample: pd.DataFrame) -> Aucs:
    """Return the AUC of every suspect column alone, in each scene with enough clicks in the sample."""
    scores = text_scores(sample)
    aucs = {}
    for scene in get_settings().scenes:
        rows = sample[sample["scene"] == scene]
        if _enough(rows):
            values = pd.concat([single_feature_auc(rows), _auc(scores.loc[rows.index], rows["label"])])
            aucs[scene] = {str(name): round(float(value), 4) for name, value in values.items()}
    return aucs


def _enough(rows: pd.DataFrame) -> bool:
    clicks = int((rows["label"] == 1).sum())
    return min(clicks, len(rows) - clicks) >= LEAK_MIN_CLICKS


def leak_checks(sample: pd.DataFrame, aucs: Aucs, recent: list[Aucs]) -> Iterator[Check]:
    """Check in each scene that no column alone reaches its bound.

    `aucs` are those of `sample`, `recent` those of earlier days.
    """
    for scene in get_settings().scenes:
        rows = sample[sample["scene"] == scene]
        yield _scene_check(scene, rows, aucs.get(scene), [day[scene] for day in recent if scene in day])


def bound_of(column: str, recent: list[dict[str, float]], clicks: int, others: int) -> float:
    """Return the AUC from which a column counts as a leak: the absolute bound, or less where recent days show what is usual.

    Usual is the largest AUC of the recent days; from there `leak_margin` and `LEAK_SIGMAS` standard errors of an AUC of that
    size (Hanley and McNeil, Radiology 1982) are allowed. Fewer than `LEAK_MIN_DAYS` days do not lower the bound.
    """
    limit = get_settings().leak_auc
    earlier = [day[column] for day in recent if column in day]
    if len(earlier) < LEAK_MIN_DAYS:
        return limit
    usual = max(earlier)
    q1 = usual / (2 - usual)
    q2 = 2 * usual**2 / (1 + usual)
    variance = usual * (1 - usual) + (clicks - 1) * (q1 - usual**2) + (others - 1) * (q2 - usual**2)
    error = float(np.sqrt(max(variance, 0.0) / (clicks * others)))
    return min(limit, usual + get_settings().leak_margin + LEAK_SIGMAS * error)


def _scene_check(scene: str, rows: pd.DataFrame, auc: dict[str, float] | None, recent: list[dict[str, float]]) -> Check:
    common: dict[str, Any] = {"column": f"scene {scene}"}
    clicks = int((rows["label"] == 1).sum())
    expected = f"every column's AUC by itself below {get_settings().leak_auc:g}"
    if auc is None:
        return check_result(
            "training", "expect_no_leak", True, expected, f"too few clicks to tell ({clicks})", **common
        )
    if len(recent) >= LEAK_MIN_DAYS:
        expected += f" and near those of the last {len(recent)} days"
    bounds = {column: bound_of(column, recent, clicks, len(rows) - clicks) for column in auc}
    leaking = {column: value for column, value in auc.items() if value >= bounds[column]}
    nearest = max(auc, key=lambda column: auc[column] - bounds[column])
    reported = leaking or {nearest: auc[nearest]}
    observed = ", ".join(
        f"{column} {value:.3f} (bound {bounds[column]:.3f})" for column, value in _descending(reported)
    )
    measure = Measure(auc[nearest], high=bounds[nearest], unit="auc")
    return check_result(
        "training", "expect_no_leak", not leaking, expected, observed, failing_rows=len(rows), measure=measure, **common
    )


def _descending(aucs: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(aucs.items(), key=lambda item: -item[1])[:5]


# Recomputed


@dataclass(frozen=True)
class Past:
    """Tables published before a day: aggregates `agg_user_item, agg_user_topic` of seven days, totals of the day before."""

    user_item: DataFrame
    user_topic: DataFrame
    totals: dict[str, DataFrame]


def recomputed(training: DataFrame, past: Past | None, one_in: dict[str, int]) -> Iterator[Check]:
    """Check, for users and for items, that all counts of some of them are those of the days before.

    `past` is None where nothing was published before; a hash chooses one user or item in `one_in`.
    """
    claimed = reduce(
        DataFrame.unionByName, (_claimed(training, entity, one_in[entity]) for entity in ("user", "item"))
    ).toPandas()
    truth = _true(past, one_in).toPandas() if past else claimed.head(0)
    rows = claimed.merge(truth, on=list(_COUNT_KEY), how="left", suffixes=("", "_true"))
    claims, truths = (rows[[f"{count}{side}" for count in _COUNTS]].fillna(0).to_numpy(int) for side in ("", "_true"))
    wrong = (claims != truths).any(axis=1)
    for entity in ("user", "item"):
        own = rows["kind"].str.startswith(entity)
        differing = int((own & wrong).sum())
        kinds = ", ".join(sorted(rows["kind"][own & wrong].unique()))
        yield check_result(
            "training",
            "expect_counts_of_the_days_before",
            differing == 0,
            f"counts of {entity}s as in the tables of the days before",
            f"{differing:,} of {own.sum():,} counts checked differ" + (f": {kinds}" if kinds else ""),
            column=f"{entity}_id",
            failing_rows=differing,
            measure=Measure(differing, high=0, unit="counts"),
        )


def _sampled(entity: str, one_in: int) -> Column:
    return F.pmod(F.xxhash64(f"{entity}_id"), F.lit(one_in)) == 0


def _count_pair(kind: str, key: str, within: Column | str | None, impressions: str, clicks: str) -> Column:
    """Return a pair of counts as a struct: its kind, for which `key`, and within which scene, item or topic."""
    inside = F.lit("") if within is None else F.col(within) if isinstance(within, str) else within
    return F.struct(
        F.lit(kind).alias("kind"),
        F.col(key).alias("key"),
        F.coalesce(inside.cast("string"), F.lit("")).alias("within"),
        *(F.col(count).cast("bigint").alias(name) for name, count in zip(_COUNTS, (impressions, clicks), strict=True)),
    )


def _claimed(training: DataFrame, entity: str, one_in: int) -> DataFrame:
    """Return `kind, key, within, impressions, clicks` as the training rows of some keys have them."""
    key = f"{entity}_id"
    pairs = [
        _count_pair(f"{entity} 7d", key, None, f"{entity}_impressions_7d", f"{entity}_clicks_7d"),
        _count_pair(f"{entity} scene 7d", key, "scene", f"{entity}_scene_impressions_7d", f"{entity}_scene_clicks_7d"),
        _count_pair(f"{entity} total", key, None, f"{entity}_impressions_total", f"{entity}_clicks_total"),
    ]
    if entity == "user":
        topic = F.try_element_at("item_entity_keys", F.lit(1))
        pairs += [
            _count_pair("user_item 7d", key, "item_id", "user_item_impressions_7d", "user_item_clicks_7d"),
            _count_pair("user_topic 7d", key, topic, "user_topic_impressions_7d", "user_topic_clicks_7d"),
        ]
    rows = training.where(_sampled(entity, one_in)).select(F.explode(F.array(*pairs)).alias("pair"))
    return rows.select("pair.*").distinct()


def _true(past: Past, one_in: dict[str, int]) -> DataFrame:
    """Return the same counts from the published tables."""
    user, item = (_sampled(entity, one_in[entity]) for entity in ("user", "item"))
    parts = [
        _summed(past.user_item.where(user), ("user 7d", None), ("user scene 7d", "scene"), ("user_item 7d", "item_id")),
        _summed(past.user_topic.where(user), ("user_topic 7d", "topic_key")),
        _summed(past.user_item.where(item), ("item 7d", None), ("item scene 7d", "scene")),
    ]
    for entity, sampled in (("user", user), ("item", item)):
        counts = _count_pair(f"{entity} total", f"{entity}_id", None, "impressions_total", "clicks_total")
        parts.append(past.totals[entity].where(sampled).select(counts.alias("pair")).select("pair.*"))
    return reduce(DataFrame.unionByName, parts)


def _summed(days: DataFrame, *kinds: tuple[str, str | None]) -> DataFrame:
    pairs = [_count_pair(kind, f"{kind.split('_')[0].split()[0]}_id", within, *_COUNTS) for kind, within in kinds]
    rows = days.select(F.explode(F.array(*pairs)).alias("pair")).select("pair.*")
    return rows.groupBy(*_COUNT_KEY).agg(*(F.sum(count).alias(count) for count in _COUNTS))
