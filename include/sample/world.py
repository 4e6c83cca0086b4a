"""The generated world behind `ctr sample`: its users and items, and their true tastes and qualities.

Everything is a function of the seed, the size and a day's date, never of the requested range of days: days 1-10 followed by
day 11 are the same world as days 1-11. Users and items are born in daily cohorts; a day sees the cohorts that still live.

The true click probability of an impression is sigmoid(base of the scene and day + the terms of `include.sample.day`).
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray

from include.setting_groups import PROJECT

Array = NDArray[Any]
Cohort = TypeVar("Cohort", bound="Users | Items")

EPOCH = date(2023, 7, 1)
"""Where the phases of all drifts start; days before it are as good as days after it."""

SCENE_SHARES = (0.06, 0.26, 0.48, 0.12, 0.08)
"""AntM2C's volume shares; another number of scenes repeats them, scaled to 1."""
SCENE_CTR = (0.25, 0.11, 0.07, 0.16, 0.2)
"""Mean CTR of each scene, around which it drifts."""

USER_LIFE_DAYS = 20
ITEM_LIFE_DAYS = 30


@dataclass(frozen=True)
class Topic:
    """One topic's words: English and Chinese entities, services and bills."""

    name: str
    entities: tuple[str, ...]
    chinese: tuple[str, ...]
    services: tuple[str, ...]
    bills: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """One way to present an item: words of its titles, bills of the users who like it."""

    words: tuple[str, ...]
    bills: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The words of the world; `titles[k]` are patterns of quality grade k, poor to excellent."""

    topics: tuple[Topic, ...]
    styles: tuple[Style, ...]
    titles: tuple[tuple[str, ...], ...]


@lru_cache
def vocabulary() -> Vocabulary:
    """Return the words of `vocabulary.yaml`."""
    data = yaml.safe_load((PROJECT / "include/sample/vocabulary.yaml").read_text(encoding="utf-8"))
    return Vocabulary(
        topics=tuple(
            Topic(name, *(tuple(words[kind]) for kind in ("entities", "chinese", "services", "bills")))
            for name, words in data["topics"].items()
        ),
        styles=tuple(Style(tuple(words["words"]), tuple(words["bills"])) for words in data["styles"].values()),
        titles=tuple(tuple(patterns) for patterns in data["titles"]),
    )


@dataclass(frozen=True)
class Users:
    """Users with their tastes: one row a user in every array."""

    ids: Array  # [users] str
    weight: Array  # [users] how often the user comes
    topics: Array  # [users, 3] int, favourite topics, dearest first
    interest: Array  # [users, topics] taste for each topic
    style: Array  # [users, styles] taste for each style
    propensity: Array  # [users] clicks more or less than others
    affinity: Array  # [users, scenes] clicks more or less in a scene
    openness: Array  # [users] in [0, 1], how much of the interests shows in the intents


@dataclass(frozen=True)
class Items:
    """Items with their properties: one row an item in every array."""

    ids: Array  # [items] str
    weight: Array  # [items] how often the item is shown
    topic: Array  # [items] int
    style: Array  # [items] int, -1 for none
    quality: Array  # [items] latent, standard normal
    born: Array  # [items] int, ordinal of the first day
    titles: Array  # [items] str
    entities: Array  # [items] str, separated


@dataclass(frozen=True)
class Tastes:
    """What differs by scene: one row a scene in every array."""

    topic: Array  # [scenes, topics] taste of the scene's visitors for a topic
    mix: Array  # [scenes, topics] log share of a topic among the impressions
    interest: Array  # [scenes] weight of a user's interest
    quality: Array  # [scenes] weight of an item's quality
    style: Array  # [scenes] weight of a user's taste for the style
    trend: Array  # [topics, 3] amplitude, period in days and phase of a topic's popularity
    base: Array  # [scenes, 2] period in days and phase of the base CTR


def concat(parts: Sequence[Cohort]) -> Cohort:
    """Return cohorts joined into one."""
    kind = type(parts[0])
    return kind(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(kind)})


@dataclass
class World:
    """A world of a seed and a size; cohorts are made when a day first needs them."""

    seed: int
    rows_per_day: int
    scenes: tuple[str, ...]
    words: Vocabulary = field(default_factory=vocabulary)
    _made: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)

    def rng(self, purpose: str, number: int = 0) -> np.random.Generator:
        """Return a generator of its own for each purpose and day, so that no draw depends on another."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode()), number])

    @property
    def scene_shares(self) -> Array:
        """[scenes] volume shares, summing to 1."""
        shares = np.resize(SCENE_SHARES, len(self.scenes))
        return shares / shares.sum()

    def base_ctr(self, day: date) -> Array:
        """Return the [scenes] mean CTR of a day: a slow wave, at most about 0.4 % a day."""
        period, phase = self.tastes().base.T
        wave = np.sin(2 * np.pi * (day - EPOCH).days / period + phase)
        return np.resize(SCENE_CTR, len(self.scenes)) * np.exp(0.025 * wave)

    def trend(self, day: date) -> Array:
        """Return the [topics] popularity of each topic on a day, added to the logit and to the share of impressions."""
        amplitude, period, phase = self.tastes().trend.T
        return amplitude * np.sin(2 * np.pi * (day - EPOCH).days / period + phase)

    def tastes(self) -> Tastes:
        """Return the lasting properties of scenes and topics."""
        return self._once("tastes", 0, lambda _: _tastes(self))

    def users(self, day: date) -> Users:
        """Return the users who may come on a day: the pool that always may, and the cohorts of the last `USER_LIFE_DAYS` days."""
        today = day.toordinal()
        pool = self._once("pool", 0, lambda _: _users(self, "pool", 0, max(30, int(0.16 * self.rows_per_day))))
        cohorts = [pool]
        size = max(2, int(0.015 * self.rows_per_day))
        for born in range(today - USER_LIFE_DAYS + 1, today + 1):
            cohort = self._once("users", born, lambda n: _users(self, "users", n, size))
            cohorts.append(_faded(cohort, np.exp(-(today - born) / 4)))
        return concat(cohorts)

    def items(self, day: date) -> Items:
        """Return the items alive on a day, with that day's weights."""
        today = day.toordinal()
        cohorts = []
        for born in range(today - ITEM_LIFE_DAYS + 1, today + 1):
            cohort, life = self._once("items", born, lambda n: _items(self, n))
            alive = life > today - born
            living = Items(**{f.name: getattr(cohort, f.name)[alive] for f in fields(Items)})
            cohorts.append(_faded(living, np.exp(-(today - born) / 9)))
        return concat(cohorts)

    def _once(self, kind: str, number: int, make: Callable[[int], Any]) -> Any:
        key = (kind, number)
        if key not in self._made:
            self._made[key] = make(number)
        return self._made[key]


def _faded(cohort: Cohort, factor: float) -> Cohort:
    values = {f.name: getattr(cohort, f.name) for f in fields(cohort)}
    return type(cohort)(**{**values, "weight": cohort.weight * factor})


def _zipf(rng: np.random.Generator, count: int, exponent: float, offset: float) -> Array:
    """[count] weights that fall with a random rank as a power law, with mean 1."""
    weight = (rng.permutation(count) + offset) ** -exponent
    return weight / weight.mean()


def _tastes(world: World) -> Tastes:
    rng = world.rng("tastes")
    scenes, topics = len(world.scenes), len(world.words.topics)
    return Tastes(
        topic=rng.normal(0, 0.45, (scenes, topics)),
        mix=rng.normal(0, 0.5, (scenes, topics)),
        interest=np.resize((1.1, 0.9, 0.75, 1.0, 0.6), scenes),
        quality=np.resize((0.35, 0.65, 0.5, 0.25, 0.8), scenes),
        style=np.resize((0.7, 0.2, 0.6, -0.5, 0.9), scenes),
        trend=np.column_stack(
            [rng.uniform(0.1, 0.3, topics), rng.uniform(25, 60, topics), rng.uniform(0, 2 * np.pi, topics)]
        ),
        base=np.column_stack([rng.uniform(40, 70, scenes), rng.uniform(0, 2 * np.pi, scenes)]),
    )


def _users(world: World, kind: str, born: int, count: int) -> Users:
    rng = world.rng(kind, born)
    topics, styles = len(world.words.topics), len(world.words.styles)
    popularity = np.log(1.0 / (np.arange(topics) + 6))
    favourites = np.argsort(-(popularity + rng.gumbel(size=(count, topics))), axis=1)[:, :3]
    interest = rng.normal(-0.5, 0.2, (count, topics))
    for place, strength in enumerate((2.2, 1.7, 1.3)):
        interest[np.arange(count), favourites[:, place]] = strength + rng.normal(0, 0.25, count)
    prefix = "u1" if kind == "pool" else f"u{date.fromordinal(born):%y%m%d}"
    return Users(
        ids=np.array([f"{prefix}{n:05d}" for n in range(count)], dtype=object),
        weight=_zipf(rng, count, 0.9, 8),
        topics=favourites,
        interest=interest,
        style=rng.normal(0, 0.75, (count, styles)),
        propensity=rng.normal(0, 0.45, count),
        affinity=rng.normal(0, 0.25, (count, len(world.scenes))),
        openness=rng.beta(5, 2, count),
    )


def _items(world: World, born: int) -> tuple[Items, Array]:
    """A day's new items and the days that each will live."""
    rng = world.rng("items", born)
    words = world.words
    count = max(24, world.rows_per_day // 150)
    topic = rng.integers(0, len(words.topics), count)
    style = np.where(rng.random(count) < 0.7, rng.integers(0, len(words.styles), count), -1)
    quality = rng.normal(0, 1, count)
    perceived = 0.9 * quality + rng.normal(0, 0.45, count)  # what the title's author makes of the quality
    grade = np.searchsorted([-0.7, 0.0, 0.7], perceived)
    life = np.minimum(1 + rng.geometric(0.14, count), ITEM_LIFE_DAYS)
    names = [_entity_names(words.topics[k], rng) for k in topic]
    titles = [_title(words, names[n], int(grade[n]), int(style[n]), rng) for n in range(count)]
    separators = rng.choice(["|", ",", "、"], count, p=[0.85, 0.1, 0.05])
    listed = rng.random(count) > 0.04  # a few items come without entities
    return (
        Items(
            ids=np.array([f"i{date.fromordinal(born):%y%m%d}{n:04d}" for n in range(count)], dtype=object),
            weight=_zipf(rng, count, 0.6, 3),
            topic=topic,
            style=style,
            quality=quality,
            born=np.full(count, born),
            titles=np.array(titles, dtype=object),
            entities=np.array([separators[n].join(names[n]) if listed[n] else "" for n in range(count)], dtype=object),
        ),
        life,
    )


def _entity_names(topic: Topic, rng: np.random.Generator) -> list[str]:
    """Two to four entities of a topic, now and then one in Chinese too."""
    names = [topic.entities[n] for n in rng.choice(len(topic.entities), rng.integers(2, 5), replace=False)]
    if rng.random() < 0.2:
        names.append(topic.chinese[rng.integers(len(topic.chinese))])
    return names


def _title(words: Vocabulary, names: list[str], grade: int, style: int, rng: np.random.Generator) -> str:
    patterns = words.titles[grade]
    phrase = words.styles[style].words[rng.integers(4)] if style >= 0 else ""
    entity = names[0] if rng.random() < 0.7 else f"{names[0]} and {names[1]}"
    title = patterns[rng.integers(len(patterns))].format(entity=entity, style=phrase)
    title = " ".join(title.split()).replace(" ,", ",").replace(" :", ":").strip(", ")
    if len(names) > 2 and not names[-1].isascii() and rng.random() < 0.6:
        title = f"{names[-1]} {title}"
    if rng.random() < 0.03:
        title = title.replace(" ", "\n", 1)
    return title[0].upper() + title[1:]
