"""The project's errors: each message names the table or file, the day, what was expected and found, and what to do."""

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from include.checks import Check


class CtrError(Exception):
    """Base of every error that a person can act on; its message is shown without a traceback by the command line.

    `exit_status` ends a command (2: a retry cannot fix it), `http_status` answers a request.
    """

    exit_status: ClassVar[int] = 2
    http_status: ClassVar[int] = 503


class DataQualityError(CtrError):
    """Critical checks of a stage failed: retrying cannot help, the data has to change. `checks` are their records."""

    def __init__(self, message: str, checks: "Iterable[Check]" = ()) -> None:
        super().__init__(message)
        self.checks = tuple(checks)


class MissingDataError(CtrError):
    """A partition, file or model that a step needs is not there."""

    http_status = 404


class InvalidInputError(CtrError):
    """A setting, an argument or an input file is not of the form that is needed."""

    http_status = 400


class DamagedFileError(CtrError):
    """A file that this project wrote does not hold what it should: `found` names it, `next_step` says how to mend it."""

    http_status = 500

    def __init__(self, found: str, next_step: str) -> None:
        super().__init__(f"{found} Next: {next_step}")
        self.found = found
        self.next_step = next_step


class SettingError(InvalidInputError):
    """Settings of this process cannot be used; the message holds their values."""

    http_status = 503


class LeakageError(CtrError):
    """Something was about to learn from the day on which it is evaluated."""


class NothingToDoError(CtrError):
    """There is nothing to do, which is no fault: the step and those after it are skipped."""

    exit_status = 3


class StorageError(CtrError):
    """The file system refuses: a permission, the disk or a quota. A person has to change something there."""


class UnavailableError(Exception):
    """A service is unavailable for now. Not a `CtrError`: the same call may succeed later, so tasks retry it."""

    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 503


_ACCESS = (
    "a user who may do this",
    "give the user access to this path (`chown`, `chmod`), or run as the user who has it.",
)
_ROOM = ("room for a file", "free some space (`df -h`), remove days that are not needed, or raise the quota.")
_PATH = ("a path along folders", "correct the path: CTR_LAKE, CTR_RAW or CTR_HOME.")
_CAUSES: dict[int, tuple[str, str]] = {
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: ("files that can be written", "mount the file system for writing, or point the setting elsewhere."),
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.ENOTDIR: _PATH,
    errno.ELOOP: _PATH,
    errno.ENAMETOOLONG: _PATH,
}
_NO_FOLDER = (
    "a folder in which a new one can be made",
    "correct the path (CTR_LAKE, CTR_RAW or CTR_HOME), or mount it.",
)


def storage_error(error: OSError, *, makes_folder: bool = False) -> StorageError | None:
    """Translate an error of the local file system; None for one that needs no person, such as a missing file.

    Args:
        error: as Python raises it, with the path.
        makes_folder: whether the call was to make a folder, which fails where a parent cannot be made (as in `/proc`).
    """
    cause = _CAUSES.get(error.errno or 0)
    if cause is None and makes_folder and error.errno == errno.ENOENT:
        cause = _NO_FOLDER
    if cause is None or (error.filename is None and cause is not _ROOM):
        return None
    expected, next_step = cause
    return StorageError(
        f"{error.filename or 'Local files'}: expected {expected}, found: {error.strerror}\nNext: {next_step}"
    )
