"""What a mapping costs: the same day, ingested in the project's own form, and as other forms by a mapping.

The other forms are text with tabs and other names of columns, with escapes, and Parquet with lists. Each is ingested in turns,
so that whatever else the machine does falls on all of them.
"""

import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import yaml

from benchmarks.raw_days import RawDays
from include.orchestration.spark_submit import raw_bytes
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_COLUMNS, RAW_TEXT_COLUMNS
from include.settings import get_settings

REPEATS = 3
FORMS = ("CSV, unmapped", "tabs, mapped", "Parquet, mapped")
Result = dict[str, Any]


def measure_mapped(home: Path, rows: int, seed: int, day: date, ingest: Callable[[], Result]) -> Result:
    """Return the cost of `ingest` of a day in each form, and its ratio to that of the unmapped one: medians of `REPEATS`."""
    RawDays(rows, seed, bad_rows=False).write(home / "raw", [day])
    places = {FORMS[0]: home / "raw", FORMS[1]: home / "tabs", FORMS[2]: home / "parquet"}
    _write_tabs(home, day)
    _write_parquet(home, day)
    runs: dict[str, list[Result]] = {form: [] for form in FORMS}
    sizes = {}
    for _ in range(REPEATS):
        for form, folder in places.items():
            with _read_from(folder):
                sizes[form] = raw_bytes(day) >> 20
                runs[form].append(ingest())
                shutil.rmtree(home / "lake")
    medians = {
        form: {
            name: statistics.median(run[name] for run in taken)
            for name in ("wall_seconds", "build_seconds", "cpu_seconds", "rows")
        }
        for form, taken in runs.items()
    }
    for folder in places.values():
        shutil.rmtree(folder)
    plain = medians[FORMS[0]]["build_seconds"]
    return {
        "rows": rows,
        "raw_mib": sizes,
        "runs": runs,
        "medians": medians,
        "ratio": {form: round(median["build_seconds"] / plain, 2) for form, median in medians.items()},
    }


@contextmanager
def _read_from(folder: Path) -> Iterator[None]:
    """Set the raw logs to those of a folder, and their mapping to the file in it, where there is one."""
    mapping = folder / "map.yaml"
    before = {name: os.environ.get(name, "") for name in ("CTR_RAW", "CTR_RAW_MAPPING")}
    os.environ |= {"CTR_RAW": f"file://{folder}", "CTR_RAW_MAPPING": str(mapping) if mapping.exists() else "antm2c"}
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ |= before
        if not before["CTR_RAW_MAPPING"]:
            del os.environ["CTR_RAW_MAPPING"]
        get_settings.cache_clear()


def _write_tabs(home: Path, day: date) -> None:
    """Write each file of the day as a database does: tabs, backslashes before what is special, `\\N` for null."""
    names = {name: f"c_{name}" for name in RAW_COLUMNS}
    special = r"replace(replace({0}, chr(92), chr(92) || chr(92)), chr(9), chr(92) || chr(9))"
    fields = ", ".join(f"coalesce({special.format(name)}, chr(92) || 'N')" for name in RAW_COLUMNS)
    for file in sorted((home / "raw" / f"date={day}").glob("*.csv")):
        out = home / "tabs" / f"dt={day:%Y%m%d}" / f"{file.stem}.tsv"
        out.parent.mkdir(parents=True, exist_ok=True)
        duckdb.sql(
            f"COPY (SELECT concat_ws(chr(9), {fields}) FROM read_csv('{file}', all_varchar = true)) "
            f"TO '{out}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')"
        )
    _write_mapping(
        home / "tabs",
        files="dt={yyyyMMdd}/*",
        columns=names,
        names=list(names.values()),
        header="false",
        delimiter="tab",
        quote="",
        escape="\\",
    )


def _write_parquet(home: Path, day: date) -> None:
    """Write each file of the day with numbers, times and lists as Parquet has them."""
    columns = [
        *(
            f"string_split_regex({name}, ' *[|;,] *') AS {name}" if name in ENTITY_COLUMNS else name
            for name in RAW_TEXT_COLUMNS
            if name != "log_time"
        ),
        "coalesce(try_strptime(log_time, '%Y-%m-%d %H:%M:%S'), try_strptime(log_time, '%Y/%m/%d %H:%M')) AS at",
        *(f"{name}::DOUBLE AS {name}" for name in DEEP_FEATURES),
    ]
    for file in sorted((home / "raw" / f"date={day}").glob("*.csv")):
        out = home / "parquet" / f"dt={day:%Y%m%d}" / f"{file.stem}.parquet"
        out.parent.mkdir(parents=True, exist_ok=True)
        duckdb.sql(f"COPY (SELECT {', '.join(columns)} FROM read_csv('{file}', all_varchar = true)) TO '{out}'")
    names = {name: name for name in RAW_COLUMNS} | {"log_time": "at"}
    _write_mapping(home / "parquet", files="dt={yyyyMMdd}/*", columns=names, format="parquet")


def _write_mapping(folder: Path, **keys: Any) -> None:
    (folder / "map.yaml").write_text(yaml.safe_dump(keys))
