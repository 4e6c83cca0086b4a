"""What `ctr map` guesses of a log: its form, its columns, its values, its paths."""

import bz2
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping, read_mapping
from include.raw.draft_mapping import Draft, draft_mapping
from include.raw.drafting.check import check_mapping
from include.raw.drafting.document import draft_text
from include.setting_groups import PROJECT

pytestmark = pytest.mark.usefixtures("home")

CASES = PROJECT.parent / "shared/cases"
TITLES = ["red shoes", "milk, 1 l", 'a "big" box', "taxi ride"]


def frame(rows: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "uid": [f"u{n % 23}" for n in range(rows)],
            "sku": [f"i{n % 17}" for n in range(rows)],
            "ts": [f"2023-07-17 0{n % 10}:{n % 60:02}:01" for n in range(rows)],
            "clicked": [int(n % 9 == 0) for n in range(rows)],
            "name": [TITLES[n % 4] for n in range(rows)],
            "channel": [["home", "search"][n % 2] for n in range(rows)],
            "price": [round(n * 1.37 + 0.5, 2) for n in range(rows)],
        }
    )


SOURCES = {
    "user_id": "uid",
    "item_id": "sku",
    "log_time": "ts",
    "label": "clicked",
    "item_title": "name",
    "scene": "channel",
    "deep_features_0": "price",
}


def draft_of(path: Path, content: bytes | str) -> Draft:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return draft_mapping([str(path)])


def validated(home: Path, draft: Draft) -> Mapping:
    """Return the mapping that is in the draft's YAML."""
    (home / "draft.yaml").write_text(draft_text(draft), encoding="utf-8")
    mapping = read_mapping(str(home / "draft.yaml"))
    assert mapping == Mapping.model_validate(draft.settings())
    return mapping


def sources(draft: Draft) -> dict[str, str]:
    return {role: choice.source for role, choice in draft.roles.choices.items() if choice.source}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (lambda table: table.to_csv(index=False), {"delimiter": ",", "encoding": "utf-8", "header": "true"}),
        (lambda table: table.to_csv(), {"delimiter": ","}),
        (lambda table: table.to_csv(index=False, sep="\t"), {"delimiter": "\t", "quote": '"'}),
        (lambda table: table.to_csv(index=False, sep=";", decimal=","), {"delimiter": ";", "decimal": ","}),
        (lambda table: table.to_csv(index=False, sep="|"), {"delimiter": "|"}),
        (lambda table: table.to_csv(index=False, sep="\x01"), {"delimiter": "\x01"}),
        (lambda table: gzip.compress(table.to_csv(index=False).encode()), {"delimiter": ","}),
        (lambda table: bz2.compress(table.to_csv(index=False).encode()), {"delimiter": ","}),
        (lambda table: table.to_csv(index=False).encode("utf-16"), {"encoding": "utf-16"}),
        (lambda table: table.to_csv(index=False).encode("utf-16-be"), {"encoding": "utf-16-be"}),
        (lambda table: table.to_csv(index=False).encode("utf-8-sig"), {"encoding": "utf-8"}),
        (lambda table: table.assign(name="红色 鞋子").to_csv(index=False).encode("gb18030"), {"encoding": "gb18030"}),
        (lambda table: table.to_json(orient="records", lines=True), {"format": "json"}),
    ],
    ids=[
        "csv",
        "index",
        "tab",
        "semicolon",
        "pipe",
        "ctrl-A",
        "gzip",
        "bzip2",
        "utf-16",
        "utf-16-be",
        "bom",
        "gb18030",
        "json",
    ],
)
def test_any_form_of_the_same_log_gives_the_same_columns(
    home: Path, content: Callable[[pd.DataFrame], Any], keys: dict[str, str]
):
    draft = draft_of(home / "log", content(frame()))
    assert draft.undecided == []
    assert sources(draft) == SOURCES
    assert {key: draft.keys[key] for key in keys} == keys
    check = check_mapping([str(home / "log")], validated(home, draft))
    assert sum(check.days.values()) == 60
    assert check.rejections == {}
    assert check.labels == {"0": 53, "1": 7}


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_typed_files_keep_their_times_and_lists(home: Path, kind: str):
    table = pa.Table.from_pandas(frame().assign(ts=pd.Timestamp("2023-07-17 01:02:03"), history=[["a", "b"]] * 60))
    (parquet if kind == "parquet" else orc).write_table(table, home / "log")
    draft = draft_mapping([str(home / "log")])
    assert sources(draft) == SOURCES | {"service_entity_seq": "history"}
    check = check_mapping([str(home / "log")], validated(home, draft))
    assert check.days == {"2023-07-17": 60}
    assert check.rows[0]["service_entity_seq"] == "a,b"


def test_json_has_dotted_names_epochs_and_booleans(home: Path):
    records = [
        {
            "user": {"id": n % 7, "tags": ["x"]},
            "item": {"id": n, "title": "a b"},
            "event": {"ts": 1689552000000 + n, "click": n == 3},
        }
        for n in range(30)
    ]
    draft = draft_of(home / "log", "".join(json.dumps(record) + "\n" for record in records))
    assert sources(draft) == {
        "user_id": "user.id",
        "item_id": "item.id",
        "log_time": "event.ts",
        "label": "event.click",
        "item_title": "item.title",
        "service_entity_seq": "user.tags",
    }
    assert draft.keys["time"]["formats"] == ["epoch_milliseconds"]
    assert sum(check_mapping([str(home / "log")], validated(home, draft)).days.values()) == 30


def test_without_a_header_values_decide_and_are_marked(home: Path):
    draft = draft_of(home / "log", frame().drop(columns="channel").to_csv(index=False, header=False))
    assert draft.keys["names"] == ["user_id", "item_id", "log_time", "label", "item_title", "deep_features_0"]
    assert all(draft.roles.choices[name].is_guess for name in ("user_id", "item_id", "log_time", "label", "item_title"))
    assert "CHECK, guessed" in draft_text(draft)
    assert validated(home, draft).header == "false"


@pytest.mark.parametrize("missing", ["uid", "sku", "ts", "clicked"])
def test_a_column_that_is_not_found_must_be_filled_in(home: Path, missing: str):
    draft = draft_of(home / "log", frame().drop(columns=missing).to_csv(index=False))
    role = next(role for role, name in SOURCES.items() if name == missing)
    assert draft.undecided == [f"columns.{role}"]
    assert re.search(f"# {role}: COLUMN <<< FILL IN", draft_text(draft))
    with pytest.raises(InvalidInputError, match=rf"{role} must be mapped|FILL IN"):
        validated(home, draft)


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"clicked": lambda t: t.clicked.map({0: "no", 1: "yes"})}, {"labels": {"no": "0", "yes": "1"}}),
        (
            {"uid": lambda t: [f"{1 + n % 9}{'.0' * (n % 2)}" for n in range(60)], "sku": lambda t: range(60)},
            {"ids": "integer"},
        ),
        (
            {"uid": lambda t: range(60), "sku": lambda t: [f"{n % 9:0{1 + n % 3}}" for n in range(60)]},
            {"ids": "integer"},
        ),
        ({"name": lambda t: ["\\N", "NULL", "nan", "a b"] * 15}, {"nulls": ["\\N", "NULL", "nan"]}),
        ({"price": lambda t: ["NA", *map(str, range(59))]}, {"nulls": ["NA"]}),
        ({"price": lambda t: [f"{n + 1},{n:03}.5" for n in range(60)]}, {"thousands": ","}),
        (
            {"ts": lambda t: ["17/07/2023 01:02:03"] * 60},
            {"time": {"formats": ["%d/%m/%Y %H:%M:%S"], "zone": "UTC", "day_zone": ""}},
        ),
    ],
)
def test_spellings_of_values_are_proposed(home: Path, values: dict[str, Any], keys: dict[str, Any]):
    draft = draft_of(home / "log", frame().assign(**values).to_csv(index=False))
    assert {key: draft.keys[key] for key in keys} == keys
    check = check_mapping([str(home / "log")], validated(home, draft))
    assert {*check.rejections} <= {"unknown_scene"}


def test_ids_of_one_column_alone_are_noted(home: Path):
    draft = draft_of(
        home / "log", frame().assign(uid=[f"{n % 9}{'.0' * (n % 2)}" for n in range(60)]).to_csv(index=False)
    )
    assert "ids" not in draft.keys
    assert "user_id: a number is written in several ways" in draft.notes[0]


def test_a_user_called_na_is_no_null(home: Path):
    draft = draft_of(home / "log", frame().assign(uid=["NA", *["u"] * 59]).to_csv(index=False))
    assert "nulls" not in draft.keys
    assert "add them if they are nulls: 'NA' 1 times" in draft_text(draft)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"ts": lambda t: ["07/07/2023 01:02"] * 60}, "time.formats"),
        ({"price": lambda t: [f"{n + 1},{n:03}" for n in range(60)]}, "decimal"),
        ({"name": lambda t: ["C:\\new"] * 60}, "escape"),
    ],
)
def test_what_can_be_read_in_two_ways_is_asked(home: Path, change: dict[str, Any], key: str):
    draft = draft_of(home / "log", frame().assign(**change).to_csv(index=False))
    assert draft.undecided == [key]
    with pytest.raises(InvalidInputError, match=key.split(".")[-1]):
        validated(home, draft)


def test_lone_quotes_and_escapes_are_told_by_what_the_reader_makes_of_them(home: Path):
    lone = "".join(f"u{n}\ti{n}\t2023-07-17 00:00:00\t0\t" + '"' * (n % 2) + "tools 5\n" for n in range(40))
    escaped = "uid,sku,ts,click,title\n" + "".join(f"u{n},i{n},2023-07-17 00:00:00,0,case\\, {n}\n" for n in range(40))
    spark = "uid,sku,ts,click,title\n" + "".join(
        f'u{n},i{n},2023-07-17 00:00:00,0,"a \\"{n}\\", b"\n' for n in range(40)
    )
    found = [draft_of(home / "log", text).keys for text in (lone, escaped, spark)]
    assert [(keys["quote"], keys["escape"]) for keys in found] == [("", ""), ('"', "\\"), ('"', "quote")]


def test_a_lone_quote_far_from_the_beginning_counts(home: Path):
    lines = [f"u{n}\ti{n}\t2023-07-17 00:00:00\t0\t" + '"' * (n in (3000, 3500)) + "tools 5\n" for n in range(4000)]
    assert draft_of(home / "log", "".join(lines)).keys["quote"] == ""


def test_a_sequence_that_differs_for_one_item_is_of_the_user(home: Path):
    of_item, of_user = ([f"t{n % by}|x" for n in range(60)] for by in (17, 7))
    draft = draft_of(home / "log", frame().assign(a=of_user, b=of_item).to_csv(index=False))
    assert {role: sources(draft)[role] for role in ("item_entity_names", "service_entity_seq")} == {
        "item_entity_names": "b",
        "service_entity_seq": "a",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "only blank lines"),
        (b"a\n1\n2\n", "no delimiter"),
        (b"uid,sku,ts,click\n", "a header and no record"),
        (bytes(range(256)) * 40, "is no text"),
        (b'[{"a": 1}]', "one JSON document"),
        (b"[\n{}\n]", "one JSON document"),
        (gzip.compress(b"a,b\n" * 999, mtime=0)[:-9], "complete file"),
        (b"PK\x03\x04" + b"\0" * 99, "zip archive"),
        (b"x" * 6_000_000, "no delimiter"),
    ],
)
def test_what_is_no_log_is_refused_with_a_reason(home: Path, content: bytes, message: str):
    with pytest.raises(InvalidInputError, match=message):
        draft_of(home / "log", content)


def test_one_row_is_enough_where_names_tell(home: Path):
    draft = draft_of(home / "log", "uid,sku,ts,click\nu1,5,2023-07-17 01:02:03,1\n")
    assert check_mapping([str(home / "log")], validated(home, draft)).days == {"2023-07-17": 1}


def test_names_of_columns_may_be_anything(home: Path):
    names = ["用户ID", "SKU", "Event Time", "是否点击", 'a "quote": #1', "x\x85y"]
    table = frame()[["uid", "sku", "ts", "clicked", "price", "price"]].set_axis(names, axis=1)
    draft = draft_of(home / "log", table.to_csv(index=False))
    assert [*sources(draft).values()] == names
    validated(home, draft)


def test_files_with_and_without_a_header_are_read_as_such(home: Path):
    frame().to_csv(home / "a", index=False)
    frame().to_csv(home / "b", index=False, header=False)
    draft = draft_mapping([str(home / "a"), str(home / "b")])
    assert draft.keys["header"] == "auto"
    assert sum(check_mapping([str(home / "a"), str(home / "b")], validated(home, draft)).days.values()) == 120


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize(
    "case", ["lone_quotes/log.tsv", "nulls_and_escapes/log.csv", "ids_as_floats/log.csv", "zone_in_time/log.csv",
             "scene_names/log.csv",
             "coarse_times/log.csv", "rejected_share/log.csv", "byte_order_mark/header.csv", "byte_order_mark/no_header.csv"]
)  # fmt: skip
def test_no_row_of_the_shared_cases_is_lost_or_misread(home: Path, case: str):
    draft = draft_mapping([str(CASES / case)])
    check = check_mapping([str(CASES / case)], validated(home, draft))
    [file] = check.files
    assert file.counts.lines == file.counts.records + file.counts.header
    assert {*check.rejections} <= {"unknown_scene", "missing_user_id"}
