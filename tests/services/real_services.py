"""Real services on this machine for tests, started by tools/hdfs.sh and tools/spark-cluster.sh, and lakes compared row by row."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from pyarrow import orc

from include.lake.lake import Lake
from include.setting_groups import PROJECT
from include.stages import SPECS, STAGES

USER = "ctr"
"""Who runs the pipeline: not HDFS's superuser, so that permissions and quotas hold."""
FIRST = date(2023, 7, 10)
_MAY_BE_EMPTY = ("quarantine", "late")


class Service:
    """Nodes in a folder, of one of the scripts in tools/."""

    def __init__(self, script: str, folder: Path, nodes: int) -> None:
        self.script = PROJECT / "tools" / script
        self.folder = folder
        self.url = self.run("start", str(nodes)).splitlines()[-1]

    def run(self, verb: str, *arguments: str) -> str:
        """`SCRIPT VERB FOLDER ARGUMENTS…`; returns what it prints, and raises with what it says where it fails."""
        done = subprocess.run(
            [str(self.script), verb, str(self.folder), *arguments], capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise AssertionError(f"{self.script.name} {verb} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def kill(self, node: str) -> None:
        """Ends a node as a power cut does."""
        self.run("node", "kill", node)

    def start(self) -> None:
        """Starts the nodes that do not run, and waits for them."""
        self.run("start")

    def stop(self) -> None:
        """Stops all nodes."""
        self.run("stop")


class Hdfs(Service):
    """One NameNode and two DataNodes."""

    def __init__(self, folder: Path) -> None:
        super().__init__("hdfs.sh", folder, 2)
        self.fs("-mkdir", "-p", "/tests")
        self.fs("-chown", USER, "/tests")

    def fs(self, *arguments: str) -> str:
        """`hadoop fs`, as the superuser."""
        return self.run("fs", *arguments)

    def admin(self, *arguments: str) -> str:
        """`hdfs dfsadmin`."""
        return self.run("admin", *arguments)

    @contextmanager
    def safe_mode(self) -> Iterator[None]:
        """The NameNode refuses changes meanwhile."""
        self.admin("-safemode", "enter")
        try:
            yield
        finally:
            self.admin("-safemode", "leave")

    @property
    def environment(self) -> dict[str, str]:
        """What a client of it needs."""
        return {"HADOOP_CONF_DIR": str(self.folder / "client"), "HADOOP_USER_NAME": USER}


def rows(lake: Lake, table: str, day: date) -> list[str]:
    """Every row of a published table of a day, as sorted text: equal for equal rows, to the last bit of a number."""
    path, found = lake.table_path(table, day, "a test"), []
    for name in lake.fs.find(path):
        if name.endswith(".orc"):
            folder = name.rsplit("/", 2)[1]
            with lake.fs.open(name, "rb") as file:
                found += [
                    f"{folder if 'scene=' in folder else ''}{row}" for row in orc.ORCFile(file).read().to_pylist()
                ]
    return sorted(found)


def differing_tables(one: Lake, other: Lake, days: list[date]) -> list[str]:
    """The tables and days in which two lakes differ; each has to have rows somewhere, or it compares nothing."""
    assert one.url != other.url
    differ, seen = [], dict.fromkeys((table for stage in STAGES for table in SPECS[stage].tables), 0)
    for day in days:
        for table in seen:
            expected, found = rows(one, table, day), rows(other, table, day)
            seen[table] += len(expected)
            if expected != found:
                odd = next(iter(set(expected) ^ set(found)), "the same rows, another number of times")
                differ.append(f"{table} {day}: {len(expected)} rows and {len(found)}; for example {odd[:300]}")
    return differ + [f"{table} is empty" for table, count in seen.items() if not count and table not in _MAY_BE_EMPTY]
