"""Generated logs in the AntM2C format: raw day files, and apart from them the true probability of every click.

The truth goes to `{home}/oracle`, which no stage of the pipeline reads; evaluation alone uses it, to show how close a model
comes to the best possible AUC. `include.sample.world` defines the world, `include.sample.day` a day of it.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from include.completeness_rules import MARKER
from include.errors import InvalidInputError
from include.raw.deliveries import Delivery, Raw, day_folder
from include.sample.day import DayLog, generate_day, quote
from include.sample.faults import FAULTS
from include.sample.world import Array, World
from include.settings import get_settings

__all__ = ["DaySummary", "oracle_path", "summarise", "write_day", "write_days"]

ROWS_PER_PART = 250_000
LINES_PER_WRITE = 50_000
_OWN = re.compile(r"part-\d+\.csv(\.gz)?")

ORACLE_COLUMNS = ("user_id", "item_id", "log_time", "source_file", "source_row", "probability")
"""`source_file` is relative to the raw logs, `source_row` the 0-based data record in it: together they name the event."""


@dataclass(frozen=True)
class DaySummary:
    """What was written of a day, and the arrays from which the whole is summed up."""

    day: date
    files: tuple[str, ...]
    faults: tuple[str, ...]
    scene: Array  # [rows] int
    label: Array  # [rows] as it was before any fault
    written_clicks: Array  # [rows] bool, the click in the file
    probability: Array  # [rows] true click probability
    cold_share: float  # impressions on items first shown that day


def oracle_path(day: date) -> Path:
    """Return the local file with the true probabilities of a generated day."""
    return get_settings().home / "oracle" / day_folder(day) / "oracle.csv.gz"


def write_days(
    world: World, days: Iterable[date], *, bad: date | None = None, faults: Sequence[str] = ()
) -> Iterator[DaySummary]:
    """Generate and write each day, and yield its summary; `faults` damage the day `bad`."""
    raw = Raw()
    raw.refuse_another_form("`ctr sample`")
    for day in days:
        yield write_day(world, day, raw, faults if day == bad else ())


def write_day(world: World, day: date, raw: Raw, faults: Sequence[str] = ()) -> DaySummary:
    """Generate a day, replace its raw files and its oracle, mark it as complete, and return a summary.

    Raises `InvalidInputError` where the day holds raw files that were not generated.
    """
    truth = oracle_path(day)
    raw.refuse_others(day, _OWN if truth.exists() else re.compile("$^"), "`ctr sample`")
    log = _damaged(world, generate_day(world, day), faults)
    parts = list(_parts(day, len(log.label)))
    with Delivery(raw) as delivery:
        for path, first, last in parts:
            with delivery.open(path) as file:
                for chunk in _csv(log.columns, first, last):
                    file.write(chunk)
        delivery.remove(raw.day_files(day))
        delivery.write(f"{day_folder(day)}/{MARKER}", b"")
        # Before the raw files come to their place: raw files without their oracle would pass for someone else's.
        _write_oracle(truth, log, parts)
    return DaySummary(
        day=day,
        files=tuple(path for path, _, _ in parts),
        faults=tuple(faults),
        scene=log.scene,
        label=log.label,
        written_clicks=log.columns["label"] == "1",
        probability=log.probability,
        cold_share=float(log.new_item.mean()),
    )


def summarise(world: World, days: Sequence[DaySummary]) -> dict[str, Any]:
    """Return rows, clicks, CTR and the best possible AUC, over all and for each scene and day.

    Clicks are those in the files, scenes and the AUC those before any fault.
    """
    scene, label, probability, clicks = (
        np.concatenate([getattr(day, name) for day in days])
        for name in ("scene", "label", "probability", "written_clicks")
    )
    return {
        "rows": len(label),
        "clicks": int(clicks.sum()),
        "ctr": float(clicks.mean()),
        "oracle_auc": _auc(label, probability),
        "cold_share": float(np.average([day.cold_share for day in days], weights=[len(day.label) for day in days])),
        "scenes": [
            {
                "scene": name,
                "rows": int((scene == number).sum()),
                "share": float((scene == number).mean()),
                "clicks": int(clicks[scene == number].sum()),
                "ctr": float(clicks[scene == number].mean()) if (scene == number).any() else None,
                "oracle_auc": _auc(label[scene == number], probability[scene == number]),
            }
            for number, name in enumerate(world.scenes)
        ],
        "days": [
            {
                "day": day.day.isoformat(),
                "rows": len(day.label),
                "clicks": int(day.written_clicks.sum()),
                "ctr": float(day.written_clicks.mean()),
                "cold_share": day.cold_share,
                "oracle_auc": _auc(day.label, day.probability),
                "files": list(day.files),
                "faults": list(day.faults),
            }
            for day in days
        ],
    }


def _damaged(world: World, log: DayLog, faults: Sequence[str]) -> DayLog:
    columns = log.columns
    for name in faults:
        if name not in FAULTS:
            raise InvalidInputError(f"There is no fault '{name}'. Choose from: {', '.join(FAULTS)}.")
        columns = FAULTS[name](columns, world.rng(f"fault {name}", log.day.toordinal()))
    return replace(log, columns=columns)


def _parts(day: date, rows: int) -> Iterator[tuple[str, int, int]]:
    """Path, first and end row of each file of a day: one day in three has a file more, one in five is not compressed."""
    number = day.toordinal()
    count = -(-rows // ROWS_PER_PART) + (1 if number % 3 == 0 else 0)
    suffix = "csv" if number % 5 == 0 else "csv.gz"
    edges = np.linspace(0, rows, count + 1).astype(int)
    for part in range(count):
        yield f"{day_folder(day)}/part-{part}.{suffix}", int(edges[part]), int(edges[part + 1])


def _csv(columns: dict[str, Array], first: int, last: int) -> Iterator[bytes]:
    """The rows [first, last) as CSV with a header; fields are encoded already."""
    yield (",".join(columns) + "\n").encode()
    for start in range(first, last, LINES_PER_WRITE):
        end = min(start + LINES_PER_WRITE, last)
        lines = map(",".join, zip(*(values[start:end].tolist() for values in columns.values()), strict=True))
        yield ("\n".join(lines) + "\n").encode()


def _write_oracle(path: Path, log: DayLog, parts: Sequence[tuple[str, int, int]]) -> None:
    places = [(quote(file), row - first) for file, first, last in parts for row in range(first, last)]
    columns = {
        "user_id": log.columns["user_id"],
        "item_id": log.columns["item_id"],
        "log_time": log.columns["log_time"],
        "source_file": np.array([file for file, _ in places], dtype=object),
        "source_row": np.array([str(row) for _, row in places], dtype=object),
        "probability": np.array([f"{value:.5f}" for value in log.probability], dtype=object),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as zipped:
        for chunk in _csv(columns, 0, len(places)):
            zipped.write(chunk)
    unfinished.replace(path)


def _auc(label: Array, probability: Array) -> float | None:
    """The AUC of the true probabilities, or None where only one label occurs."""
    from sklearn.metrics import roc_auc_score

    if label.min(initial=1) == label.max(initial=0):
        return None
    return float(roc_auc_score(label, probability))
