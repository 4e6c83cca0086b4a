"""Whether a day's raw files are complete, by the rules of `CTR_RAW_COMPLETE` (`include/completeness_rules.py`).

A manifest is a JSON file that the deliverer writes last. Every key may be missing, and other keys are ignored:

    {"files": {"part-0.csv.gz": {"rows": 1000, "bytes": 52345, "sha256": "9f86d0…"}, "part-1.csv.gz": {}}, "rows": 1500}
    {"files": ["part-0.csv.gz", "part-1.csv.gz"]}

Names are paths in the day's folder. Files, bytes and checksums must fit before the day is complete; the rows are known when the
files are read, so that ingest compares them (`promised_rows`).
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from rich.filesize import decimal

from include.calendar import ONE_DAY
from include.completeness_rules import FileCount, ManifestFile, Marker, Quiet, Rule, name_of_day, parse_rules
from include.errors import InvalidInputError
from include.lake.local_files import LocalFiles
from include.plural import counted
from include.raw.raw_mapping import raw_mapping
from include.settings import get_settings

if TYPE_CHECKING:
    from include.raw.deliveries import Raw
_CHUNK = 4 << 20


class PromisedFile(BaseModel):
    """What a manifest says of a file: its rows without a header, its bytes as stored, and their SHA-256."""

    rows: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")


class DayManifest(BaseModel):
    """What a manifest says of a day: its files, by their path in the day's folder, and the rows of all together."""

    files: dict[str, PromisedFile] = Field(default_factory=dict)
    rows: int | None = Field(default=None, ge=0)

    @field_validator("files", mode="before")
    @classmethod
    def _named(cls, files: Any) -> Any:
        return {name: {} for name in files} if isinstance(files, list) else files

    @model_validator(mode="after")
    def _consistent(self) -> "DayManifest":
        rows = [file.rows for file in self.files.values()]
        if rows and None not in rows and self.rows not in (None, total := sum(filter(None, rows))):
            raise ValueError(f"rows is {self.rows:,}, and the rows of its files are {total:,} together")
        return self


def waits_for(raw: "Raw", day: date) -> str | None:
    """Return None for a day that is complete, else one line that says what is there and what is missing.

    A day that the settings declare empty is complete without a file.
    """
    delivered = _Delivered(raw, day)
    if not delivered.sizes:
        folder = "/".join(filter(None, (raw.url, delivered.folder)))
        return None if day in get_settings().empty_days else f"No whole file; waits for files in {folder}."
    if raw.has_log(day):
        missing = list(delivered.missing()) or list(delivered.missing(checksums=True))
    else:
        names = raw.unfinished(day)
        missing = [f"the end of files that are still being written, as their names say: {', '.join(names[:5])}"]
    found = f"{counted(len(delivered.sizes), 'file')}, {decimal(sum(delivered.sizes.values()))}"
    return f"{found}; waits for {', and '.join(missing)}." if missing else None


def promised_rows(raw: "Raw", day: date) -> dict[str, int] | int | None:
    """Return the rows that the day's manifest promises, which the rows that were read must equal.

    They are those of each file (path under the raw root) or of the whole day; None where no manifest says so. Raises
    `InvalidInputError` for a manifest that cannot be read.
    """
    for rule in _rules():
        if isinstance(rule, ManifestFile) and (manifest := read_manifest(raw, day, rule)):
            rows = {path: file.rows for path, file in _files(manifest, day).items() if file.rows is not None}
            if manifest.rows is not None and len(rows) < len(manifest.files):
                return manifest.rows
            return rows or manifest.rows
    return None


def changed_since(raw: "Raw", day: date, moment: datetime) -> tuple[str, ...]:
    """Return the paths of the day's files that a run reads and that came, or were replaced, after a moment."""
    return tuple(path for path in raw.day_files(day) if _size_and_change(raw, path)[1] > moment.timestamp())


def control_files(day: date) -> frozenset[str]:
    """Return the paths of the day's markers and manifests: they hold no rows, whatever their names."""
    return frozenset(_path(rule, day) for rule in _rules() if isinstance(rule, Marker))


def read_manifest(raw: "Raw", day: date, rule: ManifestFile) -> DayManifest | None:
    """Return the day's manifest, None where it has not come; raises `InvalidInputError` where it is none."""
    path = _path(rule, day)
    try:
        with raw.fs.open(raw.full(path), "rb") as file:
            return DayManifest.model_validate_json(file.read())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'content'}: {fault['msg']}" for fault in error.errors()
        )
        raise InvalidInputError(
            f"{raw.url}/{path} is no manifest of a day: expected JSON such as "
            f'{{"files": {{"part-0.csv": {{"rows": 1000}}}}}}, found {faults}. Next: deliver it again.'
        ) from None


class _Delivered:
    """The files of a day, whether a run reads them or would refuse their names, and what they lack."""

    def __init__(self, raw: "Raw", day: date) -> None:
        self.raw = raw
        self.day = day
        self.folder = raw_mapping().files.folder(day)
        self.read = {*raw.day_files(day)}
        self.sizes: dict[str, int] = {}
        self.changed = 0.0
        """When a file or a folder of the day changed last, in seconds since 1970."""
        for path in self.read | {*raw.unread_files(day)}:
            self.sizes[path], changed = _size_and_change(raw, path)
            self.changed = max(self.changed, changed)
        for folder in self._own_folders():
            self.changed = max(self.changed, _folder_changed(raw, folder))

    def missing(self, *, checksums: bool = False) -> Iterator[str]:
        """Yield what is missing by each rule that does not hold; checksums are compared only on request, as they read all."""
        for alternatives in parse_rules(get_settings().raw_complete):
            faults = [self._fault(rule, checksums) for rule in alternatives]
            if None not in faults:
                yield " or ".join(filter(None, faults))

    def _own_folders(self) -> set[str]:
        """Return the folders that hold files of this day only."""
        if not _is_of_one_day(self.day, raw_mapping().files.folder):
            return set()
        parents = {path.rstrip("/").rpartition("/")[0] for path in self.sizes}
        return {self.folder, *(parent for parent in parents if parent.startswith(f"{self.folder}/"))}

    def _fault(self, rule: Rule, checksums: bool) -> str | None:
        """Return what is missing by one rule, None where it holds."""
        match rule:
            case ManifestFile():
                return self._manifest_fault(rule, checksums)
            case Marker():
                return self._marker_fault(rule)
            case Quiet(minutes):
                seconds = max(0.0, datetime.now(UTC).timestamp() - self.changed)
                span = f"{minutes:g} {'minute' if minutes == 1 else 'minutes'}"
                return None if seconds >= 60 * minutes else f"{span} without a change (last change {seconds:.0f} s ago)"
            case FileCount(files):
                return None if len(self.read) >= files else counted(files, "file")

    def _marker_fault(self, rule: Marker) -> str | None:
        path = _path(rule, self.day)
        if not _is_of_one_day(self.day, lambda day: _path(rule, day)):
            return f"a marker that names the day, such as marker:{rule.name}-{{yyyyMMdd}}, as many days share a folder"
        return None if self.raw.fs.exists(self.raw.full(path)) else path.rpartition("/")[2]

    def _manifest_fault(self, rule: ManifestFile, checksums: bool) -> str | None:
        if fault := self._marker_fault(rule):
            return fault
        try:
            manifest = read_manifest(self.raw, self.day, rule) or DayManifest()
        except InvalidInputError as error:
            return f"a manifest that can be read: {error}".rstrip(".")
        promised = _files(manifest, self.day)
        name = name_of_day(rule.name, self.day)
        if absent := sorted(promised.keys() - self.sizes.keys()):
            return f"{counted(len(absent), 'file')} that {name} lists: {', '.join(absent[:5])}{', …' if absent[5:] else ''}"
        faults = list(self._unlike(promised, checksums)) if promised else []
        return f"files as {name} promises them: {'; '.join(faults[:5])}" if faults else None

    def _unlike(self, promised: dict[str, PromisedFile], checksums: bool) -> Iterator[str]:
        """Yield how the files differ from what a manifest promises."""
        for path in sorted(self.sizes.keys() - promised.keys()):
            yield f"{path} is not listed"
        for path, file in promised.items():
            if file.bytes not in (None, self.sizes[path]):
                yield f"{path} has {counted(self.sizes[path], 'byte')}, promised are {file.bytes:,}"
            elif checksums and file.sha256 and (found := _sha256(self.raw, path)) != file.sha256.lower():
                yield f"{path} has the SHA-256 {found[:12]}…, promised is {file.sha256[:12].lower()}…"


def _rules() -> Iterator[Rule]:
    return (rule for alternatives in parse_rules(get_settings().raw_complete) for rule in alternatives)


def _path(rule: Marker, day: date) -> str:
    """Return where a day's marker is, under the root of the raw logs."""
    return _in_folder(day, name_of_day(rule.name, day))


def _files(manifest: DayManifest, day: date) -> dict[str, PromisedFile]:
    """Return the promised files by their path under the root of the raw logs."""
    return {_in_folder(day, name): file for name, file in manifest.files.items()}


def _in_folder(day: date, name: str) -> str:
    return "/".join(filter(None, (raw_mapping().files.folder(day), name)))


def _is_of_one_day(day: date, path_of: Callable[[date], str]) -> bool:
    """Return whether the path of a day is not that of the days beside it too."""
    return path_of(day) not in (path_of(day - ONE_DAY), path_of(day + ONE_DAY))


def _size_and_change(raw: "Raw", path: str) -> tuple[int, float]:
    """Return the bytes of a file, and when it changed last, in seconds since 1970."""
    try:
        info = raw.fs.info(raw.full(path))
        if isinstance(raw.fs, LocalFiles):
            # A copy may keep the time of its original; that of its inode is when it came.
            return int(info["size"]), max(info["mtime"], info["created"])
        return int(info["size"] or 0), raw.fs.modified(raw.full(path)).timestamp()
    except FileNotFoundError:  # renamed or removed since it was listed
        return 0, datetime.now(UTC).timestamp()


def _folder_changed(raw: "Raw", folder: str) -> float:
    """Return when names in a folder changed last; 0 where the file system does not know, or has no folders."""
    try:
        return float(raw.fs.modified(raw.full(folder)).timestamp())
    except (FileNotFoundError, IsADirectoryError):  # a store of objects: a folder is but a part of their names
        return 0.0
    except (NotImplementedError, KeyError, TypeError):  # of a file system that keeps no such time
        return 0.0


def _sha256(raw: "Raw", path: str) -> str:
    digest = hashlib.sha256()
    with raw.fs.open(raw.full(path), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
