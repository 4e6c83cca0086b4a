"""The lake and the raw logs on a real HDFS: the commit protocol, the report of each fault, and what it survives."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from lake_contract import PublicationContract
from lake_day import DAY, seen, stage

import include.lake.hdfs
import include.lake.lake
from include.errors import StorageError, UnavailableError
from include.lake.lake import Lake
from include.lake.manifest import new_build
from include.raw.deliveries import Delivery, Raw, day_folder
from include.records import Record

pytestmark = pytest.mark.services


class Note(Record):
    kind = "note"
    text: str = ""
    number: int = 0


@pytest.fixture
def impatient(monkeypatch):
    """Safe mode is reported at once."""
    monkeypatch.setattr(include.lake.hdfs, "SAFE_MODE_SECONDS", 0)


# The commit protocol


class TestPublication(PublicationContract):
    """On HDFS."""


def test_another_process_reads_whole_records_during_replacement(lake):
    lake.write_record(Note(day=DAY, number=0, text="x" * 20_000))
    reader = (
        "import sys, json\n"
        "from include.lake.lake import Lake, parse_day\n"
        "from include.records import Record\n"
        "class Note(Record):\n"
        "    kind = 'note'\n"
        "lake, found = Lake(sys.argv[1]), [0]\n"
        "while found[-1] < 60:\n"
        "    record = lake.record(Note, parse_day(sys.argv[2]))\n"
        "    assert record is not None and len(record.text) == 20_000\n"
        "    found.append(record.number)\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", reader, lake.url, str(DAY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for number in range(1, 61):
            lake.write_record(Note(day=DAY, number=number, text="x" * 20_000))
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    found = json.loads(output)
    assert found == sorted(found)


def test_a_replaced_record_has_a_new_stamp_and_a_fresh_listing(lake):
    assert lake.record_stamps("note") == {}
    lake.write_record(Note(day=DAY, number=1))
    before = lake.record_stamps("note")
    assert list(before) == [DAY] == lake.record_days(Note)
    assert lake.record_stamps("note") == before
    Lake(lake.url).write_record(Note(day=DAY, number=2))
    assert lake.record_stamps("note") != before
    assert lake.record(Note, DAY) == Note(day=DAY, number=2)


def test_raw_files_arrive_together_even_after_a_killed_delivery(root, monkeypatch):
    """The next delivery finishes the one that was killed."""
    raw = Raw(f"{root}/raw")
    paths = [f"{day_folder(DAY)}/part-{n}.csv.gz" for n in range(3)]

    def deliver(content: bytes):
        with Delivery(raw) as delivery:
            for path in paths:
                delivery.write(path, content)
            assert raw.day_files(DAY) == []

    renames = iter([1, 1, 0])  # the journal and the first file, then the process is killed

    def rename(*arguments):
        if not next(renames):
            raise KeyboardInterrupt
        include.lake.lake.rename(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("include.raw.deliveries.rename", rename)
        with pytest.raises(KeyboardInterrupt):
            deliver(b"rows")
    assert len(raw.day_files(DAY)) == 1
    with Delivery(raw):
        pass
    assert raw.day_files(DAY) == sorted(paths)
    assert raw.names("_incoming") == []
    assert raw.days() == [DAY]


# A fault is reported, and leaves what is published unchanged


@pytest.fixture
def published(lake):
    """A lake whose day holds "old"."""
    stage(lake, "old")
    lake.publish("logs", DAY)
    return lake


def test_a_missing_permission_names_the_user_folder_and_access(hdfs, published):
    stage(published, "new")
    folder = published.path("_manifests/logs")
    hdfs.fs("-chmod", "500", folder)
    with pytest.raises(
        StorageError, match=rf"{folder}.*expected a user who may .*user=ctr, access=WRITE.*\nNext: "
    ) as error:
        published.publish("logs", DAY)
    assert "\tat " not in str(error.value)
    assert seen(published) == "old"
    hdfs.fs("-chmod", "755", folder)
    published.publish("logs", DAY)
    assert seen(published) == "new"


@pytest.mark.parametrize(
    ("option", "limit", "words"),
    [("Quota", "1", "quota of names.*quota=1 file count="), ("SpaceQuota", "1k", "quota of space.*1024 B = 1 KB")],
)
def test_an_exceeded_quota_names_the_folder_and_the_limit(hdfs, published, option, limit, words):
    before = published.quality("logs", DAY)
    hdfs.admin(f"-set{option}", limit, published.root)
    with pytest.raises(StorageError, match=rf"{published.root}.*{words}.*\nNext: .*-set{option}"):
        stage(published, "new")
    assert seen(published) == "old"
    assert published.quality("logs", DAY) == before
    hdfs.admin(f"-clr{option}", published.root)
    stage(published, "new")
    published.publish("logs", DAY)
    assert seen(published) == "new"


@pytest.mark.usefixtures("impatient")
def test_safe_mode_is_told_as_something_that_passes(hdfs, published):
    stage(published, "new")
    with hdfs.safe_mode():
        assert seen(published) == "old"
        with pytest.raises(
            UnavailableError, match=r"expected a NameNode that takes changes, found: .*safe mode.*\nNext: "
        ):
            published.publish("logs", DAY)
        assert seen(published) == "old"
    published.publish("logs", DAY)
    assert seen(published) == "new"


def test_a_change_waits_for_the_end_of_safe_mode(hdfs, published):
    stage(published, "new")
    with ThreadPoolExecutor(1) as pool:
        with hdfs.safe_mode():
            publication = pool.submit(published.publish, "logs", DAY)
            assert not publication.done()
        publication.result(timeout=60)
    assert seen(published) == "new"


def test_lost_blocks_are_told_with_the_file_and_how_to_go_on(hdfs, published):
    path = published.path("_records/note/dt=2023-07-10.json")
    published.write_record(Note(day=DAY, text=new_build()))
    content = published.fs.cat_file(path)
    for block in hdfs.folder.glob("datanode*/data/current/*/current/*/**/blk_*"):
        with suppress(FileNotFoundError):  # DataNodes delete what was replaced when they come to it
            if block.suffix != ".meta" and block.read_bytes() == content:
                block.unlink()
    with pytest.raises(
        UnavailableError, match=rf"{path}: expected a DataNode that serves the block.*\nNext: .*hdfs fsck"
    ):
        published.record(Note, DAY)
    assert seen(published) == "old"
    published.write_record(Note(day=DAY, text="no more"))
    assert published.record(Note, DAY) == Note(day=DAY, text="no more")


def test_an_hdfs_that_does_not_answer_is_told_with_its_address(tmp_path, monkeypatch):
    """The client tries 15 times within three minutes, here without the pauses."""
    quick = "<name>dfs.client.failover.sleep.max.millis</name><value>1</value>"
    (tmp_path / "hdfs-site.xml").write_text(f"<configuration><property>{quick}</property></configuration>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    with pytest.raises(
        UnavailableError, match=r"hdfs://127.0.0.1:9/x/_records.*expected an answer of HDFS.*refused.*\nNext: "
    ):
        Lake("hdfs://127.0.0.1:9/x").record(Note, DAY)


# What is survived


def test_a_process_that_forks_after_it_used_hdfs_goes_on(lake):
    forking = (
        "import sys\n"
        "from multiprocessing import get_context\n"
        "from include.lake.lake import Lake, parse_day\n"
        "assert Lake(sys.argv[1]).manifest('logs', parse_day(sys.argv[2])) is None\n"
        "child = get_context('fork').Process(target=print)\n"
        "child.start()\n"
        "child.join(30)\n"
        "child.kill()\n"
        "sys.exit(child.exitcode != 0)\n"
    )
    subprocess.run([sys.executable, "-c", forking, lake.url, str(DAY)], check=True)


def test_a_restart_of_the_namenode_delays_a_publication(hdfs, published):
    stage(published, "new")
    hdfs.kill("namenode")
    with ThreadPoolExecutor(1) as pool:
        publication = pool.submit(published.publish, "logs", DAY)
        hdfs.start()
        publication.result(timeout=120)
    assert seen(published) == "new"


def test_records_are_written_and_read_while_a_datanode_is_dead(hdfs, published):
    hdfs.kill("datanode1")
    try:
        for number in range(4):
            published.write_record(Note(day=DAY, number=number))
            assert published.record(Note, DAY) == Note(day=DAY, number=number)
        stage(published, "new")
        published.publish("logs", DAY)
        assert seen(published) == "new"
    finally:
        hdfs.start()
