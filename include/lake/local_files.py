"""Local files as an fsspec file system whose refusals say what to do, as those of HDFS do (include/lake/hdfs.py)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from include.errors import storage_error


@contextmanager
def _in_words(*, makes_folder: bool = False) -> Iterator[None]:
    """Raises a refusal of the local file system as `StorageError`."""
    try:
        yield
    except OSError as error:
        if words := storage_error(error, makes_folder=makes_folder):
            raise words from error
        raise


class LocalFiles(LocalFileSystem):
    """`file://`"""

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """As in fsspec."""
        with _in_words(makes_folder=True):
            super().mkdir(path, create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """As in fsspec."""
        with _in_words(makes_folder=True):
            super().makedirs(path, exist_ok)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        """As in fsspec."""
        with _in_words():
            return super().ls(path, detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        """As in fsspec."""
        with _in_words():
            return super().info(path, **options)

    def exists(self, path: str, **options: Any) -> bool:
        """As in fsspec, but what may not be looked at is refused, not missing."""
        try:
            self.info(path, **options)
        except FileNotFoundError:
            return False
        return True

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """As in fsspec."""
        with _in_words():
            super().rm(path, recursive, maxdepth)

    def replace(self, source: str, target: str) -> None:
        """One atomic rename; a file replaces the file that is there."""
        with _in_words():
            os.replace(source, target)  # noqa: PTH105

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        with _in_words():
            return super()._open(path, mode, block_size, **options)
