"""A day of logs in a lake on any file system, staged, read, and published by a process that dies on the way."""

from datetime import date

import pytest
from sample_records import quality

import include.lake.lake
from include.checks import check_result
from include.lake.lake import Lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.stages import SPECS

DAY = date(2023, 7, 10)


def stage(lake: Lake, content: str, *, status: str = "pass", build: str | None = None) -> Manifest:
    """Stages a day of logs whose tables hold `content`, with a critical check of this status."""
    build = build or new_build()
    folder = lake.path(lake.begin_staging("logs", DAY, build))
    for name in SPECS["logs"].tables:
        lake.fs.makedirs(f"{folder}/{name}")
        with lake.fs.open(f"{folder}/{name}/part", "wb") as file:
            file.write(content.encode())
    tables = {name: TableVersion(f"{name}/dt={DAY}/build={build}", 1, 1, "hash") for name in SPECS["logs"].tables}
    manifest = Manifest("logs", str(DAY), build, tables, 2, {}, "code", "settings")
    severity = "warning" if status == "warning" else "critical"
    check = check_result("logs", "a_check", status == "pass", "0 or 1", "7", column="label", severity=severity)
    lake.finish_staging(manifest, quality("logs", DAY, check, build=build))
    return manifest


def seen(lake: Lake) -> str | None:
    """What a reader of the day sees in all tables, which must agree."""
    if lake.manifest("logs", DAY) is None:
        return None
    paths = [lake.table_path(name, DAY, "a test") for name in SPECS["logs"].tables]
    (content,) = {lake.fs.cat_file(f"{path}/part").decode() for path in paths}
    return content


def publish_and_die(lake: Lake, patch: pytest.MonkeyPatch, deaths: int) -> bool:
    """Publishes the day in a process that dies at this step (the first is 1); whether there were so many steps."""
    steps = {"left": deaths}

    def die_at(function):
        def step(*arguments, **options):
            steps["left"] -= 1
            if steps["left"] == 0:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return step

    with patch.context() as dying:
        dying.setattr(include.lake.lake, "rename", die_at(include.lake.lake.rename))
        dying.setattr(type(lake.fs), "rm", die_at(type(lake.fs).rm))
        try:
            lake.publish("logs", DAY)
        except KeyboardInterrupt:
            return True
    return False
