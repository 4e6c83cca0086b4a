"""Environment variables for a part of a test."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from include.settings import get_settings


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """This process, and the settings in it, with these variables."""
    before = dict(os.environ)
    os.environ.update(values)
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        get_settings.cache_clear()
