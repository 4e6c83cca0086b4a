"""The files of a raw day before a row of them is read: which there are, and whether they are those that were read before."""

import hashlib
from datetime import date, datetime

from include.errors import InvalidInputError, MissingDataError
from include.mapping.mapping import DEFAULT_MAPPING
from include.plural import counted
from include.raw.deliveries import Raw, repairs_path
from include.raw.raw_mapping import raw_mapping
from include.settings import get_settings


def raw_digest(day: date) -> str:
    """Return a short hash of the names, sizes and times of change of the day's raw files and of the repairs of their rows.

    It changes when a file is replaced, and when `ctr quarantine --replay --mapping` adds repairs.
    """
    raw = Raw()
    lines = []
    folder = raw.files.folder(day)
    paths = {path.removeprefix(f"{folder}/"): path for path in raw.day_files(day)}
    if raw.fs.exists(raw.full(repairs_path(day))):
        paths[repairs_path(day)] = repairs_path(day)
    for name, path in paths.items():
        info = raw.fs.info(raw.full(path))
        changed = info["mtime"] if "mtime" in info else _microseconds(raw.fs.modified(raw.full(path)))
        lines.append(f"{name} {info['size']} {changed}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970; a moment without a zone, as HDFS gives it, is in that of the process."""
    return round(moment.timestamp() * 1_000_000)


def mapping_key(day: date) -> dict[str, str]:
    """Return the mapping of the raw logs as an input of a day: what it says, or nothing for the bundled default."""
    return {} if get_settings().raw_mapping == DEFAULT_MAPPING else {f"mapping/{day}": raw_mapping().digest()}


def check_raw_day(day: date) -> list[str]:
    """Return the paths of a day's files; [] for a day that the settings declare empty and that has none.

    Raises `MissingDataError` without a file, `InvalidInputError` where files lie there that would not be read.
    """
    raw = Raw()
    folder = f"{raw.url}/{raw.files.folder(day)}".rstrip("/")
    if not raw.has_log(day):
        raise MissingDataError(
            f"No raw log of {day}: expected at least one file {raw.files.text} under {raw.url}, found none in {folder}. "
            f"Deliver the files there{_or_write()}. "
            f"If nothing was logged that day, declare it empty: CTR_EMPTY_DAYS={day}."
        )
    if unread := raw.unread_files(day):
        raise InvalidInputError(
            f"{folder} holds {counted(len(unread), 'name')} that would not be read: {', '.join(unread[:20])}"
            f"{', …' if len(unread) > 20 else ''}. Expected {raw.files.text}. "
            "Rename them (or begin the name with '_' to leave the file out), or correct 'files' in the mapping "
            f"{get_settings().raw_mapping}, and run the day again."
        )
    return raw.day_files(day)


def _or_write() -> str:
    return ", or write some with `ctr sample` or `ctr import`" if get_settings().raw_mapping == DEFAULT_MAPPING else ""
