"""What every file system of a lake or of raw logs can do: read JSON that may be missing, and rename in one step."""

import json
from typing import Any

from fsspec import AbstractFileSystem

from include.errors import DamagedFileError
from include.lake.local_files import LocalFiles

MEND = "restore the file from a backup, or remove it and run that day again."


def read_json(fs: Any, path: str) -> dict[str, Any] | None:
    """Return the object in a JSON file of a file system, or None where there is no file; raises `DamagedFileError`."""
    try:
        with fs.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    try:
        data = json.loads(content)
    except ValueError as error:
        raise DamagedFileError(f"{path} is not JSON: {error}.", MEND) from error
    if not isinstance(data, dict):
        raise DamagedFileError(f"{path} holds no JSON object.", MEND)
    return data


def rename(fs: AbstractFileSystem, source: str, target: str) -> None:
    """Rename in one atomic step; a file replaces an existing one."""
    if isinstance(fs, LocalFiles):
        fs.replace(source, target)
    elif hasattr(fs, "client") and hasattr(fs.client, "rename"):  # hdfs-native
        fs.client.rename(source, target, overwrite=True)
    else:
        fs.mv(source, target, recursive=True)
