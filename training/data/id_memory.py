"""Counts of the users and items that the model was trained on, and FAISS over the warm items.

A cold item has no id embedding and no clicks of its own: the mean embedding and the lift of its nearest warm neighbours
by text replace them. *Expected* clicks are those that the model predicted before it learned from the day, so that the
counts hold what the model did not know.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from include.errors import InvalidInputError
from include.schemas import DEEP_FEATURES

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

NEIGHBOURS = 10
EXACT_ITEMS = 20_000
"""Warm items among which exact search takes no time worth saving."""
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Part:
    """Additions of some of a day's rows to the memory: `users`, `items [n] int64`, `labels`, `expected [n]` clicks, the
    item's topics `[n, topics]`, the topics of the user's intents `intents [n, topics]`, of which the user's day is
    the mean: `share [n]` is one over the user's rows that day; the standardised deep features `deep [n, features]`."""

    users: Indices
    items: Indices
    labels: Floats
    expected: Floats
    topics: Floats
    intents: Floats
    share: npt.NDArray[np.float64]
    deep: Floats


@dataclass(frozen=True)
class Memory:
    """Arrays by row of the vocabularies, float32; row 0, for ids out of the vocabulary, stays zero.

    `user_counts`, `item_counts [n, 3]`: impressions, clicks, expected clicks. `tastes [users, topics]`: sum over the
    user's impressions of (click − expected) · the item's topics. `intents [users, topics]`: sum over days of the topics of
    the user's intents. `habits [users, features]`: sum over impressions of the deep features. `texts [items, dim]`: the
    item's text at length one.
    """

    user_counts: Floats
    item_counts: Floats
    tastes: Floats
    intents: Floats
    habits: Floats
    texts: Floats

    @classmethod
    def empty(cls, users: int, items: int, topics: int, dim: int, deep: int = len(DEEP_FEATURES)) -> "Memory":
        """Return a memory of zeros; `deep` is the number of deep features that the model uses."""
        shapes = ((users, 3), (items, 3), (users, topics), (users, topics), (users, deep), (items, dim))
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))

    def extended(self, users: int, items: int) -> "Memory":
        """Return the same memory with zero rows for the new ids of larger vocabularies."""
        widths = self.tastes.shape[1], self.texts.shape[1], self.habits.shape[1]
        more = Memory.empty(users - len(self.user_counts), items - len(self.item_counts), *widths)
        return Memory(
            *(np.concatenate([getattr(self, field.name), getattr(more, field.name)]) for field in fields(self))
        )

    def after(self, parts: Iterable[Part], seen: Indices, texts: Floats) -> "Memory":
        """Return the memory at the end of the day of these parts; `seen [m]` are its distinct items, `texts [m, dim]`
        their texts."""
        new = Memory(*(getattr(self, field.name).copy() for field in fields(self)))
        new.texts[seen] = texts
        for part in parts:
            surprise = part.labels - part.expected
            ones = np.ones_like(part.labels)
            counts = np.stack([ones, part.labels, part.expected], axis=1)
            users, user = np.unique(part.users, return_inverse=True)
            items, item = np.unique(part.items, return_inverse=True)
            new.user_counts[users] += _sums(user, ones, counts)
            new.item_counts[items] += _sums(item, ones, counts)
            new.tastes[users] += _sums(user, surprise, part.topics)
            new.intents[users] += _sums(user, part.share, part.intents)
            new.habits[users] += _sums(user, ones, part.deep)
        for field in fields(new):
            getattr(new, field.name)[0] = 0.0
        return new


def lift(counts: Floats, smoothing: float) -> Floats:
    """Return the smoothed log(clicks / expected clicks) `[n]` of counts `[n, 3]`, 0 without any; `smoothing` in impressions."""
    impressions, clicks, expected = counts.T
    prior = smoothing * expected.sum() / max(impressions.sum(), 1.0) + 1e-6
    return np.log((clicks + prior) / (expected + prior)).astype(np.float32)


def _sums(positions: Indices, weights: npt.NDArray[np.floating[Any]], values: Floats) -> Floats:
    """Return weighted sums of rows `values [n, k]` by position; every position has a row."""
    rows = np.arange(len(positions))
    return (csr_matrix((weights.astype(np.float64), (positions, rows))) @ values).astype(np.float32)


@dataclass(frozen=True)
class Hits:
    """Nearest warm items: `rows [n, k] int64` of the item vocabulary (0 where none), `weights [n, k] float32` (sum 1,
    or 0 where none), their `lift [n] float32` and the best `similarity [n] float32`."""

    rows: Indices
    weights: Floats
    lift: Floats
    similarity: Floats

    @classmethod
    def none(cls, rows: int) -> "Hits":
        """Return the hits of a model that looks up no neighbours: `k` is 0."""
        zeros = np.zeros(rows, np.float32)
        return cls(np.zeros((rows, 0), np.int64), np.zeros((rows, 0), np.float32), zeros, zeros)

    @classmethod
    def joined(cls, parts: Sequence["Hits"]) -> "Hits":
        """Return the hits of several parts, one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


class WarmIndex:
    """Inner-product search over the items with more than `threshold` impressions; `lifts [items]` are theirs.

    Exact up to `EXACT_ITEMS` of them; beyond, an index of FAISS's `factory` string: `Flat` (exact), `HNSW32`, `IVF1024,Flat`, ….
    Raises `InvalidInputError` for a string that FAISS does not know.
    """

    def __init__(self, memory: Memory, lifts: Floats, threshold: int, factory: str = "Flat") -> None:
        self.rows = np.flatnonzero((memory.item_counts[:, 0] > threshold) & memory.texts.any(axis=1))
        self._lifts = lifts
        dim = memory.texts.shape[1]
        items = memory.texts[self.rows]
        self._index = _faiss_index(dim, factory if len(items) > EXACT_ITEMS else "Flat")
        with _one_thread():  # or the graph of HNSW would depend on who comes first
            if not self._index.is_trained:
                self._index.train(items)
            self._index.add(items)

    def search(self, texts: Floats, own: Indices) -> Hits:
        """Return neighbours of `texts [n, dim]`; an item is never its own neighbour (`own [n]`: its row, 0 if unknown)."""
        count = len(texts)
        width = NEIGHBOURS + 1
        rows = np.zeros((count, width), np.int64)
        scores = np.full((count, width), -np.inf, np.float32)
        reach = min(width, len(self.rows))
        if reach:
            nearness, matches = self._index.search(np.ascontiguousarray(texts), reach)
            rows[:, :reach] = self.rows[matches]
            scores[:, :reach] = nearness
        scores[(rows == own[:, None]) | (scores <= 0)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
        rows = np.take_along_axis(rows, order, 1)
        scores = np.take_along_axis(scores, order, 1)
        best = np.where(np.isfinite(scores[:, 0]), scores[:, 0], 0.0)
        weights = np.exp((scores - best[:, None]) / TEMPERATURE)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        rows[~np.isfinite(scores)] = 0
        return Hits(
            rows=rows,
            weights=weights.astype(np.float32),
            lift=(weights * self._lifts[rows]).sum(axis=1).astype(np.float32),
            similarity=best.astype(np.float32),
        )


def _faiss_index(dim: int, factory: str) -> Any:
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InvalidInputError(
            f"CTR_WARM_INDEX is '{factory}': expected an index string of FAISS, as Flat, HNSW32 or IVF1024,Flat, found: {error}"
        ) from None
    for kind, name, width in ((faiss.IndexHNSW, "efSearch", 128), (faiss.IndexIVF, "nprobe", 32)):
        if isinstance(faiss.downcast_index(index), kind):
            faiss.ParameterSpace().set_index_parameter(index, name, width)
    return index


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
