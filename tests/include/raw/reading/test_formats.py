"""Records of every format: what a file holds comes in cell by cell, or is broken with its reason; lines are conserved."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.reading import delimited
from include.raw.reading.files import read_records
from include.raw.reading.records import Broken, FileCounts
from include.raw.reading.rows import raw_rows

COLUMNS = {"user_id": "u", "item_id": "i", "log_time": "t", "label": "c", "scene": "s", "item_title": "n"}
NAMES = list(COLUMNS.values())
ROW = ["u1", "i1", "2023-07-10 00:00:01", "1", "0", "tea"]


def mapping(**changes: Any) -> Mapping:
    return Mapping.model_validate({"columns": COLUMNS, "names": NAMES, "header": "false", "nulls": []} | changes)


def read(data: bytes, rule: Mapping) -> tuple[list[list[str | None]], list[Broken], FileCounts]:
    """Return the cells of the good records in the order of `NAMES`, the broken records, and the counts."""
    counts = FileCounts()
    rows: list[list[str | None]] = []
    broken: list[Broken] = []
    for records in read_records(io.BytesIO(data), rule, "log", counts):
        broken += records.broken
        rows += [list(row) for row in zip(*(records.columns[name].to_pylist() for name in NAMES), strict=True)]
    return rows, broken, counts


def titles(lines: Sequence[str], **changes: Any) -> list[str | None]:
    rows, broken, _ = read(("\n".join([*lines, ""])).encode(), mapping(**changes))
    assert broken == []
    return [row[5] for row in rows]


def line(title: str, delimiter: str = ",") -> str:
    return delimiter.join([*ROW[:5], title])


def test_lone_quotes_never_swallow_a_line():
    lines = [line("a"), line('"b'), line("c"), line('d "e" f'), line('"g'), line('"h"'), line('5"')]
    rows, broken, counts = read(("\n".join(lines) + "\n").encode(), mapping())
    assert [row[5] for row in rows] == ["a", "c", 'd "e" f', "h", '5"']
    assert [(record.number, record.line) for record in broken] == [(1, 2), (4, 5)]
    assert vars(counts) == {"lines": 7, "blank": 0, "header": 0, "continued": 0, "records": 7}
    assert titles(lines, quote="") == ["a", '"b', "c", 'd "e" f', '"g', '"h"', '5"']


def test_a_quote_that_closes_after_whole_records_is_found_out():
    """The record that it makes has the right number of fields."""
    lines = [line('"begin'), line("swallowed"), line('end"'), line("after")]
    rows, broken, _ = read(("\n".join(lines) + "\n").encode(), mapping())
    assert [row[5] for row in rows] == ["swallowed", 'end"', "after"]
    assert [record.line for record in broken] == [1]


def test_lines_inside_quotes_are_part_of_their_record():
    text = f"{line(chr(34) + 'two' + chr(10) + 'lines, ' + chr(34) * 2 + 'x' + chr(34) * 3)}\n\n{line('next')}\n"
    rows, broken, counts = read(text.encode(), mapping())
    assert ([row[5] for row in rows], broken) == (['two\nlines, "x"', "next"], [])
    assert vars(counts) == {"lines": 4, "blank": 1, "header": 0, "continued": 1, "records": 2}


def test_escapes_of_databases():
    lines = [
        "u1\ti1\tt\t1\t0\tC:\\\\tea\\tcup\\\\",
        "u1\ti1\tt\t1\t0\t\\N",
        "u1\ti1\tt\t1\t0\ttwo\\\nlines",
        "u\\\t1\ti1\tt\t1\t0\tN",
    ]
    rows, broken, _ = read(("\n".join(lines) + "\n").encode(), mapping(delimiter="tab", quote="", escape="\\"))
    assert broken == []
    assert [row[5] for row in rows] == ["C:\\tea\tcup\\", None, "two\nlines", "N"]
    assert rows[3][0] == "u\t1"


escaped = st.sampled_from(
    [r"\N", r"\N", r"a\N", r"\\N", r"\Nb", "\\\n", "\\\t", r"\\", r"\x", "\ufeff", "N", '"', "", "é", "a"]
)


@examples(200)
@given(
    st.lists(escaped, min_size=1, max_size=30), st.sampled_from(["\n", "\r\n"]), st.sampled_from("\t,N"), st.booleans()
)
def test_runs_of_plain_lines_are_read_as_single_lines_are(texts: list[str], end: str, delimiter: str, cut: bool):
    data = (end.join(line(text, delimiter) for text in ["first", *texts]) + ("" if cut else end)).encode()
    rule = mapping(delimiter=delimiter, quote="", escape="\\")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_LINES_LIKE_A_RUN", 0)
        in_runs = read(data, rule)
        patch.setattr(delimited._Delimited, "_is_plain", lambda *_: False)
        assert in_runs == read(data, rule)


def test_escapes_inside_quotes():
    lines = [line('"the \\"best\\", \\\\"'), line("a\\, b"), line('"\\N"')]
    assert titles(lines, escape="\\") == ['the "best", \\', "a, b", "N"]
    assert titles([line('"the \\"best\\""'), line("C:\\new")], escape="quote") == ['the "best"', "C:\\new"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "gb18030", "utf-8-sig"])
@pytest.mark.parametrize("header", [True, False])
def test_encodings_and_byte_order_marks(encoding: str, header: bool):
    text = (",".join(NAMES) + "\n" if header else "") + line("龙井茶") + "\n" + line('"碧螺春, 好"') + "\n"
    data = (b"\xff\xfe" if encoding == "utf-16-le" else b"") + text.encode(encoding)
    rows, broken, _ = read(data, mapping(encoding=encoding.removesuffix("-sig"), header="auto"))
    assert (broken, rows) == ([], [[*ROW[:5], "龙井茶"], [*ROW[:5], "碧螺春, 好"]])


def test_bytes_of_no_encoding_reject_their_row_alone():
    data = "".join(line(title) + "\n" for title in ("用户", "会员")).encode("gb18030") + (line("plain") + "\n").encode()
    rows, broken, _ = read(data, mapping())
    assert ([row[5] for row in rows], [record.reason for record in broken]) == (["plain"], ["not_of_the_encoding"] * 2)
    assert broken[1].text.endswith(r",0,\xbb\xe1Ա")  # what of it happens to be UTF-8 stays


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_files_of_several_compressed_parts(compress: Any):
    data = b"".join(compress((line(title) + "\n").encode()) for title in ("a", "b", "c"))
    assert [row[5] for row in read(data, mapping())[0]] == ["a", "b", "c"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_are_no_part_of_a_value(end: str):
    rows, broken, counts = read((line("a") + end + line('"b"') + end + line("c")).encode(), mapping())
    assert ([row[5] for row in rows], broken, counts.lines) == (["a", "b", "c"], [], 3)


def test_json_of_other_keys_is_no_record_and_a_file_of_it_is_refused():
    """Not a row of nulls, whose content nobody would see."""
    rule = mapping(format="json")
    good = json.dumps(dict(zip(NAMES, ROW, strict=True)))
    rows, broken, counts = read(f'{good}\n{{"user": 1}}\n{{}}\n{{"c": null}}\n'.encode(), rule)
    assert (len(rows), counts.records) == (2, 4)
    assert [(record.line, record.text) for record in broken] == [(2, '{"user": 1}'), (3, "{}")]
    for text in ('{"user": 1}', '{"user": 1}\n{"user": 2}\n{\n'):
        with pytest.raises(
            InvalidInputError, match="none of the columns of the mapping: expected keys such as u, i, t"
        ):
            read(text.encode(), rule)


def test_a_long_line_and_zero_bytes_come_in_whole():
    assert titles([line("x" * 3_000_000), line("a\0b"), line('"\0"')]) == ["x" * 3_000_000, "a\0b", "\0"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_a_truncated_file_is_an_error(compress: Any):
    data = compress(line("a").encode() * 99)[:-9]
    with pytest.raises(InvalidInputError, match=r"log cannot be read to its end: expected a complete csv file"):
        read(data, mapping())


def test_json_lines_with_nested_fields():
    rule = mapping(format="json", header="auto", columns=COLUMNS | {"user_id": "user.id", "query_entity_seq": "q"})
    rows = [
        {
            "user": {"id": 12345678901234567890},
            "i": "i1",
            "t": 1688947200.25,
            "c": True,
            "s": 0,
            "n": None,
            "q": ["a,b", "c"],
        },
        {"user.id": "x", "i": 1.50, "t": "", "c": "1", "s": "0", "n": "two\nlines", "q": None},
    ]
    text = "\n".join([*map(json.dumps, rows), "", "{broken", "[1]", ""]).encode()
    counts = FileCounts()
    [records] = read_records(io.BytesIO(text), rule, "log", counts)
    assert records.columns["user.id"].to_pylist() == ["12345678901234567890", "x"]
    assert [records.columns[name].to_pylist() for name in "itcsn"] == [
        ["i1", "1.5"],
        ["1688947200.25", ""],
        ["true", "1"],
        ["0", "0"],
        [None, "two\nlines"],
    ]
    assert raw_rows(records, rule, "|,").entities["query_entity_seq"].to_pylist() == [["a,b", "c"], []]
    assert [(record.line, record.text) for record in records.broken] == [(4, "{broken"), (5, "[1]")]
    assert vars(counts) == {"lines": 5, "blank": 1, "header": 0, "continued": 0, "records": 4}


@pytest.mark.parametrize("form", ["parquet", "orc"])
def test_columns_of_parquet_and_orc(form: str):
    table = pa.table(
        {
            "user": pa.array([{"id": 1}, {"id": 2}]),
            "i": pa.array([b"x", b"y"]),
            "t": pa.array([datetime(2023, 7, 10, 1, 2, 3, 500_000), None], pa.timestamp("us")),
            "c": pa.array([True, False]),
            "s": pa.array([3, 4], pa.int8()),
            "n": pa.array(["tea", None]),
            "q": pa.array([["a, b", "c"], None], pa.list_(pa.string())),
            "d": pa.array([1.5, float("nan")]),
        }
    )
    sink = io.BytesIO()
    parquet.write_table(table, sink) if form == "parquet" else orc.write_table(table, sink)
    rule = mapping(
        format=form,
        header="auto",
        columns=COLUMNS | {"user_id": "user.id", "query_entity_seq": "q", "deep_features_0": "d"},
    )
    counts = FileCounts()
    [records] = read_records(io.BytesIO(sink.getvalue()), rule, "log", counts)
    rows = raw_rows(records, rule, "|,")
    assert [row[:4] for row in rows.canonical_rows("|,")] == [
        ("1", "x", "2023-07-10 01:02:03.500000", "1"),
        ("2", "y", "", "0"),
    ]
    assert rows.entities["query_entity_seq"].to_pylist() == [["a, b", "c"], []]
    assert (rows.deep["deep_features_0"].to_pylist(), rows.wrong_numbers.any()) == ([1.5, None], False)
    with pytest.raises(InvalidInputError, match=r"expected column 'nowhere', which is missing.*It has: user, i"):
        list(
            read_records(
                io.BytesIO(sink.getvalue()),
                mapping(format=form, header="auto", columns=COLUMNS | {"item_title": "nowhere"}),
                "log",
                counts,
            )
        )


@pytest.mark.parametrize(("head", "kind"), [(b"PK\x03\x04", "zip"), (b"\0" * 257 + b"ustar", "tar")])
def test_an_archive_is_refused_with_what_to_do(head: bytes, kind: str):
    for data in (head + b"\0" * 300, gzip.compress(head + b"\0" * 300)):
        with pytest.raises(InvalidInputError, match=f"found a {kind} archive.*Unpack it first"):
            read(data, mapping())


text = st.text(st.sampled_from('ab,"\\\n\r\t\0 é龙😀|'), max_size=6)


@examples(60)
@given(st.lists(st.lists(text, min_size=2, max_size=2), min_size=1, max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_fields_come_in_as_pythons_writer_wrote_them(cells: list[list[str]], end: str):
    """Or are broken, and then so many lines are not conserved by chance: every field is compared."""
    import csv

    out = io.StringIO(newline="")
    rows = [[*ROW[:4], *row] for row in cells]
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found, broken, counts = read(out.getvalue().encode(), mapping())
    assert (found, broken) == (rows, [])
    assert counts.records == len(rows)
