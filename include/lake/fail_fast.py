"""Whether this process fails soon where storage does not answer (a person waits for it), or keeps trying, as a task does."""

from threading import Event

_FAIL_FAST = Event()


def fail_fast() -> None:
    """Make file systems that this process opens from now on fail within seconds where nothing answers."""
    _FAIL_FAST.set()


def is_fail_fast() -> bool:
    """Return whether `fail_fast` was called."""
    return _FAIL_FAST.is_set()
