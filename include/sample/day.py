"""One generated day of impressions: user, item, scene and time of each, and the probability of its click."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from include.sample.world import Array, Items, Tastes, Users, World
from include.schemas import DEEP_FEATURES, RAW_COLUMNS

Columns = dict[str, Array]
"""Raw columns in the order of the file: `[rows]` strings, encoded as CSV fields."""

INTENT_LENGTHS = {"query": 8, "service": 4, "bill": 5}
TARGETED = 0.3
"""Share of impressions whose topic is picked for the user; the rest follow the scene's mix of topics."""


@dataclass(frozen=True)
class DayLog:
    """A day's raw rows in log order, with the truth that the pipeline never sees; every array is `[rows]`."""

    day: date
    columns: Columns
    scene: Array  # int, position in the world's scenes
    label: Array  # 0 or 1
    probability: Array  # true click probability
    new_item: Array  # bool, the item is first shown on this day


@dataclass(frozen=True)
class _Rows:
    """Positions of the day's impressions in its users, items and scenes, and their second of the day."""

    scene: Array
    user: Array
    item: Array
    second: Array


def generate_day(world: World, day: date) -> DayLog:
    """Return the log of a day: `world.rows_per_day` rows in order of time, every one inside the UTC day."""
    users, items, tastes = world.users(day), world.items(day), world.tastes()
    rng = world.rng("rows", day.toordinal())
    rows = _impressions(world, day, users, items, rng)
    logit = _logit(world, day, users, items, tastes, rows)
    logit += _base(logit, rows.scene, world.base_ctr(day))[rows.scene]
    # Five decimals, as in the oracle file.
    probability = np.clip(np.round(1 / (1 + np.exp(-logit)), 5), 1e-5, 1 - 1e-5)
    label = (rng.random(len(probability)) < probability).astype(np.int8)
    return DayLog(
        day=day,
        columns=_columns(world, day, users, items, rows, label, rng),
        scene=rows.scene,
        label=label,
        probability=probability,
        new_item=items.born[rows.item] == day.toordinal(),
    )


def _impressions(world: World, day: date, users: Users, items: Items, rng: np.random.Generator) -> _Rows:
    shares = world.scene_shares
    ends = np.round(np.cumsum(shares) * world.rows_per_day).astype(int)
    scene = np.repeat(np.arange(len(shares)), np.diff(ends, prepend=0))
    count = len(scene)
    user = _draw(np.cumsum(users.weight), rng.random(count))
    topic = _topics(world, day, users, scene, user, rng)
    item = _items_of(items, topic, rng.random(count))
    second = _seconds(scene, rng)
    order = np.argsort(second, kind="stable")
    return _Rows(scene[order], user[order], item[order], second[order])


def _draw(cumulative: Array, uniform: Array) -> Array:
    """Positions drawn with the probabilities of a cumulative weight."""
    return np.minimum(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"), len(cumulative) - 1)


def _topics(world: World, day: date, users: Users, scene: Array, user: Array, rng: np.random.Generator) -> Array:
    """[rows] topic of each impression: one of the user's own, or of the scene's mix on this day."""
    mix = np.exp(world.tastes().mix + world.trend(day))
    cumulative = np.cumsum(mix / mix.sum(axis=1, keepdims=True), axis=1) + np.arange(len(mix))[:, None]
    by_scene = _draw_rows(cumulative, scene, rng.random(len(scene)))
    own = users.topics[user, np.searchsorted([0.5, 0.8], rng.random(len(user)))]
    return np.where(rng.random(len(user)) < TARGETED, own, by_scene)


def _draw_rows(cumulative: Array, row: Array, uniform: Array) -> Array:
    """Columns drawn from row `row` of cumulative shares to which the row's number is added."""
    width = cumulative.shape[1]
    flat = np.searchsorted(cumulative.ravel(), np.minimum(row + uniform, row + 1 - 1e-9), side="right")
    return np.clip(flat - row * width, 0, width - 1)


def _items_of(items: Items, topic: Array, uniform: Array) -> Array:
    """[rows] item of each wanted topic, drawn by weight; any item where no item of the topic is alive."""
    order = np.argsort(items.topic, kind="stable")
    cumulative = np.cumsum(items.weight[order])
    topics = np.arange(topic.max() + 1)
    first = np.searchsorted(items.topic[order], topics, side="left")
    last = np.searchsorted(items.topic[order], topics, side="right")
    padded = np.concatenate([[0.0], cumulative])
    low, high = padded[first][topic], padded[last][topic]
    none = high <= low
    low, high = np.where(none, 0.0, low), np.where(none, cumulative[-1], high)
    place = np.searchsorted(cumulative, low + uniform * (high - low), side="right")
    return order[np.minimum(place, len(order) - 1)]


def _seconds(scene: Array, rng: np.random.Generator) -> Array:
    """[rows] second of the UTC day: few at night, a peak that differs by scene."""
    hours = np.arange(24)
    peaks = 9 + 2.5 * np.arange(scene.max() + 1)
    density = 0.15 + np.exp(np.cos(2 * np.pi * (hours[None, :] - peaks[:, None]) / 24) * 1.3)
    cumulative = np.cumsum(density / density.sum(axis=1, keepdims=True), axis=1) + np.arange(len(peaks))[:, None]
    hour = _draw_rows(cumulative, scene, rng.random(len(scene)))
    return hour * 3600 + rng.integers(0, 3600, len(scene))


def _logit(world: World, day: date, users: Users, items: Items, tastes: Tastes, rows: _Rows) -> Array:
    """[rows] logit of the click without the scene's base."""
    scene, user, item = rows.scene, rows.user, rows.item
    topic, style = items.topic[item], items.style[item]
    age = day.toordinal() - items.born[item]
    hour = rows.second / 3600
    return (
        tastes.interest[scene] * users.interest[user, topic]
        + tastes.quality[scene] * items.quality[item]
        + tastes.style[scene] * np.where(style >= 0, users.style[user, style], 0.0)
        + tastes.topic[scene, topic]
        + world.trend(day)[topic]
        + users.propensity[user]
        + users.affinity[user, scene]
        + 0.25 * np.cos(2 * np.pi * (hour - 20 + 3 * scene) / 24)
        - 0.03 * age  # what has been seen for long is clicked less
    )


def _base(logit: Array, scene: Array, ctr: Array) -> Array:
    """[scenes] what to add to the logits of each scene for its mean probability to be `ctr`."""
    bases = np.log(ctr / (1 - ctr))
    for number, target in enumerate(ctr):
        values = logit[scene == number]
        base = float(bases[number])
        for _ in range(12 if len(values) else 0):  # Newton's method
            p = 1 / (1 + np.exp(-(values + base)))
            base -= float(np.clip((p.mean() - target) / max(float((p * (1 - p)).mean()), 1e-6), -1, 1))
        bases[number] = base
    return bases


# Text of the raw file


def quote(value: str) -> str:
    """Return a CSV field: quoted where it holds a comma, a quote or a line break."""
    if '"' in value:
        return '"' + value.replace('"', '""') + '"'
    return f'"{value}"' if "," in value or "\n" in value else value


@lru_cache
def _clock() -> Array:
    """[86400] `HH:mm:ss` of every second of a day."""
    minutes = [f"{m // 60:02d}:{m % 60:02d}:" for m in range(1440)]
    return np.array([minute + f"{s:02d}" for minute in minutes for s in range(60)], dtype=object)


@lru_cache
def _decimals() -> Array:
    """[12002] `-6.000` to `6.000` in thousandths, and an empty string at the end."""
    return np.array([f"{n / 1000:g}" for n in range(-6000, 6001)] + [""], dtype=object)


def log_times(day: date, second: Array, short: Array) -> Array:
    """Return [rows] texts `yyyy-MM-dd HH:mm:ss`, or `yyyy/M/d H:mm` where `short`: both forms of the published files."""
    minutes = np.array([f"{day.year}/{day.month}/{day.day} {m // 60}:{m % 60:02d}" for m in range(1440)], dtype=object)
    return np.where(short, minutes[second // 60], f"{day} " + _clock()[second])


def _columns(
    world: World, day: date, users: Users, items: Items, rows: _Rows, label: Array, rng: np.random.Generator
) -> Columns:
    count = len(label)
    intents = _intents(world, users, rows.user, rng)
    columns: Columns = {
        "user_id": users.ids[rows.user],
        "item_id": items.ids[rows.item],
        "log_time": log_times(day, rows.second, rng.random(count) < 0.3),
        "label": np.array(["0", "1"], dtype=object)[label],
        "bill_entity_seq": intents["bill"],
        "service_entity_seq": intents["service"],
        "query_entity_seq": intents["query"],
        "item_entity_names": _quoted(items.entities)[rows.item],
        "item_title": _quoted(items.titles)[rows.item],
        "scene": np.array([quote(name) for name in world.scenes], dtype=object)[rows.scene],
    }
    columns |= _deep_features(world, users, rows, rng)
    absent = np.full(count, "", dtype=object)
    return {name: columns.get(name, absent) for name in RAW_COLUMNS}


def _quoted(texts: Array) -> Array:
    return np.array([quote(text) for text in texts], dtype=object)


def _intents(world: World, users: Users, user: Array, rng: np.random.Generator) -> Columns:
    """[rows] intent sequences, the same for all impressions of a user on a day.

    An entity is of one of the user's topics with probability `openness`, else of any topic; a third of the bills show the
    style that the user likes best. About one user in eight shows no intent at all.
    """
    seen, place = np.unique(user, return_inverse=True)
    silent = rng.random(len(seen)) < 0.12
    topics = world.words.topics
    words = {
        "query": np.array([(*topic.entities, *topic.chinese) for topic in topics], dtype=object),
        "service": np.array([topic.services for topic in topics], dtype=object),
        "bill": np.array([topic.bills for topic in topics], dtype=object),
    }
    style_bills = np.array([style.bills for style in world.words.styles], dtype=object)
    best = users.style[seen].argmax(axis=1)
    result = {}
    for kind, longest in INTENT_LENGTHS.items():
        shape = (len(seen), longest)
        own = users.topics[seen[:, None], np.searchsorted([0.5, 0.8], rng.random(shape))]
        topic = np.where(rng.random(shape) < users.openness[seen][:, None], own, rng.integers(0, len(topics), shape))
        names = _pick(words[kind], topic, rng)
        if kind == "bill":
            names = np.where(
                rng.random(shape) < 0.35, _pick(style_bills, np.repeat(best[:, None], longest, axis=1), rng), names
            )
        lengths = np.where(silent, 0, rng.integers(0 if kind == "bill" else 1, longest + 1, len(seen)))
        texts = ["|".join(row[:length]) for row, length in zip(names.tolist(), lengths.tolist(), strict=True)]
        result[kind] = np.array(texts, dtype=object)[place]
    return result


def _pick(words: Array, row: Array, rng: np.random.Generator) -> Array:
    """One of the words of each row of `words` that `row` names."""
    return words[row, rng.integers(0, words.shape[1], row.shape)]


def _deep_features(world: World, users: Users, rows: _Rows, rng: np.random.Generator) -> Columns:
    """[rows] `deep_features_0..26`: 0-6 depend on user or scene, 7-11 too but are often missing, the rest noise."""
    user, scene, count = rows.user, rows.scene, len(rows.user)
    scene_code = np.linspace(-1, 1, len(world.scenes))[scene]
    signals = [
        users.propensity[user] * 1.5,
        users.style[user, 0],
        users.style[user, 1],
        users.affinity[user, scene] * 2,
        scene_code,
        users.interest[user].max(axis=1) - 2.2,
        users.openness[user],
        users.style[user, 2],
        users.style[user, 3],
        users.propensity[user] * 2,
        scene_code * users.propensity[user],
        users.affinity[user, scene],
    ]
    columns = {}
    for number, name in enumerate(DEEP_FEATURES):
        value = rng.standard_normal(count, dtype=np.float32)
        if number < len(signals):
            value = signals[number] + 0.8 * value
        code = np.clip(np.rint(value * 1000), -6000, 6000).astype(np.int32) + 6000
        missing = 0.6 if 7 <= number < 12 else 0.3 if number >= 24 else 0.01
        code[rng.random(count, dtype=np.float32) < missing] = 12001
        columns[name] = _decimals()[code]
    return columns
