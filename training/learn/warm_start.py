"""The start of a day's candidate: its training days, and the promoted version that it continues, if any."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain

import numpy as np

from include.calendar import WINDOW_DAYS, previous
from include.lake.lake import Lake
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.registry.outdated import base_for, outdated_versions
from include.settings import Settings
from training.data.dense import NAMES, columns_of, transformed
from training.data.row_sample import KEY, sample
from training.data.standardiser import SAMPLE_ROWS, Standardiser
from training.data.state import ModelConfig
from training.learn.artifact import OtherArchitectureError, Predictor, load, variant_in
from training.model_variants import ModelVariant, model_variant
from training.tables import NEEDED_FOR, published_days, read_shards
from training.text.encoders import resolve_encoder, resolve_llm
from training.text.text_table import ITEM_TEXTS, keys_in
from training.text.vector_cache import VectorCache
from training.text.whitening import MOST_SHIFT, MOST_SPREAD, Drift

log = logging.getLogger(__name__)

FEWEST_TEXTS = 50
"""Texts that are needed to measure their drift."""
SETTLED_DAYS = 2 * WINDOW_DAYS
"""Age of a lake from which its features are as they will be: what compares the week with all days needs a second week."""


@dataclass(frozen=True)
class Start:
    """The days to train on, ascending, and the version to continue with its model; None to start from scratch."""

    days: list[date]
    version: ModelVersion | None = None
    model: Predictor | None = None


def start_of(lake: Lake, day: date, settings: Settings, *, scratch: bool) -> Start:
    """Choose the newest version promoted on an earlier day that is not outdated, with the days since it was trained;
    else the training window.

    The reason for a start from scratch is logged.
    """
    days = days_to_learn(lake, day, settings)
    if scratch:
        return Start(days)
    versions = registry.versions()
    base = base_for(day, versions, outdated_versions(lake, versions))
    version = base.version
    if base.outdated:
        instead = f"version {version.version}" if version else "scratch"
        log.warning("Starting from %s: %s", instead, base.why())
    if version is None:
        return Start(days)
    new = [published for published in days if published > version.trained_through]
    try:
        model = load(registry.download(version.version))
        reason = next(why_not_continued(lake, settings, version, model, days, new), None)
    except (OtherArchitectureError, registry.PrunedError) as error:
        reason = str(error)
    if reason is None:
        return Start(new, version, model)
    log.warning("Starting from scratch: %s", reason)
    return Start(days)


def days_to_learn(lake: Lake, day: date, settings: Settings) -> list[date]:
    """Return the published days with rows that the candidate of `day` may train on: before it, in the training window."""
    days = published_days(lake, "training", previous(day), settings.train_days)
    return [published for published in days if lake.require("training", published, NEEDED_FOR).tables["training"].rows]


def config_of(settings: Settings) -> ModelConfig:
    """Return the configuration that the settings describe."""
    variant = model_variant(settings.model)
    return ModelConfig(
        model=variant.name,
        scenes=settings.scenes,
        encoder=resolve_encoder(settings).slug if variant.text else "",
        llm=resolve_llm(settings).slug if variant.llm else "",
        item_few_impressions=settings.item_few_impressions,
        ctr_smoothing=settings.ctr_smoothing,
        text_space=settings.text_space,
        warm_index=settings.warm_index,
    )


def fresh_config(lake: Lake, days: Sequence[date], settings: Settings) -> ModelConfig:
    """Return the configuration of a model that starts from scratch on the days: without text where their items have none."""
    config = config_of(settings)
    if config.variant.text and not has_item_texts(lake, days, settings.shard_rows):
        return config.without_text()
    return config


def has_item_texts(lake: Lake, days: Sequence[date], shard_rows: int) -> bool:
    """Return whether the items of the days have at least two distinct texts: one text for all says nothing of them."""
    keys = np.empty(0, np.int64)
    for day in days:
        for shard in read_shards(lake, "training", day, NEEDED_FOR, shard_rows, ITEM_TEXTS):
            keys = np.union1d(keys, keys_in(shard, ITEM_TEXTS))
            if len(keys) > 1:
                return True
    return False


def variants_in_use(settings: Settings) -> Iterator[ModelVariant]:
    """Yield the variant that is trained, then the champion's: both are evaluated on the day's rows and need their inputs."""
    yield model_variant(settings.model)
    champion = registry.champion()
    of_champion = variant_in(registry.download(champion.version)) if champion else None
    if of_champion:
        yield of_champion


def why_not_continued(
    lake: Lake, settings: Settings, version: ModelVersion, model: Predictor, days: Sequence[date], new: Sequence[date]
) -> Iterator[str]:
    """Yield reasons why a version must not train on the `new` days, the last ones of the training window `days`: its
    settings, or the days that its statistics come from."""
    config = config_of(settings)
    without_text = config.variant.text and not model.state.config.has_text
    config = config.without_text() if without_text else config
    for setting in ("model", "scenes", "encoder", "llm", "text_space"):
        was = getattr(model.state.config, setting)
        now = getattr(config, setting)
        if was != now:
            yield f"version {version.version} was trained with {setting} {was}, and the settings now say {now}."
    if not new:
        return
    if without_text and has_item_texts(lake, new, settings.shard_rows):
        yield f"version {version.version} was trained on days whose items had no texts, and those of the new days have some."
    fitted = _first_of_chain(version)
    lake_from = min([fitted.trained_from, *lake.days("training")[:1]])
    if _days(lake_from, fitted.trained_through) < WINDOW_DAYS:
        yield (
            f"the statistics of version {version.version} were fitted on {fitted.trained_from}..{fitted.trained_through}, "
            f"less than {WINDOW_DAYS} days into the lake, when {WINDOW_DAYS}-day features were still almost empty."
        )
    if _days(lake_from, new[-1]) >= SETTLED_DAYS:
        varying = newly_varying(lake, model.state.standardiser, days, new, settings.shard_rows)
        if varying:
            yield (
                f"version {version.version} ignores features that were constant when it was fitted and vary now: "
                f"{', '.join(varying)}."
            )
    flattened = flattened_inputs(lake, model.state.standardiser, new, settings.shard_rows)
    if flattened:
        yield (
            f"extreme values have flattened inputs of version {version.version}, which was fitted without bounds: "
            f"{', '.join(flattened)}."
        )
    drift = text_drift(lake, model, new, settings.shard_rows)
    if drift and drift.refit:
        yield (
            f"the items' texts have moved away from those that the text space of version {version.version} was fitted on: "
            f"by {drift.shift:.2f} standard deviations (at most {MOST_SHIFT}), with {drift.spread:.2f} times their variance "
            f"(at most {MOST_SPREAD})."
        )


def text_drift(lake: Lake, model: Predictor, days: Sequence[date], shard_rows: int) -> Drift | None:
    """Return the drift of these days' item texts in a model's text space; None where it reads none, or there are too few."""
    if not model.state.config.variant.text or not days:
        return None
    shards = (read_shards(lake, "training", day, NEEDED_FOR, shard_rows, ITEM_TEXTS) for day in days)
    keys = np.unique(np.concatenate([keys_in(shard, ITEM_TEXTS) for shard in chain.from_iterable(shards)]))
    vectors, has_vector = VectorCache(lake, model.state.config.encoder).lookup(keys)
    return model.state.whiten_text.drift(vectors[has_vector]) if has_vector.sum() >= FEWEST_TEXTS else None


def newly_varying(
    lake: Lake, standardiser: Standardiser, days: Sequence[date], new: Sequence[date], shard_rows: int
) -> list[str]:
    """Return the inputs that a standardiser switched off as constant, that vary in the `new` days, and that a start from
    scratch on `days` would use."""
    off = [name for name, scale in zip(NAMES, standardiser.scale, strict=True) if scale == 0]
    for among in (new, days):
        used = _fitted_on(lake, among, off, shard_rows).used if off else ()
        off = [name for name, varies in zip(off, used, strict=True) if varies]
    return off


def flattened_inputs(lake: Lake, standardiser: Standardiser, new: Sequence[date], shard_rows: int) -> list[str]:
    """Return the inputs that extreme values had flattened when a standardiser was fitted without bounds."""
    if standardiser.has_bounds:
        return []
    flattened = standardiser.flattened(_fitted_on(lake, new, NAMES, shard_rows))
    return [name for name, flat in zip(NAMES, flattened, strict=True) if flat]


def _fitted_on(lake: Lake, days: Sequence[date], names: Sequence[str], shard_rows: int) -> Standardiser:
    """Return the standardiser of some inputs that is fitted on the rows of days."""
    columns = columns_of(names)
    shards = (read_shards(lake, "training", day, NEEDED_FOR, shard_rows, [KEY, *columns]) for day in days)
    return Standardiser.fit(transformed(sample(chain.from_iterable(shards), SAMPLE_ROWS, columns), names))


def _first_of_chain(version: ModelVersion) -> ModelVersion:
    """Return the version at the start of the warm-start chain: its days are those of the statistics."""
    versions = {registered.version: registered for registered in registry.versions()}
    while version.base_version in versions:
        version = versions[version.base_version]
    return version


def _days(first: date, last: date) -> int:
    return (last - first).days + 1
