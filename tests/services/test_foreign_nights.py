"""Nights of Airflow on logs of other forms than the project's own: every cell of the log and of training is as from CSV."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from environment import environment
from pyarrow import orc, parquet
from real_services import FIRST

from include.airflow_control import demo
from include.lake.lake import Lake, get_lake
from include.orchestration.spark_submit import submit
from include.records import Decision
from include.registry import registry
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_COLUMNS
from include.settings import get_settings

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(1800)]

DAYS = [FIRST + timedelta(days=n) for n in range(4)]
NIGHT = DAYS[-1]
ROWS = "2500"
ENTITIES = {name: f"tags.{name}" for name in ENTITY_COLUMNS}
SPECIAL = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


@dataclass(frozen=True)
class Form:
    """A mapping, and what writes a day's rows (text, as in the project's CSV) below the root of the raw logs."""

    mapping: dict[str, Any]
    write: Callable[[Path, date, pd.DataFrame], None]


def _times(rows: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(rows["log_time"], format="mixed").dt.tz_localize("Asia/Shanghai")


def _lists(rows: pd.DataFrame, name: str) -> list[list[str] | None]:
    marks = f"[{re.escape(get_settings().entity_separators)}]"
    return [[part.strip() for part in re.split(marks, text)] if text else None for text in rows[name]]


def _numbers(rows: pd.DataFrame, name: str) -> list[float | None]:
    return [float(text) if text else None for text in rows[name]]


def write_parquet(root: Path, day: date, rows: pd.DataFrame) -> None:
    """Lists, a struct, a timestamp in UTC of days in Shanghai, numbers; two row groups."""
    columns: dict[str, Any] = {
        "user": [{"id": text} for text in rows["user_id"]],
        "item_id": rows["item_id"],
        "at": pa.array(_times(rows).dt.tz_convert("UTC"), pa.timestamp("ms", "UTC")),
        "label": [text == "1" for text in rows["label"]],
        "scene": pa.array(rows["scene"].astype(int), pa.int16()),
        "title": [text or None for text in rows["item_title"]],
        **{name: _lists(rows, name) for name in ENTITY_COLUMNS},
        **{name: _numbers(rows, name) for name in DEEP_FEATURES},
    }
    folder = root / f"{day:%Y/%m/%d}"
    folder.mkdir(parents=True)
    parquet.write_table(pa.table(columns), folder / "part-0.snappy.parquet", row_group_size=len(rows) // 2)


def write_json(root: Path, day: date, rows: pd.DataFrame) -> None:
    """Nested objects, keys left out where there is nothing, several compressed files in one folder."""
    lines = []
    lists = {name: _lists(rows, name) for name in ENTITY_COLUMNS}
    for number, (at, row) in enumerate(zip(_times(rows), rows.to_dict("records"), strict=True)):
        numbers = {name: float(row[name]) for name in DEEP_FEATURES if row[name]}
        record = {
            "who": {"id": row["user_id"]},
            "what": {"id": row["item_id"], "title": row["item_title"]},
            "at": at.isoformat(),
            "page": row["scene"],
            "clicked": row["label"] == "1",
            "tags": {name: entities for name in ENTITY_COLUMNS if (entities := lists[name][number])},
            "x": numbers,
        }
        lines.append(json.dumps(record, ensure_ascii=bool(len(lines) % 2)))
    root.mkdir(exist_ok=True)
    for part in (0, 1):
        text = "\n".join([*lines[part::2], ""]).encode()
        (root / f"impressions-{day:%Y%m%d}-{part}.json.gz").write_bytes(gzip.compress(text))


def write_tabs(root: Path, day: date, rows: pd.DataFrame) -> None:
    """As a database's dump: no header, epochs in milliseconds, `\\N`, backslashes, a folder an hour."""
    times = _times(rows)
    epochs = (times.astype("int64") // 10**6).astype(str)
    for hour, part in rows.assign(log_time=epochs).groupby(times.dt.hour):
        folder = root / f"dt={day:%Y%m%d}" / f"hour={hour:02}"
        folder.mkdir(parents=True)
        lines = (
            "\t".join(_escaped(text) if text else "\\N" for text in row) for row in part[list(RAW_COLUMNS)].to_numpy()
        )
        (folder / "000000_0").write_text("\n".join([*lines, ""]), newline="")


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)


_ZONE = {"zone": "Asia/Shanghai"}
FORMS = {
    "Parquet": Form(
        {
            "files": "{yyyy}/{MM}/{dd}/*.parquet",
            "format": "parquet",
            "columns": {name: name for name in RAW_COLUMNS}
            | {"user_id": "user.id", "log_time": "at", "item_title": "title"},
            "time": _ZONE,
            "scenes": ["0", "1", "2", "3", "4"],
        },
        write_parquet,
    ),
    "JSON": Form(
        {
            "files": "impressions-{yyyyMMdd}-*.json.gz",
            "format": "json",
            "columns": {
                "user_id": "who.id",
                "item_id": "what.id",
                "item_title": "what.title",
                "log_time": "at",
                "scene": "page",
                "label": "clicked",
                **ENTITIES,
                **{name: f"x.{name}" for name in DEEP_FEATURES},
            },
            "time": _ZONE,
        },
        write_json,
    ),
    "tabs": Form(
        {
            "files": "dt={yyyyMMdd}/hour={HH}/*",
            "columns": {name: name for name in RAW_COLUMNS},
            "names": list(RAW_COLUMNS),
            "header": "false",
            "delimiter": "tab",
            "quote": "",
            "escape": "\\",
            "time": {"formats": ["epoch_milliseconds"], **_ZONE},
        },
        write_tabs,
    ),
}


def contents(lake: Lake, table: str) -> list[str]:
    """The rows of the night's table as sorted text, without what names the file that they came from."""
    found = []
    for path in lake.fs.find(lake.table_path(table, NIGHT, "a test")):
        if path.endswith(".orc"):
            with lake.fs.open(path, "rb") as file:
                frame = orc.ORCFile(file).read().to_pandas()
            folder = path.rsplit("/", 2)[1]
            frame["scene"] = folder.removeprefix("scene=") if "scene=" in folder else frame.get("scene")
            found.append(frame.drop(columns=["event_id", "source_file", "source_row"], errors="ignore"))
    rows = pd.concat(found)
    columns = sorted(rows.columns)
    return sorted(rows[columns].astype(str).agg("\t".join, axis=1))


@pytest.fixture(scope="module")
def as_csv(tmp_path_factory) -> Iterator[tuple[Path, Lake]]:
    """The generated log in the project's own form, with texts that need escapes, and its tables."""
    home = tmp_path_factory.mktemp("csv")
    with environment({"CTR_HOME": str(home)}):
        demo.ctr("sample", "--from", str(DAYS[0]), "--days", str(len(DAYS)), "--rows-per-day", ROWS)
        for file in sorted((home / "raw").rglob("*.csv*")):
            rows = pd.read_csv(file, dtype=str, keep_default_na=False)
            rows.loc[rows.index % 97 == 0, "item_title"] += ' 5" \\ tab\t| "x", y\nz'
            rows.to_csv(file, index=False)
        for _ in submit("history", DAYS[0], DAYS[-1]):
            pass
        yield home / "raw", get_lake()


@pytest.mark.parametrize("name", FORMS)
def test_a_night_promotes_the_model_of_a_foreign_log(as_csv, tmp_path: Path, name: str):
    raw, lake = as_csv
    form = FORMS[name]
    for day in DAYS:
        files = sorted((raw / f"date={day}").glob("*.csv*"))
        rows = pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files])
        form.write(tmp_path / "log", day, rows[list(RAW_COLUMNS)])
    (tmp_path / "my-log.yaml").write_text(yaml.safe_dump(form.mapping))
    own = {
        "CTR_HOME": str(tmp_path / "home"),
        "CTR_RAW": f"file://{tmp_path}/log",
        "CTR_RAW_MAPPING": str(tmp_path / "my-log.yaml"),
    }
    with environment(own):
        demo.use_small_log_settings(
            {"CTR_LLM_MAX_TEXTS": "8", "CTR_BOOTSTRAP_RESAMPLES": "100", "CTR_RAW_COMPLETE": "quiet:0"}
        )
        demo.load_history(DAYS[:-1])
        outcome = demo.nightly([NIGHT])[NIGHT]
        assert (outcome.failures, outcome.state) == ({}, "success")
        assert get_lake().record(Decision, NIGHT).promoted is True
        assert registry.champion().log_day == NIGHT
        for table in ("logs", "training"):
            expected = contents(lake, table)
            assert contents(get_lake(), table) == expected
            assert len(expected) == int(ROWS)
