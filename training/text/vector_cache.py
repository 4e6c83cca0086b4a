"""Vectors of texts, computed once for each distinct text and model.

    {lake}/embeddings/model={slug}/part-2023-07-17-….orc      text_key bigint, vector list<float>

A part appears in one rename and never changes, so a killed run leaves whole parts and the next one continues from
there. It carries the first log day that needed its texts: a reader that looks no further than a day sees the same
vectors whether or not later days have been run since.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.orc as orc

from include.lake.lake import Lake
from training.tables import write_orc

Keys = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Part(NamedTuple):
    """A part in the order of its keys: `keys [n] int64` ascending, `vectors [n, dim] float32`."""

    keys: Keys
    vectors: Vectors


_CACHED_PARTS: ContextVar[dict[str, Part] | None] = ContextVar("cached_parts", default=None)


@contextmanager
def cached_parts(parts: dict[str, Part]) -> Iterator[None]:
    """Keep the parts that are read inside in `parts`, by path, and do not read them again: for a service, whose
    requests would each read whole caches."""
    token = _CACHED_PARTS.set(parts)
    try:
        yield
    finally:
        _CACHED_PARTS.reset(token)


class VectorCache:
    """The cached vectors of one model."""

    def __init__(self, lake: Lake, slug: str) -> None:
        self.slug = slug
        self._lake = lake
        self._folder = f"embeddings/model={slug}"

    def keys(self, through: date | None = None) -> Keys:
        """Return every text key cached for days up to `through` (or at all), sorted and distinct."""
        parts = [self._read(path, ["text_key"])["text_key"].to_numpy() for path in self.parts(through)]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def lookup(self, keys: Keys, through: date | None = None) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Return vectors `[keys, dim] float32` (zero where missing; dim is 0 for an empty cache) and `[keys] bool`,
        which keys have one.

        `keys` must be sorted and distinct; parts of days after `through` are not read. Parts are read one by one, so
        memory grows with `keys` and not with the cache.
        """
        is_cached = np.zeros(len(keys), bool)
        vectors = np.zeros((len(keys), 0), np.float32)
        for path in self.parts(through):
            part = self._part(path)
            if vectors.shape[1] == 0:
                vectors = np.zeros((len(keys), part.vectors.shape[1]), np.float32)
            rows = np.searchsorted(part.keys, keys).clip(max=len(part.keys) - 1)
            matches = part.keys[rows] == keys
            vectors[matches] = part.vectors[rows[matches]]
            is_cached |= matches
        return vectors, is_cached

    def append(self, keys: Keys, vectors: Vectors, day: date) -> None:
        """Add one part for a log day, atomically."""
        values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        offsets = pa.array(np.arange(len(keys) + 1, dtype=np.int32) * vectors.shape[1])
        table = pa.table({"text_key": pa.array(keys, pa.int64()), "vector": pa.ListArray.from_arrays(offsets, values)})
        name = hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()[:16]
        # Float noise does not compress.
        write_orc(self._lake, f"{self._folder}/part-{day}-{name}.orc", table, "uncompressed")

    def parts(self, through: date | None = None) -> list[str]:
        """Return paths of the parts of days up to `through` (or of all), sorted."""
        last = f"part-{through or date.max}-~"  # after every part of that day
        return [path for path in self._lake.files(self._folder, ".orc") if path.rsplit("/", 1)[-1] < last]

    def _part(self, path: str) -> Part:
        cached = _CACHED_PARTS.get()
        if cached is not None and path in cached:
            return cached[path]
        table = self._read(path, ["text_key", "vector"])
        keys = table["text_key"].to_numpy()
        vectors = _matrix(table["vector"], table.num_rows)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys)
            keys = keys[order]
            vectors = vectors[order]
        part = Part(keys, vectors)
        if cached is not None:
            cached[path] = part
        return part

    def _read(self, path: str, columns: list[str]) -> pa.Table:
        with self._lake.fs.open(path, "rb") as file:
            return orc.read_table(file, columns=columns)


def _matrix(column: pa.ChunkedArray, rows: int) -> Vectors:
    values = column.combine_chunks().flatten().to_numpy()
    return values.reshape(rows, -1).astype(np.float32, copy=False)
