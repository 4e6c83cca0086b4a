"""What the model remembers of the items it was trained on, and FAISS over the warm ones.

A cold item has no id embedding and no clicks of its own: the mean embedding and the smoothed CTR of its nearest warm
neighbours by text stand in for them.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

NEIGHBOURS = 10
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Hits:
    """Nearest warm items: `places [n, k] int64` (0 where none), `weights [n, k] float32` (sum 1, or 0 where none),
    their smoothed `lift [n] float32` (log of clicks over expected clicks) and the best `similarity [n] float32`."""

    places: Places
    weights: Floats
    lift: Floats
    similarity: Floats


@dataclass(frozen=True)
class ItemMemory:
    """By row of the item vocabulary: `impressions`, `clicks`, `expected [items] float32` (clicks that the scenes' prior
    CTRs would give), and `vectors [items, dim] float32`, the item's whitened text at length one (or zero)."""

    impressions: Floats
    clicks: Floats
    expected: Floats
    vectors: Floats

    @classmethod
    def empty(cls, items: int, dim: int) -> "ItemMemory":
        """A memory of nothing."""
        zeros = [np.zeros(items, np.float32) for _ in range(3)]
        return cls(*zeros, np.zeros((items, dim), np.float32))

    def extended(self, items: int) -> "ItemMemory":
        """The same memory with room for a larger vocabulary."""
        more = ItemMemory.empty(items - len(self.impressions), self.vectors.shape[1])
        return ItemMemory(
            np.concatenate([self.impressions, more.impressions]),
            np.concatenate([self.clicks, more.clicks]),
            np.concatenate([self.expected, more.expected]),
            np.concatenate([self.vectors, more.vectors]),
        )

    def after(self, items: Places, labels: Floats, prior: Floats, known: Places, vectors: Floats) -> "ItemMemory":
        """With a day added: `items [n]`, their `labels [n]` and scenes' `prior [n]` CTR; `known [m]` items' `vectors`."""
        size = len(self.impressions)
        impressions = self.impressions + np.bincount(items, minlength=size).astype(np.float32)
        clicks = self.clicks + np.bincount(items, labels, minlength=size).astype(np.float32)
        expected = self.expected + np.bincount(items, prior, minlength=size).astype(np.float32)
        texts = self.vectors.copy()
        texts[known] = vectors
        for array in (impressions, clicks, expected, texts):
            array[0] = 0.0  # ids out of the vocabulary are many items
        return ItemMemory(impressions, clicks, expected, texts)

    def lift(self, smoothing: float) -> Floats:
        """Smoothed log(clicks / expected clicks) `[items]`, 0 for an unknown item; `smoothing` is in impressions."""
        prior = smoothing * self.expected.sum() / max(self.impressions.sum(), 1.0) + 1e-6
        return np.log((self.clicks + prior) / (self.expected + prior)).astype(np.float32)


class WarmIndex:
    """Exact inner-product search over the items with more than `threshold` impressions."""

    def __init__(self, memory: ItemMemory, threshold: int, smoothing: float) -> None:
        self.places = np.flatnonzero((memory.impressions > threshold) & memory.vectors.any(axis=1))
        self._lift = memory.lift(smoothing)
        self._index = faiss.IndexFlatIP(memory.vectors.shape[1])
        self._index.add(memory.vectors[self.places])

    def search(self, vectors: Floats, own: Places) -> Hits:
        """Neighbours of `vectors [n, dim]`; an item is never its own neighbour (`own [n]`: its row, 0 if unknown)."""
        count, wanted = len(vectors), NEIGHBOURS + 1
        places = np.zeros((count, wanted), np.int64)
        scores = np.full((count, wanted), -np.inf, np.float32)
        reach = min(wanted, len(self.places))
        if reach:
            found, rows = self._index.search(np.ascontiguousarray(vectors), reach)
            places[:, :reach], scores[:, :reach] = self.places[rows], found
        scores[(places == own[:, None]) | (scores <= 0)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
        places, scores = np.take_along_axis(places, order, 1), np.take_along_axis(scores, order, 1)
        best = np.where(np.isfinite(scores[:, 0]), scores[:, 0], 0.0)
        weights = np.exp((scores - best[:, None]) / TEMPERATURE)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        places[~np.isfinite(scores)] = 0
        lift = (weights * self._lift[places]).sum(axis=1)
        return Hits(places, weights.astype(np.float32), lift.astype(np.float32), best.astype(np.float32))
