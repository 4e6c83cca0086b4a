"""The project's own errors: each message names the table or file, the day, what was expected, found, and what to do."""

from collections.abc import Iterable
from typing import Any


class CtrError(Exception):
    """Base of every error that a person can act on; its message is shown without a traceback by the command line."""


class DataQualityError(CtrError):
    """Critical checks of a stage failed: retrying cannot help, the data has to change. `checks` are their records."""

    def __init__(self, message: str, checks: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.checks = tuple(checks)


class MissingDataError(CtrError):
    """A partition, file or model that a step needs is not there."""


class InvalidInputError(CtrError):
    """A setting, an argument or an input file is not of the form that is needed."""


class SettingError(InvalidInputError):
    """Settings of this process cannot be used; the message holds their values."""


class LeakageError(CtrError):
    """Something was about to learn from the day on which it is evaluated."""


class NothingToDoError(CtrError):
    """There is nothing to work on, and nothing wrong with that: the step and what follows it are skipped."""


class StorageError(CtrError):
    """The file system refuses, for want of a permission or of room in a quota: a person has to change something there."""


class UnavailableError(Exception):
    """A service that is away or cannot serve for now. No `CtrError`: the same call may succeed later, so tasks retry it."""
