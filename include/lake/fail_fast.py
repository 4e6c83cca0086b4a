"""Whether this process fails soon where storage does not answer, since a person waits for it, or is patient, as a task."""

from threading import Event

_FAIL_FAST = Event()


def fail_fast() -> None:
    """From now on, file systems that this process opens fail within seconds where nobody answers."""
    _FAIL_FAST.set()


def is_fail_fast() -> bool:
    """Whether `fail_fast` was called."""
    return _FAIL_FAST.is_set()
