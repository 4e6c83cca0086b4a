"""What a mapping makes of files: the rows, days, scenes and labels that come in, and what would be rejected; writes nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.mapping.mapping import Mapping
from include.raw.import_files import Progress, open_input
from include.raw.raw_mapping import scenes_of
from include.raw.reading.files import read_records
from include.raw.reading.records import FileCounts, Records
from include.raw.reading.rows import RawRows, as_json, raw_rows
from include.raw.reading.rules import Limits, reasons
from include.raw.reading.streams import printable
from include.raw.row_rules import DUPLICATE, UNKNOWN_SCENE
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

CHECKED_ROWS = 200_000
FIRST_ROWS = 5
_MOST_SCENES = 1_000


@dataclass
class Rejection:
    """How many records would be rejected for a reason, and the first of them."""

    records: int = 0
    example: str = ""


@dataclass
class Scene:
    """The accepted rows of a scene, and their clicks."""

    rows: int = 0
    clicks: int = 0


@dataclass
class FileCheck:
    """The counts of one file; `is_whole` says that all of it was read."""

    file: str
    counts: FileCounts = field(default_factory=FileCounts)
    rejected: int = 0
    is_whole: bool = True


@dataclass
class MappingCheck:
    """What a mapping makes of files.

    `rows` are the first accepted ones as a raw CSV file holds them; `scenes` counts those that are not `known` too; `empty` are
    mapped columns without a value; `repeated` and `skipped` count local times at a change of the clocks.
    """

    known: tuple[str, ...]
    files: list[FileCheck] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    days: Counter[str] = field(default_factory=Counter)
    scenes: dict[str, Scene] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    rejections: dict[str, Rejection] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    repeated: int = 0
    skipped: int = 0
    seconds: bool = False

    def new_scenes(self) -> list[str]:
        """Return the scenes that neither the settings nor the mapping list."""
        return [scene for scene in self.scenes if scene not in self.known]


def check_mapping(
    paths: Sequence[str], mapping: Mapping, *, most: int = CHECKED_ROWS, progress: Progress | None = None
) -> MappingCheck:
    """Return what a mapping makes of the first `most` records of each file; raises as the readers do."""
    check = MappingCheck(scenes_of(mapping))
    settings = get_settings()
    limits = Limits(check.known, settings.max_field_bytes, settings.earliest_day)
    values: Counter[str] = Counter()
    seen: dict[tuple[Any, ...], int] = {}
    for number, path in enumerate(paths):
        file_check = FileCheck(path)
        check.files.append(file_check)
        report = None if progress is None else (lambda done, n=number: progress((n + done) / len(paths)))
        with open_input(path, report) as (file, tick):
            for batch in read_records(file, mapping, path, file_check.counts):
                tick()
                _broken(batch, check, file_check)
                if len(batch.numbers):
                    _judge(batch, mapping, limits, check, file_check, values, seen)
                if file_check.counts.records >= most:
                    file_check.is_whole = False
                    break
    check.empty = [name for name in mapping.columns if name not in mapping.absent() and not values[name]]
    _duplicates(seen, mapping, check)
    return check


def _broken(batch: Records, check: MappingCheck, file_check: FileCheck) -> None:
    for record in batch.broken:
        file_check.rejected += 1
        text = record.text[:120]
        _count(check, record.reason, f"line {record.line:,}: {record.fault}: {printable(text)}")


def _count(check: MappingCheck, reason: str, example: str) -> None:
    rejection = check.rejections.setdefault(reason, Rejection())
    rejection.records += 1
    rejection.example = rejection.example or example


def _judge(
    batch: Records,
    mapping: Mapping,
    limits: Limits,
    check: MappingCheck,
    file_check: FileCheck,
    values: Counter[str],
    seen: dict[tuple[Any, ...], int],
) -> None:
    separators = get_settings().entity_separators
    rows = raw_rows(batch, mapping, separators)
    check.repeated += rows.times.repeated
    check.skipped += rows.times.skipped
    found = reasons(rows, limits)
    for place, names in found.items():
        file_check.rejected += 1
        line = batch.lines[place] if batch.lines is not None else rows.numbers[place] + 1
        for name in names:
            _count(
                check,
                name,
                f"{'line' if batch.lines is not None else 'record'} {line:,}: {as_json(rows.original(place))[:200]}",
            )
    for name, column in rows.came.items():
        if not pa.types.is_string(column.type):
            values[name] += len(column) - column.null_count
        else:
            values[name] += pc.sum(pc.not_equal(pc.fill_null(column, ""), "")).as_py() or 0
    # A scene that is not listed yet is one that the user may want to list.
    fine = np.array(
        [place for place in range(len(rows.numbers)) if found.get(place, [UNKNOWN_SCENE]) == [UNKNOWN_SCENE]], np.int64
    )
    if len(fine):
        _accept(rows, fine, check, mapping, seen)


def _accept(rows: RawRows, fine: Any, check: MappingCheck, mapping: Mapping, seen: dict[tuple[Any, ...], int]) -> None:
    moments = rows.moments[fine]
    check.seconds = check.seconds or bool((moments != moments.astype("datetime64[m]")).any())
    check.days.update(np.datetime_as_string(moments, unit="D").tolist())
    labels = rows.text["label"].take(pa.array(fine)).to_pylist()
    check.labels.update(labels)
    for scene, label in zip(rows.text["scene"].take(pa.array(fine)).to_pylist(), labels, strict=True):
        name = scene or ""
        if name in check.scenes or len(check.scenes) < _MOST_SCENES:
            entry = check.scenes.setdefault(name, Scene())
            entry.rows += 1
            entry.clicks += label == "1"
    events = rows.event_ids.to_pylist() if rows.event_ids is not None else None
    canonical = list(rows.canonical_rows(get_settings().entity_separators))
    for place in fine.tolist():
        row = canonical[place]
        if len(check.rows) < FIRST_ROWS:
            check.rows.append(
                {name: value for name, value in zip(RAW_COLUMNS, row, strict=True) if name in mapping.columns}
            )
        key = ("", str(rows.moments[place])[:10], events[place]) if events and events[place] else row
        seen[hash(key)] = seen.get(hash(key), 0) + 1  # type: ignore[index, call-overload]


def _duplicates(seen: dict[Any, int], mapping: Mapping, check: MappingCheck) -> None:
    keeps = mapping.duplicates == "keep" or (
        mapping.duplicates == "auto" and not check.seconds and not mapping.event_id
    )
    repeats = sum(count - 1 for count in seen.values())
    if repeats and not keeps:
        what = (
            f"rows with the {mapping.event_id} of an earlier one"
            if mapping.event_id
            else "rows that equal an earlier one"
        )
        check.rejections[DUPLICATE] = Rejection(repeats, f"{what}; `duplicates: keep` takes them all")
