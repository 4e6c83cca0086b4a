"""A night compared with those before it: the champion's realised metrics, drift of its inputs, and freshness.

It decides and stops nothing: it writes the record `monitor`, whose `alerts` name what a person should check.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

import pyarrow as pa

from include.calendar import WINDOW_DAYS, previous
from include.lake.lake import Lake
from include.metrics_records import Drift, FigureChanges, Figures, value_of
from include.records import Evaluation, Monitor, MonitoredChampion
from include.registry import registry
from include.settings import Settings
from training.data.row_sample import KEY, sample
from training.evaluate import predictions
from training.monitor.drift import MIN_ROWS, compare
from training.monitor.drift_columns import READ, WATCHED, watched
from training.monitor.freshness import freshness
from training.monitor.gate_watch import warnings, watch
from training.monitor.realised import changes, figures, worse
from training.tables import published_days, read_shards

NEEDED_FOR = "Monitoring"
SAMPLE_ROWS = 100_000
"""Most rows of the reference, and of the day, that are compared: chance then adds 0.0002 to a PSI."""
_NAMED = 5
"""Features that an alert names."""


def run(day: date, settings: Settings) -> Monitor:
    """Write and return the record `monitor` of the day; missing tables or models are recorded, and are no error."""
    started = time.monotonic()
    now = datetime.now(UTC)
    lake = Lake(settings.lake_url)
    evaluation = lake.record(Evaluation, day)
    metrics, note = figures(evaluation)
    champion = _champion(evaluation)
    change = changes(metrics, _earlier_figures(lake, day)) if metrics else None
    record = Monitor(
        day=day,
        rows=_rows(lake, day),
        champion=champion,
        metrics=metrics,
        metrics_note=note,
        change=change,
        drift=_drift(lake, day, settings),
        gate=watch(lake, day),
        freshness=freshness(lake, day, champion.trained_through if champion else None, now),
        created_at=now.isoformat(timespec="seconds"),
        alerts=[],
        seconds=0.0,
    )
    found = [*alerts(record), *_behind_baseline(evaluation)]
    record = record.model_copy(update={"alerts": found, "seconds": round(time.monotonic() - started, 2)})
    lake.write_record(record)
    return record


def alerts(record: Monitor) -> Iterator[str]:
    """Yield what a person should check, in sentences: late tables, worse metrics, and shifted columns."""
    for stage, until in record.freshness.published.items():
        if until.days_behind != 0:
            yield f"{stage}: the day is not published, the last one is {until.last or 'none'}."
    yield from warnings(record.gate) if record.gate else ()
    yield from _worse_figures(record.metrics, record.change) if record.metrics and record.change else ()
    drift = record.drift
    shifted = [column for column in drift.features if column.band == "shifted"]
    if shifted:
        named = ", ".join(f"{column.name} {column.psi:.2f}" for column in shifted[:_NAMED])
        yield f"{len(shifted)} of {len(drift.features)} features have shifted (PSI): {named}."
    for subject, column in (("predictions of the champion", drift.predictions), ("the click rate", drift.label)):
        if column.band == "shifted":
            means = ", ".join(
                f"{mean:.4f} {period}"
                for mean, period in ((column.mean_then, "then"), (column.mean_now, "now"))
                if mean is not None
            )
            missing = f"missing {column.null_then:.1%} then, {column.null_now:.1%} now"
            yield f"{subject} shifted: PSI {column.psi:.2f}, mean {means}, {missing}."


def _worse_figures(metrics: Figures, changes: FigureChanges) -> Iterator[str]:
    for scene, metric, change in worse(changes):
        value = value_of(metrics.scenes[scene] if scene else metrics.all, metric)
        scope = f"in scene {scene}" if scene else "of all rows"
        covered = f"the intervals of {change.days} earlier days covered {change.low:.4f} to {change.high:.4f}"
        yield f"{metric} {scope} is {value:.4f}; {covered}."


def _behind_baseline(evaluation: Evaluation | None) -> Iterator[str]:
    """Yield a sentence where the champion ranks the day no better than the night's baseline does."""
    change = evaluation.headline.champion_from_baseline if evaluation else None
    auc = change["auc"].interval if change else None
    if auc and auc.value <= 0:
        yield (
            f"The champion is not ahead of the baseline, trees on the counts alone: its AUC differs by {auc.value:+.4f} "
            f"({auc.low:+.4f} to {auc.high:+.4f})."
        )


def _champion(evaluation: Evaluation | None) -> MonitoredChampion | None:
    """Return the champion when the day was evaluated: the gate, which runs beside this task, may have promoted another
    one since."""
    if evaluation is not None:
        champion = evaluation.champion
        if champion is None:
            return None
        return MonitoredChampion(
            version=champion.version, trained_through=champion.trained_through, status=champion.status
        )
    current = registry.champion()
    if current is None:
        return None
    return MonitoredChampion(version=current.version, trained_through=current.trained_through, status="not evaluated")


def _earlier_figures(lake: Lake, day: date) -> list[Figures]:
    """Return the figures of the last monitored days before that have honest ones."""
    days = [earlier for earlier in lake.record_days(Monitor) if earlier < day][-WINDOW_DAYS:]
    records = (lake.record(Monitor, earlier) for earlier in days)
    return [record.metrics for record in records if record and record.metrics]


def _rows(lake: Lake, day: date) -> int:
    manifest = lake.manifest("training", day)
    return manifest.table("training").rows if manifest else 0


def _drift(lake: Lake, day: date, settings: Settings) -> Drift:
    """Return the drift of the day's rows from the published days of the week before, features with the largest PSI first."""
    before = published_days(lake, "training", previous(day), WINDOW_DAYS)
    today = [day] if lake.manifest("training", day) else []
    then, now = (sample(_training_rows(lake, days, settings.shard_rows), SAMPLE_ROWS, READ) for days in (before, today))
    scored_then, scored_now = (
        sample(_champion_scores(lake, days), SAMPLE_ROWS, ["champion"])["champion"] for days in (before, [day])
    )
    features = [compare(name, watched(then, name), watched(now, name), settings) for name in WATCHED]
    return Drift(
        reference=before,
        rows_then=sum(_rows(lake, earlier) for earlier in before),
        rows_now=_rows(lake, day),
        note=None if min(len(then), len(now)) >= MIN_ROWS else _too_few(len(then), len(now)),
        moved_from=settings.psi_moved,
        shifted_from=settings.psi_shifted,
        features=sorted(features, key=lambda column: (-(column.psi or 0), column.name)),
        label=compare("label", then["label"], now["label"], settings),
        predictions=compare("champion", scored_then, scored_now, settings),
    )


def _too_few(then: int, now: int) -> str:
    return f"insufficient: {then:,} rows of the days before and {now:,} of the day, {MIN_ROWS:,} needed of each"


def _training_rows(lake: Lake, days: Iterable[date], rows: int) -> Iterator[pa.Table]:
    for day in days:
        yield from read_shards(lake, "training", day, NEEDED_FOR, rows, [KEY, *READ])


def _champion_scores(lake: Lake, days: Iterable[date]) -> Iterator[pa.Table]:
    """Yield the predictions of each day's champion of then, which may be another version, of rows that it had not seen."""
    for day in days:
        yield from predictions.champion_parts(lake, day)
