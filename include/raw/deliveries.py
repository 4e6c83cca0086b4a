"""The raw logs under `CTR_RAW`: files of each day, written by whoever delivers it; the mapping says where they lie.

`ctr sample` and the importers deliver through `Delivery`: files are written aside and come to their place together, at the
end, by renames that a journal names first. A failure while they are written leaves every day as it was; a process killed
during the renames is finished by the next delivery.

    {raw}/date=2023-07-17/part-0.csv.gz    what a run reads
    {raw}/_incoming/…                      deliveries on their way
    {raw}/_imports/NAME.json               what an import wrote, so that importing again replaces it
    {raw}/date=2023-07-17/NAME.rejects.jsonl.gz  what an import rejected: the day's quarantine takes it in
    {raw}/_repairs/date=2023-07-17.jsonl.gz  corrected columns of single rows of a day's files (include/quality/repairs.py)
"""

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import IO, Any, cast

import fsspec

from include.calendar import parse_day
from include.errors import InvalidInputError
from include.lake.files import read_json, rename
from include.lake.manifest import new_build
from include.mapping.file_pattern import DayPaths, FilePattern
from include.mapping.mapping import DEFAULT_MAPPING
from include.plural import counted
from include.raw.completeness import control_files
from include.raw.raw_mapping import raw_mapping
from include.settings import get_settings

STALE = timedelta(days=1)
ON_THE_WAY = ("._COPYING_", ".tmp", ".part", ".inprogress")
"""Ends of the names of files that are still being written, of `hdfs dfs -put` and others."""
_STAMP = "%Y%m%dT%H%M%S"


def day_folder(day: date | str) -> str:
    """Return the folder of a raw day, under the root of the raw logs."""
    return f"date={day}"


def repairs_path(day: date | str) -> str:
    """Return the file of a day's repairs, under the root of the raw logs: in the day's folder it could be read as a log."""
    return f"_repairs/{day_folder(day)}.jsonl.gz"


class Raw:
    """The raw logs at a URL; paths are relative to it, such as `date=2023-07-17/part-0.csv.gz`."""

    def __init__(self, url: str = "") -> None:
        self.url = (url or get_settings().raw_url).rstrip("/")
        self.fs, self.root = fsspec.core.url_to_fs(self.url)

    def full(self, path: str) -> str:
        """Return the path inside `fs` of a path under the raw logs."""
        return f"{self.root}/{path}"

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty where there is no folder."""
        try:
            self.fs.invalidate_cache()
            return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in self.fs.ls(self.full(folder), detail=False))
        except FileNotFoundError:
            return []

    @cached_property
    def files(self) -> FilePattern:
        """Where the files of a day lie: the pattern of the mapping of the raw logs."""
        return raw_mapping().files

    def _listed(self, folder: str) -> list[tuple[str, bool]]:
        """Return the names in a folder, each with whether it is a folder; empty where there is no folder."""
        try:
            self.fs.invalidate_cache()
            entries = self.fs.ls(self.full(folder.rstrip("/")), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((entry["name"].rstrip("/").rsplit("/", 1)[-1], entry["type"] == "directory") for entry in entries)

    def day_files(self, day: date | str) -> list[str]:
        """Return the paths of a day's files, those that a run would read."""
        return [path for path in self._day_paths(day).read if not path.endswith(ON_THE_WAY)]

    def unread_files(self, day: date | str) -> list[str]:
        """Return the paths of what else lies there for a day and would be left out, but nothing hidden."""
        return [path for path in self._day_paths(day).unread if not path.endswith(ON_THE_WAY)]

    def _day_paths(self, day: date | str) -> DayPaths:
        """Return the paths of a day's files; markers and manifests of its deliverer are none."""
        found = self.files.day_paths(parse_day(str(day)), self._listed)
        control = control_files(parse_day(str(day)))
        return DayPaths(*(tuple(path for path in paths if path not in control) for paths in (found.read, found.unread)))

    def has_log(self, day: date) -> bool:
        """Return whether a day can be ingested, all files being whole, or is declared empty by the settings.

        A file that no run reads counts too: the run then names it instead of waiting for others.
        """
        found = self._day_paths(day)
        there = bool(found.read or found.unread) and not self.unfinished(day)
        return there or day in get_settings().empty_days

    def unfinished(self, day: date) -> list[str]:
        """Return the paths of the day's files that are still being written, as their names say."""
        found = self._day_paths(day)
        return [path for path in (*found.read, *found.unread) if path.endswith(ON_THE_WAY)]

    def days(self) -> list[date]:
        """Return the days that have a folder (or, where only names say the day, a file), ascending."""
        return sorted(self.files.days(self._listed))

    def refuse_another_form(self, writer: str) -> None:
        """Raise `InvalidInputError` where these raw logs are read by a mapping other than that of what `writer` writes."""
        mapping = get_settings().raw_mapping
        if mapping != DEFAULT_MAPPING and self.url == get_settings().raw_url.rstrip("/"):
            raise InvalidInputError(
                f"{self.url} holds a log that is read by the mapping {mapping} (CTR_RAW_MAPPING), and {writer} writes files "
                f"of the default mapping '{DEFAULT_MAPPING}', which it would not read. Put files of that log there as they "
                "are, or unset CTR_RAW_MAPPING and set CTR_RAW to another folder. Nothing was written."
            )

    def refuse_others(self, day: date | str, own: re.Pattern[str], writer: str) -> None:
        """Raise `InvalidInputError` where a day holds files that `writer` did not write: sources are not mixed."""
        names = [path.rsplit("/", 1)[-1] for path in self.day_files(day)]
        others = [name for name in names if not own.fullmatch(name)]
        if others:
            raise InvalidInputError(
                f"{self.url}/{day_folder(day)} already holds {others[0]!r} ({counted(len(others), 'file')}), "
                f"which {writer} did not write. "
                "Mixing sources in one day would corrupt it: point CTR_RAW at another folder, or move those files away."
            )

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Return a JSON file's content, or None where there is no file."""
        return read_json(self.fs, self.full(path))


class Delivery:
    """Files for the raw logs that come to their place together when the `with` block ends well, or not at all."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.folder = f"_incoming/{datetime.now(UTC).strftime(_STAMP)}-{new_build()}"
        self._put: list[str] = []
        self._remove: list[str] = []

    def __enter__(self) -> "Delivery":
        finish_interrupted(self.raw)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            _discard(self.raw, self.folder)
        elif self._put or self._remove:
            journal = {"put": self._put, "remove": [path for path in self._remove if path not in self._put]}
            self._write(f"{self.folder}/journal.tmp", json.dumps(journal).encode())
            rename(
                self.raw.fs, self.raw.full(f"{self.folder}/journal.tmp"), self.raw.full(f"{self.folder}/journal.json")
            )
            _commit(self.raw, self.folder, journal)

    def open(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """Open a binary file for `path`; gzipped, with the same bytes for the same content, where it ends in `.gz`."""
        if path in self._put:
            raise ValueError(f"{path} is delivered twice")
        self._put.append(path)
        return self._open(f"{self.folder}/{path}")

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file at `path`."""
        with self.open(path) as file:
            file.write(content)

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files when the new ones are put in place, unless a new one replaces them."""
        self._remove.extend(paths)

    def _write(self, path: str, content: bytes) -> None:
        with self._open(path) as file:
            file.write(content)

    @contextmanager
    def _open(self, path: str) -> Iterator[IO[bytes]]:
        full = self.raw.full(path)
        self.raw.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        with self.raw.fs.open(full, "wb") as file:
            if not path.endswith(".gz"):
                yield file
                return
            # No name and no time in the header: the same rows give the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as zipped:
                yield cast(IO[bytes], zipped)


def finish_interrupted(raw: Raw) -> None:
    """Finish deliveries that a killed process had started to move, and clear what old ones left behind."""
    for name in raw.names("_incoming"):
        folder = f"_incoming/{name}"
        journal = raw.read_json(f"{folder}/journal.json")
        if journal is not None:
            _commit(raw, folder, journal)
        elif datetime.now(UTC) - datetime.strptime(name.split("-")[0], _STAMP).replace(tzinfo=UTC) > STALE:
            _discard(raw, folder)


def _commit(raw: Raw, folder: str, journal: dict[str, list[str]]) -> None:
    """Move and remove what the journal names; every step may be repeated."""
    for path in journal["put"]:
        source, target = raw.full(f"{folder}/{path}"), raw.full(path)
        if raw.fs.exists(source):
            raw.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            rename(raw.fs, source, target)
    for path in journal["remove"]:
        if raw.fs.exists(raw.full(path)):
            raw.fs.rm(raw.full(path))
        parent = path.rsplit("/", 1)[0]
        if parent.startswith("date=") and not raw.names(parent):
            raw.fs.rm(raw.full(parent), recursive=True)
    _discard(raw, folder)


def _discard(raw: Raw, folder: str) -> None:
    if raw.fs.exists(raw.full(folder)):
        raw.fs.rm(raw.full(folder), recursive=True)
