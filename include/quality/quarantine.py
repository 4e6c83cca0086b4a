"""Rejected raw rows of a day as they are staged or published: counted and sampled without holding them all in memory."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from include.lake.lake import Lake

SAMPLE_COLUMNS = ("source_file", "source_row", "raw", "reasons", "fingerprint")
_ROWS = 10_000


@dataclass
class Rejected:
    """How many rows of a day were rejected, why, of which files, and some of them; a row may have several reasons."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    reasons_of_files: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    samples: list[dict[str, Any]] = field(default_factory=list)


def rejected(lake: Lake, day: date, reason: str | None = None, samples: int = 0) -> Rejected:
    """Return counts of the rejected rows of a day (with `reason`, if given), and up to `samples` rows of each reason.

    Raises `MissingDataError` where the day is neither staged nor published.
    """
    import pyarrow.compute as pc

    result = Rejected()
    picked = defaultdict[str, list[dict[str, Any]]](list)
    for stripe in stripes(lake, day, "ctr quarantine"):
        part = stripe.read(["source_file", "reasons"])
        rows, row_reasons = pc.list_parent_indices(part["reasons"]), pc.list_flatten(part["reasons"])
        if reason is not None:
            chosen = pc.equal(row_reasons, reason)
            rows, row_reasons = rows.filter(chosen), row_reasons.filter(chosen)
        distinct = rows.unique()
        result.rows += len(distinct)
        result.files.update(_counts(part["source_file"].take(distinct)))
        files = part["source_file"].take(rows)
        for name, count in _counts(row_reasons).items():
            at = pc.equal(row_reasons, name)
            result.reasons[name] += count
            for file, number in _counts(files.filter(at)).items():
                result.reasons_of_files[file][name] += number
            sample = rows.filter(at)[: samples - len(picked[name])] if samples > len(picked[name]) else rows[:0]
            if len(sample):
                picked[name] += stripe.read(SAMPLE_COLUMNS).take(sample).to_pylist()
    result.samples = [row for name in sorted(picked) for row in picked[name]]
    return result


def files_read(lake: Lake, day: date, rejected_of: dict[str, int]) -> list[dict[str, Any]]:
    """Return what each file of a day held, and how many of its rows were rejected; those with most rejected rows first.

    `lines` are there for text only: each begins a record, continues one, is blank, or of the header. Builds of earlier versions
    know only the files of rejected rows.
    """
    staged = lake.staged("logs", day)
    manifest = staged[0] if staged else lake.manifest("logs", day)
    summaries = {file["file"]: file for file in (manifest.profile.get("files", []) if manifest else [])}
    files = [
        {
            "file": name,
            **{
                part: summaries.get(name, {}).get(part) for part in ("lines", "header", "blank", "continued", "records")
            },
            "rejected": rejected_of.get(name, 0),
        }
        for name in dict.fromkeys([*summaries, *rejected_of])
    ]
    return sorted(files, key=lambda file: (-file["rejected"], file["file"]))


def rejected_rows(lake: Lake, day: date, columns: Sequence[str], needed_for: str) -> Iterator[dict[str, Any]]:
    """Yield all rejected rows of a day, one after the other; a column that the day's build does not have is null."""
    for stripe in stripes(lake, day, needed_for):
        batch = stripe.read(columns)
        for first in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(first, _ROWS).to_pylist()


def _counts(values: Any) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in values.value_counts().to_pylist()}


@dataclass
class Stripe:
    """A part of an ORC file that fits in memory."""

    file: Any
    number: int

    def read(self, columns: Sequence[str]) -> Any:
        """Return a record batch of the columns."""
        import pyarrow as pa

        present = [name for name in columns if name in self.file.schema.names]
        batch = self.file.read_stripe(self.number, columns=present)
        arrays = [batch[name] if name in present else pa.nulls(batch.num_rows) for name in columns]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def stripes(lake: Lake, day: date, needed_for: str) -> Iterator[Stripe]:
    """Yield the stripes of a day's `quarantine`: the staged one if there is one, else the published one."""
    from pyarrow import orc

    if staged := lake.staged("logs", day):
        folder = lake.path(f"{lake.staging('logs', day, staged[0].build)}/quarantine")
    else:
        folder = lake.table_path("quarantine", day, needed_for)
    for name in sorted(lake.fs.find(folder)):
        if name.endswith(".orc"):
            with lake.fs.open(name, "rb") as opened:
                file = orc.ORCFile(opened)
                for number in range(file.nstripes):
                    yield Stripe(file, number)
