"""The mapping of the settings, by which the raw logs are read (`CTR_RAW_MAPPING`)."""

import shlex
from collections.abc import Sequence
from functools import lru_cache

from include.mapping.mapping import DEFAULT_MAPPING, Mapping, find_mapping, read_mapping
from include.raw.drafting.wording import flow, scalar
from include.settings import get_settings, list_text


def raw_mapping() -> Mapping:
    """Return the mapping by which the raw logs are read; raises an error that names the field."""
    settings = get_settings()
    path = find_mapping(settings.raw_mapping, settings.home)
    return _read_once(str(path or settings.raw_mapping), path.stat().st_mtime_ns if path else 0)


def canonical_mapping() -> Mapping:
    """Return the mapping of rows that are in the project's own form, with times in the zone of the log's days."""
    raw = read_mapping(DEFAULT_MAPPING)
    times = raw.time.model_copy(update={"zone": raw_mapping().time.days_in, "day_zone": ""})
    return raw.model_copy(update={"time": times})


@lru_cache(maxsize=4)
def _read_once(path: str, changed: int) -> Mapping:  # noqa: ARG001, a file that has changed is read again
    return read_mapping(path)


def scenes_of(mapping: Mapping) -> tuple[str, ...]:
    """Return the scenes of a log of a mapping: those of the settings where they are set, else those that it lists."""
    settings = get_settings()
    listed = () if "scenes" in settings.model_fields_set else mapping.all_scenes()
    return listed or settings.scenes


def scenes_line(mapping: Mapping, new: Sequence[str]) -> str:
    """Return how more scenes become those of a log: by the line of the settings, or of its mapping where this lists them."""
    scenes = (*scenes_of(mapping), *new)
    if "scenes" in get_settings().model_fields_set or not mapping.all_scenes():
        return f"CTR_SCENES={shlex.quote(list_text(scenes))}"
    if any(value != scene for value, scene in mapping.scenes.items()):
        return f"add {', '.join(f'{scalar(scene)}: {scalar(scene)}' for scene in new)} to `scenes` of the mapping"
    return f"scenes: {flow(scenes)}, in the mapping"
