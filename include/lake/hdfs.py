"""HDFS as fsspec file systems whose errors say what to do: hdfs-native's, with its exceptions translated here and nowhere else.

A permission or a quota needs a person and is a `StorageError`, which nothing retries. Safe mode, a node that does not answer
and blocks without a living replica may pass by themselves, and are an `UnavailableError`, which is retried.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from socket import gaierror, getaddrinfo
from textwrap import shorten
from threading import Thread
from typing import Any, cast

from hdfs_native import fsspec as native

from include.errors import StorageError, UnavailableError
from include.lake.fail_fast import is_fail_fast

SAFE_MODE_SECONDS = 60
"""How long a change waits for the NameNode to leave safe mode, which it enters whenever it starts."""
ANSWER_SECONDS = 15
"""How long a process that fails fast (include.lake.fail_fast) waits for the first answer of an HDFS."""
_FEW_ATTEMPTS = {"dfs.client.failover.max.attempts": "3"}  # seven seconds in place of three minutes
_POLL_SECONDS = 0.5
_CLIENTS: list[Any] = []
"""
Every client of hdfs-native that this process has made, kept until it ends. A forked process drops fsspec's cache of file
systems, and to end a client waits for its threads, which only the parent has: it would never go on.
"""
_OPENING = ("read", "create", "append")
_ITERATORS = ("list_status", "read_range_stream")
_SAFE_MODE = "SafeModeException"
_SEE_NODES = "check that the NameNode and the DataNodes run, and that the address is right."
_LOST = (
    UnavailableError,
    "a DataNode that serves the block",
    "check which nodes are down (`hdfs dfsadmin -report`) and which files have lost every replica (`hdfs fsck PATH "
    "-list-corruptfileblocks`). Nodes that come back bring their blocks; a day whose blocks are gone is made again by "
    "deleting its manifest and running it.",
)
_CAUSES: dict[str, tuple[type[StorageError | UnavailableError], str, str]] = {
    "hadoop.security.AccessControlException|Permission denied: user=": (
        StorageError,
        "a user who may do this",
        "give the user access to this path (`hdfs dfs -chown`, `-chmod`, `-setfacl`), or run as the user who has it.",
    ),
    "NSQuotaExceededException": (
        StorageError,
        "room in the quota of names",
        "remove days that are not needed from that folder, or raise its quota (`hdfs dfsadmin -setQuota N FOLDER`).",
    ),
    "DSQuotaExceededException|QuotaByStorageTypeExceededException": (
        StorageError,
        "room in the quota of space",
        "remove days that are not needed from that folder, or raise its quota (`hdfs dfsadmin -setSpaceQuota N FOLDER`). "
        "A file being written counts as a whole block times its replicas until it is closed.",
    ),
    _SAFE_MODE: (
        UnavailableError,
        "a NameNode that takes changes",
        "it leaves safe mode once enough blocks are reported: see `hdfs dfsadmin -safemode get` and `-report`. "
        "Switched on by hand: `hdfs dfsadmin -safemode leave`.",
    ),
    "StandbyException|RetriableException": (
        UnavailableError,
        "an active NameNode",
        "see which NameNode is active (`hdfs haadmin -getAllServiceState`).",
    ),
    "BlockMissingException|All DataNodes failed|Could not obtain block": _LOST,
    "could only be written to|Failed to complete file in time|All nodes failed for write|DataTransferError": (
        UnavailableError,
        "DataNodes that take the block",
        "see which nodes are down or full (`hdfs dfsadmin -report`).",
    ),
    "ConnectException|Connection refused|NoRouteToHostException|No route to host|timed out": (
        UnavailableError,
        "an answer of HDFS",
        _SEE_NODES,
    ),
    "UnknownHostException|failed to lookup address information": (
        UnavailableError,
        "a host name that can be resolved here",
        "correct the address, or make the host's name resolvable (`getent hosts NAME`).",
    ),
}


def translate_hdfs_error(error: BaseException, where: str) -> StorageError | UnavailableError | None:
    """Translate an error of hdfs-native, or of Hadoop's Java client, into a `StorageError` or `UnavailableError`.

    Returns None for any other error.
    """
    text = str(error).replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")  # hdfs-native quotes what Java said
    for pattern, (kind, expected, next_step) in _CAUSES.items():
        if match := re.search(pattern, text):
            return kind(f"{where}: expected {expected}, found: {_cause_line(text[match.start() :])}\nNext: {next_step}")
    return None


def _cause_line(text: str) -> str:
    """Return the line of a cause, without the name of its class, the rest of Java's trace, and dumps of nodes."""
    line = re.split(r"\n\s*at |\[Datanode|\"\)$", text)[0]
    return shorten(re.sub(r'^[\w.]+Exception(", "|: )', "", line).rstrip(": "), 500)


class _ErrorTranslatingProxy:
    """Wraps an object of hdfs-native (client, reader, writer, listing); re-raises its errors as those of `include.errors`."""

    def __init__(self, inner: Any, url: str, path: str = "", *, answers: bool = True) -> None:
        self._inner = inner
        self._url = url
        self._path = path
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any) -> Any:
            path = self._path or (arguments[0] if arguments and isinstance(arguments[0], str) else "")
            result = self._call_with_retries(lambda: method(*arguments), path)
            wrapped = name in _ITERATORS or (name in _OPENING and not self._path)
            return _ErrorTranslatingProxy(result, self._url, path) if wrapped else result

        return call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._call_with_retries(self._inner.__next__, self._path)

    def _call_with_retries(self, call: Callable[[], Any], path: str) -> Any:
        """Return the call's result; a change that safe mode refused has done nothing and is tried again for a while."""
        end = time.monotonic() + SAFE_MODE_SECONDS
        while True:
            try:
                return call() if self._answers else self._first_answer(call)
            except (RuntimeError, OSError) as error:
                if not self._path and _SAFE_MODE in str(error) and time.monotonic() < end:
                    time.sleep(_POLL_SECONDS)
                elif type(error) in (RuntimeError, OSError) and (
                    translated := translate_hdfs_error(error, f"{self._url}{path}")
                ):
                    raise translated from error
                else:
                    raise

    def _first_answer(self, call: Callable[[], Any]) -> Any:
        """Return the call's result; raises `UnavailableError` where there is none in time."""
        answer: Future[Any] = Future()
        Thread(target=_settle, args=(answer, call), daemon=True).start()
        try:
            result = answer.result(ANSWER_SECONDS)
        except TimeoutError:
            raise UnavailableError(
                f"{self._url}: expected an answer of HDFS, found: none in {ANSWER_SECONDS} seconds\nNext: {_SEE_NODES}"
            ) from None
        self._answers = True
        return result


def _settle(answer: "Future[Any]", call: Callable[[], Any]) -> None:
    """Set the answer to the call's result or error, in a thread that may never end: a pool would wait for it."""
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)


class _TranslatesErrors:
    """Mixin for a file system of hdfs-native whose client re-raises errors as StorageError or UnavailableError."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **((_FEW_ATTEMPTS | options) if is_fail_fast() else options))
        client = cast(Any, self).client
        url = cast(Any, self).unstrip_protocol("/").rstrip("/")
        _CLIENTS.append(client.inner)
        client.inner = _ErrorTranslatingProxy(client.inner, url, answers=not is_fail_fast())
        if is_fail_fast() and cast(Any, self).port:  # without a port it may be the name of a nameservice
            _look_up(cast(Any, self).host, url)


def _look_up(host: str, url: str) -> None:
    """Raise `UnavailableError` for a host name that cannot be resolved."""
    try:
        getaddrinfo(host, None)
    except gaierror as error:
        raise cast(
            Exception, translate_hdfs_error(OSError(f"failed to lookup address information: {error.strerror}"), url)
        ) from None


class HdfsFileSystem(_TranslatesErrors, native.HdfsFileSystem):
    """`hdfs://`"""


class ViewfsFileSystem(_TranslatesErrors, native.ViewfsFileSystem):
    """`viewfs://`: several HDFS under one address."""
