"""Local files as an fsspec file system whose errors say what to do, as those of HDFS do (include/lake/hdfs.py)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from include.errors import storage_error


@contextmanager
def _translating_errors(*, makes_folder: bool = False) -> Iterator[None]:
    """Re-raise an error of the local file system as `StorageError`."""
    try:
        yield
    except OSError as error:
        if translated := storage_error(error, makes_folder=makes_folder):
            raise translated from error
        raise


class LocalFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """`file://`"""

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Do the same as fsspec."""
        with _translating_errors(makes_folder=True):
            super().mkdir(path, create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do the same as fsspec."""
        with _translating_errors(makes_folder=True):
            super().makedirs(path, exist_ok)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        """Do the same as fsspec."""
        with _translating_errors():
            return super().ls(path, detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        """Do the same as fsspec."""
        with _translating_errors():
            return super().info(path, **options)

    def exists(self, path: str, **options: Any) -> bool:
        """Return whether a path exists; raises `StorageError` for one that may not be read."""
        try:
            self.info(path, **options)
        except FileNotFoundError:
            return False
        return True

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Do the same as fsspec."""
        with _translating_errors():
            super().rm(path, recursive, maxdepth)

    def replace(self, source: str, target: str) -> None:
        """Rename in one atomic step; a file replaces an existing one."""
        with _translating_errors():
            os.replace(source, target)  # noqa: PTH105

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        with _translating_errors():
            return super()._open(path, mode, block_size, **options)
