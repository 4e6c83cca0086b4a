"""Vectors of texts, computed once for each distinct text and model.

    {lake}/embeddings/model={slug}/part-2023-07-17-….orc      text_key bigint, vector list<float>

A part appears in one rename and never changes, so a killed run leaves whole parts and the next one goes on from there.
It carries the log day that first asked for its texts: a reader that looks no further than a day sees the same vectors
whether or not later days have been run since.
"""

import hashlib
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.orc as orc

from include.lake import Lake
from training.tables import write_orc

Keys = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class VectorCache:
    """The cached vectors of one model."""

    def __init__(self, lake: Lake, slug: str) -> None:
        self.slug = slug
        self._lake = lake
        self._folder = f"embeddings/model={slug}"

    def keys(self, through: date | None = None) -> Keys:
        """Every text key cached for days up to `through` (or at all), sorted and distinct."""
        parts = [self._read(path, ["text_key"])["text_key"].to_numpy() for path in self.parts(through)]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def lookup(self, keys: Keys, through: date | None = None) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Vectors `[keys, dim] float32` (zero where missing; dim is 0 for an empty cache) and which keys were found.

        `keys` must be sorted and distinct; parts of days after `through` are not read. Parts are read one by
        one, so memory grows with `keys` and not with the cache.
        """
        found = np.zeros(len(keys), bool)
        vectors = np.zeros((len(keys), 0), np.float32)
        for path in self.parts(through):
            part = self._read(path, ["text_key", "vector"])
            part_keys = part["text_key"].to_numpy()
            rows = np.flatnonzero(np.isin(part_keys, keys))
            values = _matrix(part["vector"], part.num_rows)
            if vectors.shape[1] == 0:
                vectors = np.zeros((len(keys), values.shape[1]), np.float32)
            places = np.searchsorted(keys, part_keys[rows])
            vectors[places] = values[rows]
            found[places] = True
        return vectors, found

    def append(self, keys: Keys, vectors: Vectors, day: date) -> None:
        """Adds one part for a log day; nothing of it is visible before all of it is."""
        values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        offsets = pa.array(np.arange(len(keys) + 1, dtype=np.int32) * vectors.shape[1])
        table = pa.table({"text_key": pa.array(keys, pa.int64()), "vector": pa.ListArray.from_arrays(offsets, values)})
        name = hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()[:16]
        # Float noise does not compress.
        write_orc(self._lake, f"{self._folder}/part-{day}-{name}.orc", table, "uncompressed")

    def parts(self, through: date | None = None) -> list[str]:
        """Paths of the parts of days up to `through` (or of all), sorted."""
        last = f"part-{through or date.max}-~"  # after every part of that day
        return [path for path in self._lake.files(self._folder, ".orc") if path.rsplit("/", 1)[-1] < last]

    def _read(self, path: str, columns: list[str]) -> pa.Table:
        with self._lake.fs.open(path, "rb") as file:
            return orc.read_table(file, columns=columns)


def _matrix(column: pa.ChunkedArray, rows: int) -> Vectors:
    values = column.combine_chunks().flatten().to_numpy()
    return values.reshape(rows, -1).astype(np.float32, copy=False)
