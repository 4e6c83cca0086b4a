"""The lake: where tables and records lie, and how a stage's tables of a day become visible, all at once.

    {lake}/{table}/dt=2023-07-17/build=4f1c…/…orc       data; a build is never changed once it lies here
    {lake}/_manifests/{stage}/dt=2023-07-17.json        which build of each table of the stage is published
    {lake}/_staging/{stage}/dt=2023-07-17/build=…       tables that a job wrote and no check has passed yet
    {lake}/_staging/{stage}/dt=2023-07-17/staged.json   which of them was finished last
    {lake}/_records/{kind}/dt=2023-07-17.json           small JSON records: quality, training, evaluation, …
    {lake}/_records/{kind}/dt=2023-07-17/version=3.json of a model version, kept when the day is run again
    {lake}/_docs/{stage}/dt=2023-07-17.html             Great Expectations' Data Docs of what was staged last

Write, audit, publish: a job stages its tables and, last, `staged.json`; `publish` moves them to their place (nothing reads
them there yet) and then replaces the manifest, which is one file and one rename: readers see the old day or the new one, a
process killed anywhere leaves one of the two, and calling `publish` again finishes an interrupted publication.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, TypeVar

import fsspec
from pydantic import ValidationError

from include.calendar import parse_day
from include.checks import refuse_failed
from include.errors import DamagedFileError, MissingDataError, UnavailableError
from include.lake.files import MEND, read_json, rename
from include.lake.manifest import Manifest, new_build
from include.records import Quality, Record
from include.settings import get_settings
from include.stages import Checked, Stage, stage_of

for _protocol, _name in (
    ("hdfs", "hdfs.HdfsFileSystem"),
    ("viewfs", "hdfs.ViewfsFileSystem"),
    ("file", "local_files.LocalFiles"),
):
    fsspec.register_implementation(_protocol, f"include.lake.{_name}", clobber=True)

P = TypeVar("P")
R = TypeVar("R", bound=Record)

ABANDONED = timedelta(days=2)
"""A build that was staged and not finished for this long has no job any more."""
_WRITES = 8


class Lake:
    """A lake at a URL: `file://`, `hdfs://`, or any other file system that fsspec knows and that renames atomically."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.fs, self.root = fsspec.core.url_to_fs(self.url)

    def uri(self, path: str) -> str:
        """Return the full URL, as Spark needs it, of a path under the lake."""
        return f"{self.url}/{path}"

    # Staging

    def staging(self, stage: Stage, day: date, build: str) -> str:
        """Return the path under the lake of a build's staging folder, which no other job of the day shares."""
        return f"_staging/{stage}/dt={day}/build={build}"

    def begin_staging(self, stage: Stage, day: date, build: str) -> str:
        """Make the folder of a build and return its path; remove folders that killed jobs left long ago."""
        path = self.staging(stage, day, build)
        self.fs.makedirs(self._full(path), exist_ok=True)
        last = self.staged(stage, day)
        for folder in self.fs.ls(self._full(path).rsplit("/", 1)[0], detail=False):
            name = folder.rstrip("/").rsplit("build=", 1)[-1]
            if "build=" in folder and name != (last and last[0].build) and self._abandoned(folder):
                self.fs.rm(folder, recursive=True)
        return path

    def finish_staging(self, manifest: Manifest, quality: Quality, docs: str | None = None) -> None:
        """Write `staged.json`, the mark that staging is complete, the quality record and the Data Docs."""
        day = parse_day(manifest.day)
        before = self.staged(manifest.stage, day)
        self.write_json(
            self._staged_path(manifest.stage, day), {"manifest": asdict(manifest), "quality": quality.as_json()}
        )
        self.write_record(quality)
        if docs is not None:
            self.write_bytes(docs_path(manifest.stage, day), docs.encode())
        if before and before[0].build != manifest.build:
            self._remove(self.staging(manifest.stage, day, before[0].build))

    def staged(self, stage: Stage, day: date) -> tuple[Manifest, Quality] | None:
        """Return the manifest and quality record of what was staged last, or None where no job has finished staging."""
        path = self._staged_path(stage, day)
        data = self.read_json(path)
        if data is None:
            return None
        manifest = self._valid(path, "a staged manifest", lambda: Manifest.from_json(data.get("manifest")))
        return manifest, self._valid(path, "the checks of it", lambda: Quality.model_validate(data.get("quality")))

    def publish(self, stage: Stage, day: date) -> Manifest:
        """Publish what is staged, if its critical checks passed, and return the manifest.

        Where nothing is staged and the day is published already (a rerun of the check alone), the published manifest is
        returned. Raises `DataQualityError` for a failed critical check and `MissingDataError` where there is nothing, or
        where another job of the day has replaced what was staged.
        """
        staged = self.staged(stage, day)
        if staged is None:
            published = self.manifest(stage, day)
            if published is None:
                raise MissingDataError(
                    f"Nothing is staged for {stage} {day}: expected {self.uri(self._staged_path(stage, day))}. "
                    f"Run the Spark job of '{stage}' for {day} first."
                )
            return published
        manifest, quality = staged
        refuse_failed(stage, day, quality.checks)
        staging = self.staging(stage, day, manifest.build)
        for name, table in manifest.tables.items():
            source, target = self._full(f"{staging}/{name}"), self._full(table.path)
            if self.fs.exists(source):  # else an interrupted publication moved it already
                self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                self._rename(source, target)
        missing = [table.path for table in manifest.tables.values() if not self.fs.exists(self._full(table.path))]
        if missing:
            raise MissingDataError(
                f"Build {manifest.build} of {stage} {day} cannot be published: expected {', '.join(missing)} in {self.url}, "
                f"found neither there nor in {staging}. Another job of {day} has replaced it; publish again."
            )
        before = self.manifest(stage, day)
        self.write_json(self._manifest_path(stage, day), asdict(manifest))
        self._remove_old_builds(manifest, before)
        if (last := self.staged(stage, day)) and last[0].build == manifest.build:
            self._remove(self._staged_path(stage, day))
        self._remove(staging)
        return manifest

    def _remove_old_builds(self, manifest: Manifest, before: Manifest | None) -> None:
        """Keep this build and the one before it, which a running reader may still have open."""
        keep = {manifest.build, before.build if before else manifest.build}
        for table in manifest.tables:
            folder = self._full(f"{table}/dt={manifest.day}")
            for build in self.fs.ls(folder, detail=False) if self.fs.exists(folder) else []:
                if build.rstrip("/").rsplit("build=", 1)[-1] not in keep:
                    self.fs.rm(build, recursive=True)

    # Reading

    def manifest(self, stage: Stage, day: date) -> Manifest | None:
        """Return the published manifest of a stage's day, or None."""
        path = self._manifest_path(stage, day)
        data = self.read_json(path)
        return None if data is None else self._valid(path, "a manifest", lambda: Manifest.from_json(data))

    def require(self, stage: Stage, day: date, needed_for: str) -> Manifest:
        """Return the published manifest of a stage's day; raises `MissingDataError`, which names what needs it."""
        manifest = self.manifest(stage, day)
        if manifest is None:
            raise MissingDataError(
                f"{needed_for} needs {stage} {day}, which is not published in {self.url}. "
                f"Run day {day} first (`ctr status` lists the days)."
            )
        return manifest

    def days(self, stage: Stage) -> list[date]:
        """Return the published days of a stage, ascending."""
        return self._json_days(f"_manifests/{stage}")

    def table_uri(self, table: str, day: date, needed_for: str) -> str:
        """Return the URL of the published build of a table's day; raises `MissingDataError` if there is none."""
        return self.uri(self.require(stage_of(table), day, needed_for).table(table).path)

    def table_path(self, table: str, day: date, needed_for: str) -> str:
        """Return the path of the published build of a table's day inside `fs`, for readers that do not use Spark."""
        return self._full(self.require(stage_of(table), day, needed_for).table(table).path)

    # Records

    def write_record(self, record: Record) -> None:
        """Replace the record of a kind and day; one about a model version is kept under that version too."""
        path = f"_records/{record.folder}/dt={record.day}"
        data = record.as_json()
        if record.about is not None:
            self.write_json(f"{path}/version={record.about}.json", data)
        self.write_json(f"{path}.json", data)

    def record(self, kind: type[R], day: date, version: int | None = None) -> R | None:
        """Return the newest record of a kind and day, or the one about a model version; None where there is none.

        Raises `DamagedFileError` where the file is not such a record.
        """
        return self._record(kind, kind.kind, day, version)

    def quality(self, stage: Checked, day: date) -> Quality | None:
        """Return the checks of the latest attempt of a stage's day, or of the model's; None where there is none."""
        return self._record(Quality, f"{Quality.kind}/{stage}", day)

    def _record(self, kind: type[R], folder: str, day: date, version: int | None = None) -> R | None:
        path = f"_records/{folder}/dt={day}{'' if version is None else f'/version={version}'}.json"
        data = self.read_json(path)
        if data is None:
            return None
        return self._valid(path, f"a record '{kind.kind}' of {day}", lambda: kind.model_validate({"day": day, **data}))

    def _valid(self, path: str, content: str, parse: Callable[[], P]) -> P:
        """Return what a file holds; raises `DamagedFileError` where it does not hold that."""
        try:
            return parse()
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise DamagedFileError(f"{self.uri(path)} does not hold {content}: {faults}.", MEND) from error

    def record_days(self, kind: type[Record]) -> list[date]:
        """Return the days that have a record of this kind, ascending."""
        return self._json_days(f"_records/{kind.kind}")

    def quality_days(self, stage: Checked) -> list[date]:
        """Return the days on which a stage, or the model, was checked, ascending."""
        return self._json_days(f"_records/{Quality.kind}/{stage}")

    def record_stamps(self, folder: str) -> dict[date, str]:
        """Return the days that have a record of this folder, each with a stamp that changes when the record is replaced."""
        full = self._full(f"_records/{folder}")
        entries = self.fs.ls(full, detail=True, refresh=True) if self.fs.exists(full) else []
        return {day: _stamp(entry) for entry in entries for day in _days_of([entry["name"]])}

    # Files

    def write_json(self, path: str, data: dict[str, Any]) -> None:
        """Replace a JSON file in one rename."""
        self.write_bytes(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode())

    def write_bytes(self, path: str, data: bytes) -> None:
        """Replace a file in one rename; its temporary name ends with `.tmp`, which readers skip."""
        full = self._full(path)
        self.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        for tries_left in reversed(range(_WRITES)):
            temporary = f"{full}.{new_build()}.tmp"
            try:
                with self.fs.open(temporary, "wb") as out:
                    out.write(data)
                break
            except UnavailableError:  # a new file gets other DataNodes than the one that has just died
                if not tries_left:
                    raise
        self._rename(temporary, full)

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Return a JSON file's content, or None where there is no file."""
        return read_json(self.fs, self._full(path))

    def exists(self, path: str) -> bool:
        """Return whether there is a file or folder at a path under the lake."""
        return bool(self.fs.exists(self._full(path)))

    def size(self, path: str) -> int:
        """Return the size in bytes of the files under a path."""
        return int(self.fs.du(self._full(path)))

    def files(self, folder: str, suffix: str) -> list[str]:
        """Return the paths inside `fs` of the files of a folder under the lake that end with `suffix`, sorted; [] where none."""
        full = self._full(folder)
        paths = self.fs.ls(full, detail=False) if self.fs.exists(full) else []
        return sorted(path for path in paths if path.endswith(suffix))

    def orc_rows(self, path: str) -> int:
        """Return the number of rows of all ORC files under a path, from their footers."""
        from pyarrow import orc

        total = 0
        for name in self.fs.find(self._full(path)):
            if name.endswith(".orc"):
                with self.fs.open(name, "rb") as file:
                    total += orc.ORCFile(file).nrows
        return total

    def path(self, path: str) -> str:
        """Return the path inside `fs` of a path under the lake."""
        return self._full(path)

    def _abandoned(self, full: str) -> bool:
        return time.time() - self.fs.modified(full).timestamp() > ABANDONED.total_seconds()

    def _staged_path(self, stage: Stage, day: date) -> str:
        return f"_staging/{stage}/dt={day}/staged.json"

    def _manifest_path(self, stage: Stage, day: date) -> str:
        return f"_manifests/{stage}/dt={day}.json"

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _json_days(self, folder: str) -> list[date]:
        full = self._full(folder)
        if not self.fs.exists(full):
            return []
        return sorted(_days_of(self.fs.ls(full, detail=False)))

    def _remove(self, path: str) -> None:
        if self.fs.exists(self._full(path)):
            self.fs.rm(self._full(path), recursive=True)

    def _rename(self, source: str, target: str) -> None:
        rename(self.fs, source, target)


def report_path(day: date, version: int | None = None) -> str:
    """Return the path under the lake of a day's newest report, or of the one about a model version."""
    about = "" if version is None else f"/version={version}"
    return f"_reports/dt={day}{about}.html"


def docs_path(stage: Checked, day: date) -> str:
    """Return the path under the lake of the Data Docs page of a stage's day."""
    return f"_docs/{stage}/dt={day}.html"


def _stamp(entry: dict[str, Any]) -> str:
    """Return the stamp of a listed file; without a time of writing, one that nothing else has."""
    written = entry.get("mtime") or entry.get("modification_time") or entry.get("LastModified")
    return f"{entry.get('size')} {entry.get('ino')} {written}" if written else new_build()


def _days_of(paths: list[str]) -> Iterator[date]:
    for path in paths:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if name.startswith("dt=") and name.endswith(".json"):
            yield parse_day(name.removeprefix("dt=").removesuffix(".json"))


def get_lake() -> Lake:
    """Return the lake of the settings."""
    return Lake(get_settings().lake_url)
