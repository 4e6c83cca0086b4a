"""Import of any log as raw logs, by a mapping: the same files, formats and values that ingest reads (`include/raw/reading`).

Rows stream through, so that memory does not grow with the file. Every record that comes in is written to the day of its time or,
where it has none, to the rejected rows of the day of the row before it, with its reason; both are counted and must add up.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.deliveries import Delivery, Raw
from include.raw.import_files import (
    DayFiles,
    Imported,
    Progress,
    content_hash,
    import_name,
    open_input,
    previous_imports,
    source_name,
)
from include.raw.reading.files import read_records
from include.raw.reading.records import FileCounts, Records
from include.raw.reading.rows import RawRows, as_json, raw_rows
from include.raw.reading.rules import WITHOUT_A_DAY, Limits, reasons
from include.settings import get_settings

_OWN = re.compile(r"(csv|log)-.*\.(csv|rejects\.jsonl)\.gz")


@dataclass
class ImportReport:
    """What was read and written of one input."""

    imported: Imported
    counts: FileCounts = field(default_factory=FileCounts)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    other_scenes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    skipped: int = 0


def import_log(
    inputs: Sequence[str], mapping: Mapping, *, raw: Raw | None = None, progress: Progress | None = None
) -> list[ImportReport]:
    """Write the inputs as raw days, all of them or, after any error, none.

    Importing a file again, or its content from another place, replaces what it gave before; raises `InvalidInputError` where an
    input is given twice, or does not fit the mapping.
    """
    raw = raw or Raw()
    raw.refuse_another_form("`ctr import`")
    hashes = [content_hash(path) for path in inputs]
    for number, path in enumerate(inputs):
        if hashes[number] in hashes[:number]:
            other = inputs[hashes.index(hashes[number])]
            raise InvalidInputError(f"{path} has the same content as {other}: give it once. Nothing was imported.")
    try:
        with Delivery(raw) as delivery:
            return [
                _import_file(path, hashes[number], mapping, delivery, _part_of(progress, number, len(inputs)))
                for number, path in enumerate(inputs)
            ]
    except InvalidInputError as error:
        raise InvalidInputError(f"{str(error).removesuffix(' Nothing was read.')} Nothing was imported.") from error


def _part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    return (lambda done: progress((number + done) / count)) if progress else None


def _import_file(
    path: str, content: str, mapping: Mapping, delivery: Delivery, progress: Progress | None
) -> ImportReport:
    source = source_name(path)
    imported = Imported(import_name("log", path), source)
    report = ImportReport(imported)
    settings = get_settings()
    limits = Limits(settings.scenes, settings.max_field_bytes, settings.earliest_day)
    with DayFiles(delivery, imported, _OWN) as files, open_input(path, progress) as (file, tick):
        for batch in read_records(file, mapping, path, report.counts):
            tick()
            _write(batch, mapping, limits, files, report)
    report.imported.rows_in = report.counts.records
    _check(report, path)
    previous = previous_imports(delivery.raw, source, content)
    delivery.remove([name for ledger in previous for name in ledger])
    ledger = {
        "source": source,
        "sha256": content,
        "files": imported.files,
        "days": imported.days,
        "rejects": report.reasons,
        "lines": vars(report.counts),
    }
    delivery.write(f"_imports/{imported.name}.json", json.dumps(ledger, indent=1).encode())
    return report


def _write(batch: Records, mapping: Mapping, limits: Limits, files: DayFiles, report: ImportReport) -> None:
    """Write a batch in the order of the file, so that a rejected record goes to the day of the row before it."""
    events: list[tuple[int, str, Any]] = [
        (record.number, "", _reject(record.number, record.line, record.reason, record.fault, record.text))
        for record in batch.broken
    ]
    if len(batch.numbers):
        rows = raw_rows(batch, mapping, get_settings().entity_separators)
        report.repeated += rows.times.repeated
        report.skipped += rows.times.skipped
        found = reasons(rows, limits, WITHOUT_A_DAY)
        days = np.datetime_as_string(rows.moments, unit="D")
        canonical = rows.canonical_rows(get_settings().entity_separators)
        for place, (number, row) in enumerate(zip(batch.numbers.tolist(), canonical, strict=True)):
            if place in found:
                line = int(batch.lines[place]) if batch.lines is not None else number
                events.append((number, "", _reject(number, line, *_fault(rows, place, found[place][0], mapping))))
            else:
                events.append((number, str(days[place]), row))
        if mapping.scenes:
            _count_other_scenes(rows, mapping, report)
    if batch.broken:
        events.sort(key=lambda event: event[0])
    for _, day, content in events:
        if day:
            files.row(day, content)
        else:
            files.reject(content)
            report.reasons[content["reason"]] += 1
            report.examples.setdefault(content["reason"], f"line {content['line']:,}: {content['fault']}")


def _fault(rows: RawRows, place: int, reason: str, mapping: Mapping) -> tuple[str, str, str]:
    values = rows.original(place)
    expected = f"expected {' or '.join(mapping.time.formats)}, from CTR_EARLIEST_DAY to a day ahead of the clock"
    return reason, f"{expected}; found {values.get('log_time', '')[:80]!r}", as_json(values)


def _reject(number: int, line: int, reason: str, fault: str, record: str) -> dict[str, Any]:
    return {"row": number, "line": line, "reason": reason, "fault": fault, "record": record}


def _count_other_scenes(rows: RawRows, mapping: Mapping, report: ImportReport) -> None:
    known = {*mapping.scenes.values()}
    for entry in pc.value_counts(rows.text["scene"]).to_pylist():
        if entry["values"] not in known:
            report.other_scenes[str(entry["values"])[:80]] += entry["counts"]


def _check(report: ImportReport, path: str) -> None:
    imported = report.imported
    imported.check_conserved()
    if not imported.rows_written:
        found = "; ".join(f"{count:,} × {reason}" for reason, count in report.reasons.items()) or "it has no rows"
        examples = "; ".join(report.examples.values())
        raise InvalidInputError(
            f"{path}: expected rows that the mapping fits, found none of {imported.rows_in:,}: {found}"
            f"{f' ({examples})' if examples else ''}. "
            "Correct the mapping (`ctr map --check` shows what it makes of a file), or fetch the file again."
        )
