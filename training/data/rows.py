"""Training rows as tensors: columnar from Arrow, no Python per row."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from include.errors import InvalidInputError
from include.features import NEUTRAL_CTR
from include.schemas import LEVELS
from training.data.dense import logit, transformed
from training.data.id_memory import Floats, Hits, Part
from training.data.item_texts import ItemTexts
from training.data.state import ModelConfig, State
from training.text.matching import match
from training.text.text_table import BAGS, TextTable
from training.text.topics import share, total

NEUTRAL_PRIOR = float(logit(np.array(NEUTRAL_CTR)))
PART_ROWS = 65_536
"""Rows that are remembered at a time; the memory's last bits depend on it."""


@dataclass(frozen=True)
class Rows:
    """Model input of `n` impressions; every field's first axis is the rows. Unread inputs are 0 or of width 0.

    `scene`, `user`, `item [n] int64`: indices, 0 is out of vocabulary for users and items.
    `user_cold`, `item_cold [n] bool`: the id's own embedding is not used.
    `user_level`, `item_level [n] int64`: index in `LEVELS`.
    `dense [n, inputs] float32`: standardised, the used ones; `prior [n] float32`: logit of the scene's CTR of the last 7 days.
    `title [n]`, `entities`, `query`, `service`, `bill [n, …] int64`: rows of the text table, 0 is padding.
    `neighbours [n, k] int64` and `weights [n, k] float32`: warm stand-ins for the item; `neighbour_stats [n, 2] float32`: their
    lift and the similarity of the nearest.
    `id_lift [n, 2] float32`: the lift of the item and of the user.
    `match [n, 3 · MATCH_WIDTH] float32`: how the item's texts fit query, service and bill.
    `topics [n, topics] float32`: the item's; `intent_topics`, `intent_topics_ever`: those of the row's intents, and of all of
    the user's so far; `topic_affinity`: topics that the user clicked more than predicted.
    `mean_deep_features [n, deep features] float32`: their mean over the user's impressions so far and this one.
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
    neighbour_stats: Tensor
    id_lift: Tensor
    match: Tensor
    topics: Tensor
    intent_topics: Tensor
    intent_topics_ever: Tensor
    topic_affinity: Tensor
    mean_deep_features: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.scene)

    def take(self, rows: Tensor) -> "Rows":
        """Return the rows at these positions, in this order."""
        return Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def between(self, rows: slice) -> "Rows":
        """Return the rows of a slice, not copied."""
        return Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to(self, device: str) -> "Rows":
        """Return the same rows on a device."""
        return Rows(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def build_rows(table: pa.Table, state: State, texts: TextTable, item_texts: ItemTexts, members: Floats) -> Rows:
    """Return the rows of a day, or of a part of it, with the state at the start of the day.

    `item_texts` are the items of the whole day, `members [texts, topics]` is `state.topics.of(texts)`. Raises
    `InvalidInputError` for a scene or level that the model does not have.
    """
    users = state.users.encode(table["user_id"])
    items = state.items.encode(table["item_id"])
    dense = state.standardiser.apply(transformed(table))
    memory = state.memory
    label = table["label"].fill_null(0).to_numpy() if "label" in table.column_names else np.zeros(len(users))
    arrays = {
        "scene": _positions(table["scene"], state.config.scenes, "scene"),
        "user": users,
        "item": items,
        "user_cold": memory.user_counts[users, 0] == 0,
        "item_cold": memory.item_counts[items, 0] == 0,
        "user_level": _positions(table["user_level"], LEVELS, "user_level"),
        "item_level": _positions(table["item_level"], LEVELS, "item_level"),
        "dense": dense,
        "prior": logit(table["scene_ctr_7d"].to_numpy()).astype(np.float32),
        "mean_deep_features": (memory.habits[users] + dense[:, state.standardiser.deep])
        / (1 + memory.user_counts[users, :1]),
        "id_lift": np.stack([state.item_lift[items], state.user_lift[users]], axis=1),
        "label": label.astype(np.float32),
    }
    if state.config.variant.text:
        arrays |= _text_arrays(table, state, texts, item_texts, members, users)
    else:
        arrays |= _no_text(len(users))
    return Rows(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})


def _text_arrays(
    table: pa.Table, state: State, texts: TextTable, item_texts: ItemTexts, members: Floats, users: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the arrays of rows that come from texts."""
    title = texts.rows_of(table["title_key"].fill_null(0).to_numpy())
    entities, query, service, bill = (texts.bag(table[name], item_texts.widths[name]) for name in BAGS)
    text_rows = np.concatenate([title[:, None], entities], axis=1)
    place = item_texts.places(table)
    memory = state.memory
    intents = total(np.concatenate([query, service, bill], axis=1), members)
    return {
        "title": title,
        "entities": entities,
        "query": query,
        "service": service,
        "bill": bill,
        "neighbours": item_texts.hits.rows[place],
        "weights": item_texts.hits.weights[place],
        "neighbour_stats": np.stack([item_texts.hits.lift, item_texts.hits.similarity], axis=1)[place],
        "match": np.concatenate([match(texts.unit, text_rows, bag) for bag in (query, service, bill)], axis=1),
        "topics": share(total(text_rows, members)),
        "intent_topics": share(intents),
        "intent_topics_ever": share(intents + memory.intents[users]),
        "topic_affinity": memory.tastes[users] / np.sqrt(1 + memory.user_counts[users, :1]),
    }


def _no_text(rows: int) -> dict[str, np.ndarray]:
    """Return the same for a model that reads no text: nothing is looked up."""
    hits = Hits.none(rows)
    missing = np.zeros((rows, 1), np.int64)
    empty = np.zeros((rows, 0), np.float32)
    return {
        "title": missing[:, 0],
        **dict.fromkeys(("entities", "query", "service", "bill"), missing),
        "neighbours": hits.rows,
        "weights": hits.weights,
        "neighbour_stats": np.stack([hits.lift, hits.similarity], axis=1),
        **dict.fromkeys(("match", "topics", "intent_topics", "intent_topics_ever", "topic_affinity"), empty),
    }


def _positions(column: pa.ChunkedArray, names: tuple[str, ...], column_name: str) -> np.ndarray:
    positions = pc.index_in(column, value_set=pa.array(names, pa.string()))
    if positions.null_count:
        unknown = pc.unique(column.filter(pc.is_null(positions))).to_pylist()
        raise InvalidInputError(
            f"Column '{column_name}' of the training table holds {unknown[:5]}; expected one of {list(names)}."
        )
    return positions.to_numpy().astype(np.int64)


def with_prior(rows: Rows, config: ModelConfig) -> Rows:
    """Return labelled rows to train on; those of a lake's first day, without a CTR before it, take their scene's of that day.

    It is an intercept, in place of `NEUTRAL_CTR`, that no later row sees. Without it the network would learn the way
    from there to the CTRs, which the next day's prior covers by itself: on a log of 4 % clicks, the second day was
    predicted at a third.
    """
    if not len(rows) or not torch.allclose(rows.prior, torch.tensor(NEUTRAL_PRIOR)):
        return rows
    scene = rows.scene.numpy()
    label = rows.label.numpy()
    impressions, clicks = (np.bincount(scene, weights, minlength=len(config.scenes)) for weights in (None, label))
    rates = (clicks + config.ctr_smoothing * clicks.sum() / len(rows)) / (impressions + config.ctr_smoothing)
    return replace(rows, prior=torch.from_numpy(logit(rates)).float()[rows.scene])


def state_after(state: State, rows: Rows, item_texts: ItemTexts, members: Floats, logit: np.ndarray) -> State:
    """Return the state at the end of the day of these labelled rows; `item_texts` and `members` as for `build_rows`,
    `logit [n]` is the model's prediction before the day."""
    share_of_day = 1 / np.bincount(rows.user.numpy(), minlength=len(state.users)).clip(min=1)
    parts = (
        _part(rows.take(positions), members, logit[positions.numpy()], share_of_day, state.standardiser.deep)
        for positions in torch.arange(len(rows)).split(PART_ROWS)
    )
    return replace(state, memory=state.memory.after(parts, state.items.encode(item_texts.ids), item_texts.vectors))


def _part(rows: Rows, members: Floats, logit: np.ndarray, share_of_day: np.ndarray, deep: slice) -> Part:
    intents = torch.cat([rows.query, rows.service, rows.bill], dim=1).numpy()
    return Part(
        users=rows.user.numpy(),
        items=rows.item.numpy(),
        labels=rows.label.numpy(),
        expected=(1 / (1 + np.exp(-logit))).astype(np.float32),
        topics=rows.topics.numpy(),
        intents=total(intents, members),
        share=share_of_day[rows.user.numpy()],
        deep=rows.dense[:, deep].numpy(),
    )
