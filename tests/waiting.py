"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(what: Callable[[], Any], seconds: float, message: str, pause: float = 0.2) -> None:
    """Polls until something is so; fails with the message where it is not so in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(message)
        time.sleep(pause)
