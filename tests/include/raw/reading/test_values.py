"""Nulls, ids, numbers and lists of a column."""

import pyarrow as pa
import pytest

from include.raw.reading.values import entities, entities_text, numbers, text_of, whole_ids, without_nulls

SEPARATORS = "|;,；，、"


def test_ids_are_whole_numbers_without_padding():
    values = ["007", "12.0", "1.7E12", "-3", "000.0", "", "12.5", "abc", "1e-5", None]
    ids, wrong = whole_ids(pa.array(values))
    assert ids.to_pylist()[:6] == ["7", "12", "1700000000000", "-3", "0", ""]
    assert wrong.tolist() == [False] * 6 + [True] * 3 + [False]


def test_long_ids_keep_every_digit():
    assert whole_ids(pa.array(["0" + "9" * 40 + ".0"]))[0].to_pylist() == ["9" * 40]


@pytest.mark.parametrize(
    ("marks", "text", "number"),
    [
        ((".", ""), " 1e3 ", 1000.0),
        ((",", "."), "1.234,5", 1234.5),
        ((".", ","), "1,234.5", 1234.5),
        ((",", ""), "-0,5", -0.5),
    ],
)
def test_decimal_and_thousands_marks(marks: tuple[str, str], text: str, number: float):
    values, wrong = numbers(pa.array([text, ""]), *marks)
    assert (values.to_pylist(), wrong.any()) == ([number, None], False)


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "high", "0x10", "1_0", "1d", "--1"])
def test_what_is_no_finite_number_is_marked(text: str):
    values, wrong = numbers(pa.array([text, "1"]), ".", "")
    assert (values.to_pylist(), wrong.tolist()) == ([None, 1.0], [True, False])


def test_a_point_is_no_number_where_the_comma_is_the_mark():
    assert numbers(pa.array(["1.5"]), ",", "")[1].tolist() == [True]


def test_lists_are_split_and_trimmed():
    values = [
        "a| b ;c",
        "",
        None,
        '["x, y", "z"]',
        "[p, q]",
        "['r', 's']",
        "[official]shoes[new]",
        "[]",
        "[1, 2]",
        '{food,"a, \\"b\\"",NULL}',
    ]
    assert entities(pa.array(values), SEPARATORS).to_pylist() == [
        ["a", "b", "c"],
        [],
        [],
        ["x, y", "z"],
        ["p", "q"],
        ["r", "s"],
        ["[official]shoes[new]"],
        [],
        ["1", "2"],
        ["food", 'a, "b"'],
    ]


def test_lists_of_parquet_are_taken_as_they_are():
    column = pa.array([["a, b", " c", "", None], None, []], pa.list_(pa.string()))
    assert entities(column, SEPARATORS).to_pylist() == [["a, b", "c"], [], []]


@pytest.mark.parametrize("values", [["a", "b"], ["a, b", "c"], ["[x]"], ["['a']", "b"], []])
def test_lists_come_back_from_raw_files(values: list[str]):
    assert entities(pa.array([entities_text(values, SEPARATORS)]), SEPARATORS).to_pylist() == [values]


def test_null_spellings_and_texts_of_other_types():
    assert without_nulls(pa.array(["\\N", "NULL", "x", ""]), ["\\N", "NULL"]).to_pylist() == [None, None, "x", ""]
    assert text_of(pa.array([True, None])).to_pylist() == ["true", None]
    assert text_of(pa.array([["a", "b"]])).to_pylist() == ['["a", "b"]']
