"""A day's training rows as tensors: columnar from Arrow, no Python per row."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from include.errors import InvalidInputError
from include.schemas import LEVELS
from training.dense import logit, transformed
from training.state import State
from training.text_table import BAGS, TextTable


@dataclass(frozen=True)
class Rows:
    """Model input of `n` impressions; every field's first axis is the rows.

    `scene`, `user`, `item [n] int64`: places, 0 is out of vocabulary for users and items.
    `user_cold`, `item_cold [n] bool`: the id's own embedding is not to be used.
    `user_level`, `item_level [n] int64`: place in `LEVELS`.
    `dense [n, features] float32`: standardised; `prior [n] float32`: logit of the scene's CTR of the last 7 days.
    `title [n]`, `entities`, `query`, `service`, `bill [n, …] int64`: rows of the text table, 0 is padding.
    `neighbours [n, k] int64` and `weights [n, k] float32`: warm stand-ins for the item; `kin [n, 2] float32`: their
    smoothed lift and the similarity of the nearest.
    `label [n] float32`: 1 for a click (0 where labels are unknown).
    """

    scene: Tensor
    user: Tensor
    item: Tensor
    user_cold: Tensor
    item_cold: Tensor
    user_level: Tensor
    item_level: Tensor
    dense: Tensor
    prior: Tensor
    title: Tensor
    entities: Tensor
    query: Tensor
    service: Tensor
    bill: Tensor
    neighbours: Tensor
    weights: Tensor
    kin: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.scene)

    def take(self, rows: Tensor) -> "Rows":
        """The rows at these places, in this order."""
        return Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to(self, device: str) -> "Rows":
        """The same rows on a device."""
        return Rows(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def build_rows(table: pa.Table, state: State, texts: TextTable) -> Rows:
    """Rows `[n]` of a day from its training table, as the state knows the world when that day begins."""
    users, items = state.users.encode(table["user_id"]), state.items.encode(table["item_id"])
    title = texts.places(table["title_key"].fill_null(0).to_numpy())
    bags = {name: texts.bag(table[name]) for name in BAGS}
    first, back = np.unique(_codes(table["item_id"]), return_index=True, return_inverse=True)[1:]
    hits = state.index.search(texts.item_vectors(title[first], bags["item_entity_keys"][first]), items[first])
    label = table["label"].fill_null(0).to_numpy() if "label" in table.column_names else np.zeros(len(users))
    arrays = {
        "scene": _places(table["scene"], state.config.scenes, "scene"),
        "user": users,
        "item": items,
        "user_cold": state.user_impressions[users] == 0,
        "item_cold": state.memory.impressions[items] == 0,
        "user_level": _places(table["user_level"], LEVELS, "user_level"),
        "item_level": _places(table["item_level"], LEVELS, "item_level"),
        "dense": state.standardiser.apply(transformed(table)),
        "prior": logit(table["scene_ctr_7d"].to_numpy()).astype(np.float32),
        "title": title,
        "entities": bags["item_entity_keys"],
        "query": bags["query_entity_keys"],
        "service": bags["service_entity_keys"],
        "bill": bags["bill_entity_keys"],
        "neighbours": hits.places[back],
        "weights": hits.weights[back],
        "kin": np.stack([hits.lift, hits.similarity], axis=1)[back],
        "label": label.astype(np.float32),
    }
    return Rows(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each distinct value."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)


def _places(column: pa.ChunkedArray, names: tuple[str, ...], what: str) -> np.ndarray:
    places = pc.index_in(column, value_set=pa.array(names, pa.string()))
    if places.null_count:
        unknown = pc.unique(column.filter(pc.is_null(places))).to_pylist()
        raise InvalidInputError(
            f"Column '{what}' of the training table holds {unknown[:5]}; expected one of {list(names)}."
        )
    return places.to_numpy().astype(np.int64)


def state_after(state: State, rows: Rows, texts: TextTable) -> State:
    """The state when the day of these labelled rows is over."""
    items = rows.item.numpy()
    known, first = np.unique(items, return_index=True)
    vectors = texts.item_vectors(rows.title.numpy()[first], rows.entities.numpy()[first])
    prior = rows.prior.sigmoid().numpy()
    return state.after(rows.user.numpy(), state.memory.after(items, rows.label.numpy(), prior, known, vectors))
