"""Evaluates candidate, champion and anchor on the day's rows, which none has seen, and records every metric.

`include/metrics_records.py` describes the metrics, and what an estimate is.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import CtrError, MissingDataError, NothingToDoError
from include.lake.lake import Lake
from include.metrics_records import BaselineFit, OracleAuc
from include.records import Decision, EvaluatedChampion, EvaluatedVersion, Evaluation, NotPromoted, Train
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.registry.outdated import outdated_versions
from include.settings import Settings
from training.evaluate import metrics, oracle, predictions
from training.evaluate.champion_status import NOTES, champion_status
from training.evaluate.day_metrics import evaluate, mean_of_rows
from training.evaluate.lineage_audit import audit
from training.evaluate.logged_metrics import logged_metrics
from training.evaluate.predictions import EvaluationRows, usable
from training.tables import Shards, shards_of_day

if TYPE_CHECKING:
    from training.learn.artifact import Predictor


def run(day: date, settings: Settings) -> Evaluation:
    """Predict the training rows of `day` with all models; write and return the record `evaluation`.

    Raises `MissingDataError` without a candidate, `NothingToDoError` for a day that was declared empty, and
    `LeakageError` where the candidate has seen the day.
    """
    started = time.monotonic()
    lake = Lake(settings.lake_url)
    train = lake.record(Train, day)
    if train is None:
        raise MissingDataError(f"There is no candidate of {day}. Next: run `python -m training train --day {day}`.")
    candidate = registry.get(train.version)
    champion = registry.champion()
    status = champion_status(champion, candidate, day)
    last = max((night for night in lake.record_days(Decision) if night < day), default=None)
    before = lake.record(Decision, last) if last else None
    anchor = _anchor(lake, champion, candidate, day, before) if status == "unseen" else None
    shards = shards_of_day(lake, "training", day, "Evaluation", settings.shard_rows)
    table, order = rows_of(lake, day, shards)
    unseen = champion if status == "unseen" else None
    predicted, anchor_note, baseline_fit = _predicted(lake, day, shards, table, candidate, unseen, anchor, settings)
    rows = _written(lake, day, table, {name: values[order] for name, values in predicted.items()})
    metrics_of_day = evaluate(rows, settings.scenes, settings.bootstrap_resamples, (settings.seed, day.toordinal()))
    record = Evaluation(
        day=day,
        candidate=EvaluatedVersion(**_describe(candidate)),
        champion=EvaluatedChampion(**_describe(champion), status=status, note=NOTES[status])
        if champion and status != "none"
        else None,
        anchor=EvaluatedVersion(**_describe(anchor), note=anchor_note) if anchor else None,
        baseline=baseline_fit,
        **dict(metrics_of_day),
        not_promoted=_not_promoted(lake, day, shards, order, before, rows),
        oracle=_oracle(rows, day, settings),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 2),
    )
    lake.write_record(record)
    registry.log_metrics(candidate.version, logged_metrics(record))
    return record


def _anchor(
    lake: Lake, champion: ModelVersion | None, candidate: ModelVersion, day: date, before: Decision | None
) -> ModelVersion | None:
    """Return the anchor where it is another version than champion and candidate, and none of its training rows were replaced.

    While `before`, the last night's decision, shows a loss since its anchor, that one stays: a later one may have the
    loss.
    """
    versions = registry.versions()
    last = before.anchor if before else None
    stays = last.version if last and last.loss_shown else None
    anchor = next((version for version in versions if version.version == stays), None)
    if anchor is None or anchor.pruned_at:
        anchor = registry.anchor(day, versions)
    if anchor is None or anchor.version in (candidate.version, champion.version if champion else None):
        return None
    return None if anchor.version in outdated_versions(lake, versions) else anchor


def _not_promoted(
    lake: Lake, day: date, shards: Shards, order: metrics.Integers, before: Decision | None, rows: EvaluationRows
) -> NotPromoted | None:
    """Return how the candidate of the last night's decision compares with the champion that stayed, on this day's rows,
    which are those of the shards in `order`."""
    from training.learn import artifact

    if before is None or before.promoted is not False or rows.champion is None or not usable(rows.champion):
        return None
    held = next((version for version in registry.versions() if version.version == before.candidate), None)
    if held is None or held.pruned_at or before.champion != _number(registry.champion()):
        return None
    try:
        model = artifact.load(registry.download(held.version))
        probability = predict_known_scenes(model, shards, lake, day)[order]
    except CtrError:
        return None
    if not usable(probability):
        return None
    losses = metrics.row_log_loss(rows.label, probability) - metrics.row_log_loss(rows.label, rows.champion)
    change = mean_of_rows(losses, rows.user)
    return NotPromoted(version=held.version, log_day=held.log_day, verdict=before.verdict, change=change)


def _number(version: ModelVersion | None) -> int | None:
    return version.version if version else None


def rows_of(lake: Lake, day: date, shards: Shards) -> tuple[pa.Table, metrics.Integers]:
    """Return `predictions.ROW` of the day's training rows in the order of their events, and the place of each in the shards.

    Raises `NothingToDoError` for a day that was declared empty, and `CtrError` where rows are missing.
    """
    published = lake.require("training", day, "Evaluation").tables["training"].rows
    if not published:
        raise NothingToDoError(f"{day} has no rows (it was declared empty): no model is evaluated on it.")
    table = pa.concat_tables(shards(predictions.ROW))
    if table.num_rows != published:
        raise CtrError(
            f"Evaluation of {day} read {table.num_rows} rows of training, but the manifest says {published}: "
            "rows are missing. Next: clear build_training_table of that day."
        )
    order = pc.sort_indices(table["event_id"])
    return table.take(order), order.to_numpy()


def _written(lake: Lake, day: date, table: pa.Table, predicted: Mapping[str, metrics.Floats]) -> EvaluationRows:
    """Write the rows with predictions `[rows]` by column, null in a column without them; return what was written."""
    for name in predictions.PREDICTED:
        values = predicted.get(name)
        column = pa.nulls(table.num_rows, pa.float64()) if values is None else pa.array(values, pa.float64())
        table = table.append_column(name, column)
    predictions.write(lake, day, table)
    return EvaluationRows.of(table)


def _predicted(
    lake: Lake,
    day: date,
    shards: Shards,
    table: pa.Table,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    anchor: ModelVersion | None,
    settings: Settings,
) -> tuple[dict[str, metrics.Floats], str | None, BaselineFit]:
    """Return predictions of the rows of the shards by column of `predictions.PREDICTED`, why the anchor has none, and how
    the baseline was fitted; `table` is `rows_of`."""
    from training.evaluate import baseline
    from training.learn import artifact

    folder = registry.download(candidate.version)
    model = artifact.load(folder)
    audit(lake, day, table, candidate.version, model, [candidate.trained_through, *artifact.trained_days(folder)])
    of_candidate = model.predict_shards(shards, lake, day)
    predicted = {"candidate": of_candidate.probability, "alpha": of_candidate.alpha}
    del model, of_candidate  # one model is in memory at a time

    def of_version(other: ModelVersion) -> metrics.Floats:
        return predict_known_scenes(artifact.load(registry.download(other.version)), shards, lake, day)

    if champion:
        predicted["champion"] = of_version(champion)
    anchor_note = None
    try:
        if anchor:
            predicted["anchor"] = of_version(anchor)
    except CtrError as error:  # an old version whose encoder or features no longer exist: evaluate without it
        anchor_note = str(error)
    of_baseline, baseline_fit = baseline.predict(lake, day, shards, settings)
    if of_baseline is not None:
        predicted["baseline"] = of_baseline
    return predicted, anchor_note, baseline_fit


def predict_known_scenes(model: "Predictor", shards: Shards, lake: Lake, day: date) -> metrics.Floats:
    """Return a model's probabilities of the rows of a day `[n]`, NaN for rows of scenes that it was not trained for."""
    scenes = pa.array(model.state.config.scenes)

    def known(columns: Sequence[str]) -> Iterator[pa.Table]:
        for shard in shards(list(dict.fromkeys([*columns, "scene"]))):
            yield shard.filter(pc.is_in(shard["scene"], value_set=scenes)).select(list(columns))

    in_known_scene = np.concatenate(
        [pc.is_in(shard["scene"], value_set=scenes).to_numpy() for shard in shards(["scene"])]
    )
    probability = np.full(len(in_known_scene), np.nan)
    probability[in_known_scene] = model.predict_shards(known, lake, day).probability
    return probability


def _describe(version: ModelVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "log_day": version.log_day,
        "trained_from": version.trained_from,
        "trained_through": version.trained_through,
        "content_hash": version.content_hash,
    }


def _oracle(rows: EvaluationRows, day: date, settings: Settings) -> OracleAuc | None:
    truth = oracle.truth(day, settings)
    return oracle.best_auc(rows, truth) if truth is not None else None
