"""A night compared with those before it: the champion's realised metrics, drift of its inputs, and freshness.

It decides and stops nothing: it writes the record `monitor`, whose `alerts` name what a person should check.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from include.calendar import WINDOW_DAYS, previous
from include.lake.lake import Lake
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
    for stage, of_stage in record.freshness["published"].items():
        if of_stage["days_behind"] != 0:
            yield f"{stage}: the day is not published, the last one is {of_stage['last'] or 'none'}."
    yield from warnings(record.gate)
    for scene, metric, entry in worse(record.change) if record.change else ():
        metrics = record.metrics or {}
        value = (metrics["scenes"][scene] if scene else metrics["all"])[metric]["value"]
        scope = f"in scene {scene}" if scene else "of all rows"
        covered = f"the intervals of {entry['days']} earlier days covered {entry['low']:.4f} to {entry['high']:.4f}"
        yield f"{metric} {scope} is {value:.4f}; {covered}."
    drift = record.drift
    shifted = [entry for entry in drift["features"] if entry["band"] == "shifted"]
    if shifted:
        named = ", ".join(f"{entry['name']} {entry['psi']:.2f}" for entry in shifted[:_NAMED])
        yield f"{len(shifted)} of {len(drift['features'])} features have shifted (PSI): {named}."
    for subject, entry in (("predictions of the champion", drift["predictions"]), ("the click rate", drift["label"])):
        if entry["band"] == "shifted":
            means = (
                f"{entry[f'mean_{period}']:.4f} {period}"
                for period in ("then", "now")
                if entry[f"mean_{period}"] is not None
            )
            missing = f"missing {entry['null_then']:.1%} then, {entry['null_now']:.1%} now"
            yield f"{subject} shifted: PSI {entry['psi']:.2f}, mean {', '.join(means)}, {missing}."


def _behind_baseline(evaluation: Evaluation | None) -> Iterator[str]:
    """Yield a sentence where the champion ranks the day no better than the night's baseline does."""
    change = evaluation.headline.get("champion_from_baseline") if evaluation else None
    if change and change["auc"]["value"] is not None and change["auc"]["value"] <= 0:
        auc = change["auc"]
        yield (
            f"The champion is not ahead of the baseline, trees on the counts alone: its AUC differs by {auc['value']:+.4f} "
            f"({auc['low']:+.4f} to {auc['high']:+.4f})."
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


def _earlier_figures(lake: Lake, day: date) -> list[dict[str, Any]]:
    """Return the figures of the last monitored days before that have honest ones."""
    days = [earlier for earlier in lake.record_days(Monitor) if earlier < day][-WINDOW_DAYS:]
    records = (lake.record(Monitor, earlier) for earlier in days)
    return [record.metrics for record in records if record and record.metrics]


def _rows(lake: Lake, day: date) -> int:
    manifest = lake.manifest("training", day)
    return manifest.table("training").rows if manifest else 0


def _drift(lake: Lake, day: date, settings: Settings) -> dict[str, Any]:
    """Return the drift of the day's rows from the published days of the week before, features with the largest PSI first."""
    before = published_days(lake, "training", previous(day), WINDOW_DAYS)
    today = [day] if lake.manifest("training", day) else []
    then, now = (sample(_training_rows(lake, days, settings.shard_rows), SAMPLE_ROWS, READ) for days in (before, today))
    scored_then, scored_now = (
        sample(_champion_scores(lake, days), SAMPLE_ROWS, ["champion"])["champion"] for days in (before, [day])
    )
    features = [compare(name, watched(then, name), watched(now, name), settings) for name in WATCHED]
    rows_then = sum(_rows(lake, earlier) for earlier in before)
    return {
        "reference": [str(earlier) for earlier in before],
        "rows_then": rows_then,
        "rows_now": _rows(lake, day),
        "note": None if min(len(then), len(now)) >= MIN_ROWS else _too_few(len(then), len(now)),
        "moved_from": settings.psi_moved,
        "shifted_from": settings.psi_shifted,
        "features": sorted(features, key=lambda entry: (-(entry["psi"] or 0), entry["name"])),
        "label": compare("label", then["label"], now["label"], settings),
        "predictions": compare("champion", scored_then, scored_now, settings),
    }


def _too_few(then: int, now: int) -> str:
    return f"insufficient: {then:,} rows of the days before and {now:,} of the day, {MIN_ROWS:,} needed of each"


def _training_rows(lake: Lake, days: Iterable[date], rows: int) -> Iterator[pa.Table]:
    for day in days:
        yield from read_shards(lake, "training", day, NEEDED_FOR, rows, [KEY, *READ])


def _champion_scores(lake: Lake, days: Iterable[date]) -> Iterator[pa.Table]:
    """Yield the predictions of each day's champion of then, which may be another version, of rows that it had not seen."""
    for day in days:
        yield from predictions.champion_parts(lake, day)
