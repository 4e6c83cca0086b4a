"""Training rows made to look cold, so that cold rows are in distribution when they come."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.data.dense import ColdValues, cold_values
from training.data.rows import Rows
from training.data.standardiser import Standardiser

NEW_RATE = 0.5
"""Share of the rows of ids first seen that day that stay cold; the others begin to train the id's own embedding."""


def draw_chances(rows: int, generator: torch.Generator) -> Tensor:
    """Return uniform numbers `[4, rows]`: two decide whether a row's user and item are made cold, two whether a new one
    stays cold."""
    return torch.rand((4, rows), generator=generator)


class ColdSimulation:
    """Removes the id and the history of a random share of users and items; the row then looks like a first visit."""

    def __init__(self, standardiser: Standardiser, user_rate: float, item_rate: float) -> None:
        self._user_rate = user_rate
        self._item_rate = item_rate
        self._deep = standardiser.deep
        self._user = cold_values(("user", "user_item", "user_topic"), standardiser)
        self._item = cold_values(("item", "user_item"), standardiser)

    def __call__(self, rows: Rows, draw: Tensor) -> Rows:
        """Return the rows `[n]` with simulated cold ones among them, by the numbers `draw [4, n]` of `draw_chances`."""
        user = draw[0] < self._user_rate
        item = draw[1] < self._item_rate
        dense = self._forget(rows.dense, rows.prior, user, self._user)
        dense = self._forget(dense, rows.prior, item, self._item)
        return replace(
            rows,
            dense=dense,
            id_lift=rows.id_lift * ~torch.stack([item, user], dim=1),
            intent_topics_ever=torch.where(user[:, None], rows.intent_topics, rows.intent_topics_ever),
            mean_deep_features=torch.where(user[:, None], rows.dense[:, self._deep], rows.mean_deep_features),
            topic_affinity=rows.topic_affinity.masked_fill(user[:, None], 0.0),
            user_cold=user | (rows.user_cold & (draw[2] < NEW_RATE)),
            item_cold=item | (rows.item_cold & (draw[3] < NEW_RATE)),
            user_level=rows.user_level.masked_fill(user, 0),
            item_level=rows.item_level.masked_fill(item, 0),
        )

    def _forget(self, dense: Tensor, prior: Tensor, mask: Tensor, cold: ColdValues) -> Tensor:
        columns = torch.from_numpy(cold.columns)
        priors = np.repeat(prior.double().numpy()[:, None], len(columns), axis=1)
        standard_prior = torch.from_numpy(cold.standardiser.apply(priors))
        values = torch.where(torch.from_numpy(cold.is_prior), standard_prior, torch.from_numpy(cold.constants))
        result = dense.clone()
        result[:, columns] = torch.where(mask[:, None], values, dense[:, columns])
        return result
