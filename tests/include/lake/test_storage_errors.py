"""Storage that refuses or does not answer is told in words, soon where a person waits."""

import errno
import socket
import time
from datetime import date
from pathlib import Path

import pytest

import include.lake.hdfs
from include.console import exit_clearly
from include.errors import StorageError, UnavailableError
from include.lake.lake import Lake
from include.orchestration.operators import RETRY_POLICY
from include.raw.deliveries import Raw

DAY = date(2023, 7, 10)


@pytest.fixture
def fail_fast(monkeypatch):
    """As in a `ctr` command, with less patience still."""
    monkeypatch.setattr(include.lake.hdfs, "is_fail_fast", lambda: True)
    monkeypatch.setattr(include.lake.hdfs, "ANSWER_SECONDS", 0.3)


@pytest.fixture
def silent():
    """The port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_lake_that_cannot_be_made_is_not_retried():
    with pytest.raises(StorageError, match=r"/proc/nope: expected a folder.*\nNext: correct the path") as raised:
        Lake("file:///proc/nope").begin_staging("logs", DAY, "b")
    assert RETRY_POLICY.evaluate(raised.value, 1, 2).action.name == "FAIL"


def test_a_lake_below_a_file_is_refused_and_not_empty(tmp_path):
    (tmp_path / "file").write_text("")
    for read in (lambda lake: lake.manifest("logs", DAY), lambda lake: lake.days("logs")):
        with pytest.raises(StorageError, match="expected a path along folders, found: Not a directory"):
            read(Lake(f"file://{tmp_path}/file/lake"))
    with pytest.raises(StorageError, match="expected a path along folders"):
        Raw(f"file://{tmp_path}/file/raw").days()


def test_a_missing_lake_is_empty(tmp_path):
    assert Lake(f"file://{tmp_path}/none").days("logs") == []
    assert Lake(f"file://{tmp_path}/none").manifest("logs", DAY) is None


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EACCES, "expected a user who may do this"),
        (errno.EROFS, "expected files that can be written"),
        (errno.ENOSPC, "expected room for a file"),
    ],
)
def test_a_refusal_ends_a_command_with_status_2(capsys, code, sentence):
    with pytest.raises(SystemExit) as ended, exit_clearly():
        raise OSError(code, "refused", "/data/file")
    assert ended.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_fault_of_code_keeps_its_traceback():
    with pytest.raises(FileNotFoundError), exit_clearly():
        Path("/nowhere/at/all").read_text()


def test_an_hdfs_whose_name_is_unknown_fails_at_once(fail_fast):
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="expected a host name that can be resolved here"):
        Lake("hdfs://nowhere.invalid:9000/lake")
    assert time.monotonic() - began < 5


def test_an_hdfs_that_does_not_answer_is_told_soon(fail_fast, silent):
    with pytest.raises(UnavailableError, match=r"expected an answer of HDFS, found: none in 0.3 seconds\nNext: "):
        Lake(f"hdfs://127.0.0.1:{silent}/lake").days("logs")
