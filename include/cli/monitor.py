"""`ctr monitor`: the champion's metrics day by day, the largest drift, and how far behind the tables were."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.console import JsonFlag, err, out, show_rows

if TYPE_CHECKING:
    from include.records import Monitor


def register(cli: typer.Typer) -> None:
    """Add `ctr monitor`."""
    cli.command("monitor")(monitor)


def monitor(
    last: Annotated[int, typer.Option(min=1, help="How many of the newest monitored days.")] = 14,
    as_json: JsonFlag = False,
) -> None:
    """List the monitored days: champion, its metrics on rows that it had not seen, largest drift, freshness, alerts."""
    from include.lake.lenient_lake import get_lenient_lake
    from include.records import Monitor

    lake = get_lenient_lake()
    records = [record for day in lake.record_days(Monitor)[-last:] if (record := lake.record(Monitor, day))]
    rows = [_row(record) for record in records]
    if not as_json:
        rows = [_short(row) for row in rows]
    show_rows(
        rows,
        title=f"Monitored days in {lake.url}",
        as_json=as_json,
        empty="No monitored day yet: ctr_daily makes them.",
    )
    if records and not as_json:
        _say(records[-1])
    for error in lake.damaged.values():
        err.print(str(error), highlight=False, markup=False)


def _row(record: "Monitor") -> dict[str, Any]:
    from include.metrics_records import value_of

    fresh = record.freshness
    figures = record.metrics.all if record.metrics else None
    largest = next((column for column in record.drift.features if column.psi is not None), None)
    last = fresh.published["training"].last
    return {
        "day": str(record.day),
        "champion": record.champion and record.champion.version,
        **{name: value_of(figures, name) for name in ("auc", "scene_mean_auc", "gauc", "pcoc")},
        "most_drifted": largest and largest.name,
        "psi": largest and largest.psi,
        "predictions_psi": record.drift.predictions.psi,
        "training_until": last and str(last),
        "model_age_days": fresh.model_age_days,
        "seconds_since_raw": fresh.seconds_since_raw,
        "metrics_note": record.metrics_note,
        "alerts": record.alerts,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what is too long for a terminal; alerts are counted."""
    narrow = {"scene_mean_auc": "scene_auc", "predictions_psi": "score_psi", "model_age_days": "model_age"}
    left_out = ("seconds_since_raw", "metrics_note")
    columns = {narrow.get(name, name): value for name, value in row.items() if name not in left_out}
    return columns | {"alerts": len(row["alerts"])}


def _say(record: "Monitor") -> None:
    """Print what the table has no room for, of the newest day."""
    if record.metrics_note:
        out.print(f"{record.day} has no metrics: {record.metrics_note}.", highlight=False, markup=False)
    for alert in record.alerts:
        out.print(f"{record.day}: {alert}", highlight=False, markup=False)
