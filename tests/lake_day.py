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


def stage(store: Lake, content: str, *, status: str = "pass", build: str | None = None) -> Manifest:
    """Stages a day of logs whose tables hold `content`, with a critical check of this status."""
    build = build or new_build()
    folder = store.path(store.begin_staging("logs", DAY, build))
    for name in SPECS["logs"].tables:
        store.fs.makedirs(f"{folder}/{name}")
        with store.fs.open(f"{folder}/{name}/part", "wb") as file:
            file.write(content.encode())
    tables = {name: TableVersion(f"{name}/dt={DAY}/build={build}", 1, 1, "hash") for name in SPECS["logs"].tables}
    manifest = Manifest("logs", str(DAY), build, tables, 2, {}, "code", "settings")
    severity = "warning" if status == "warning" else "critical"
    check = check_result("logs", "a_check", status == "pass", "0 or 1", "7", column="label", severity=severity)
    store.finish_staging(manifest, quality("logs", DAY, check, build=build))
    return manifest


def seen(store: Lake) -> str | None:
    """What a reader of the day sees in all tables, which must agree."""
    if store.manifest("logs", DAY) is None:
        return None
    paths = [store.table_path(name, DAY, "a test") for name in SPECS["logs"].tables]
    (content,) = {store.fs.cat_file(f"{path}/part").decode() for path in paths}
    return content


def publish_and_die(store: Lake, patch: pytest.MonkeyPatch, deaths: int) -> bool:
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
        dying.setattr(type(store.fs), "rm", die_at(type(store.fs).rm))
        try:
            store.publish("logs", DAY)
        except KeyboardInterrupt:
            return True
    return False
