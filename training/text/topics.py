"""Topics: spherical k-means over item texts, and texts as soft memberships of them.

A cosine of means mixes a person's interests with what all texts share; memberships of a few dozen topics are sharp,
small enough to store for every user, and readable. Fitted once on the training window, then frozen with the model.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from training.text.text_table import TextTable
from training.text.whitening import unit

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

TOPICS = 64
TEMPERATURE = 0.1
ROUNDS = 20


@dataclass(frozen=True)
class Topics:
    """`centres [topics, dim] float32`, of length one."""

    centres: Floats

    @classmethod
    def none(cls) -> "Topics":
        """Return no topics, for a model that reads no text."""
        return cls(np.zeros((0, 0), np.float32))

    @classmethod
    def fit(cls, texts: Floats, seed: int) -> "Topics":
        """Fit on distinct texts `[n, dim]` of length one; always `TOPICS` wide, with unused (zero) ones for few texts."""
        used = min(TOPICS, max(len(texts) // 3, 1))
        clusters = faiss.Kmeans(
            texts.shape[1], used, niter=ROUNDS, seed=seed, spherical=True, min_points_per_centroid=1, verbose=False
        )
        clusters.train(np.ascontiguousarray(texts))
        centres = np.zeros((TOPICS, texts.shape[1]), np.float32)
        centres[:used] = unit(np.asarray(clusters.centroids, np.float32))
        return cls(centres)

    def of(self, texts: TextTable) -> Floats:
        """Return the membership of every text of a table `[texts, topics] float32`: rows sum to 1, or to 0 for a missing text."""
        if not len(self.centres):
            return np.zeros((len(texts.unit), 0), np.float32)
        nearness = texts.unit @ self.centres.T / TEMPERATURE
        nearness[:, ~self.centres.any(axis=1)] = -np.inf
        weights = np.exp(nearness - nearness.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        weights[~texts.unit.any(axis=1)] = 0.0
        return weights.astype(np.float32)


def total(bag: Indices, members: Floats) -> Floats:
    """Return the sum of the memberships of the texts of each row `[n, …]`: `[n, topics] float32`."""
    out = np.zeros((len(bag), members.shape[1]), np.float32)
    for column in bag.T:  # a column at a time: [n, longest, topics] would not fit
        out += members[column]
    return out


def share(totals: Floats) -> Floats:
    """Return totals scaled to sum 1; a row of zeros stays zero."""
    return totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-6)
