"""What every file system of a lake or of raw logs can do: read JSON that may be missing, and rename in one step."""

import json
from typing import Any

from fsspec import AbstractFileSystem

from include.lake.local_files import LocalFiles


def read_json(fs: Any, path: str) -> dict[str, Any] | None:
    """Return the content of a JSON file of a file system, or None where there is no file."""
    try:
        with fs.open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None


def rename(fs: AbstractFileSystem, source: str, target: str) -> None:
    """Rename in one atomic step; a file replaces an existing one."""
    if isinstance(fs, LocalFiles):
        fs.replace(source, target)
    elif hasattr(fs, "client") and hasattr(fs.client, "rename"):  # hdfs-native
        fs.client.rename(source, target, overwrite=True)
    else:
        fs.mv(source, target, recursive=True)
