import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from shop_log import SHOP, mapping

from include.errors import InvalidInputError
from include.mapping.file_pattern import REJECTS
from include.mapping.mapping import read_mapping
from include.raw.deliveries import Raw
from include.raw.log_import import import_log
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

pytestmark = pytest.mark.usefixtures("home")

SHOP_HEADER = "uid\tproduct\tat\tclicked\tname\tsearches\textra\n"


def raw_rows() -> dict[str, list[dict[str, str]]]:
    raw = Raw()
    found: dict[str, list[dict[str, str]]] = {}
    for day in raw.days():
        for path in raw.day_files(day):
            if path.endswith(REJECTS):
                continue
            text = gzip.decompress(Path(raw.full(path)).read_bytes()).decode()
            found.setdefault(str(day), []).extend(csv.DictReader(io.StringIO(text, newline="")))
    return found


def rejected() -> dict[str, list[dict[str, str]]]:
    """Return the rejected records by day."""
    raw = Raw()
    return {
        str(day): [json.loads(line) for line in gzip.decompress(Path(raw.full(path)).read_bytes()).splitlines()]
        for day in raw.days()
        for path in raw.day_files(day)
        if path.endswith(REJECTS)
    }


def antm2c_record(user: str, time: str, title: str = "t", scene: str = "2") -> list[str]:
    return [user, "i", time, "1", "", "", "咖啡|coffee", "a|b", title, scene, *(["0.5"] * 27)]


def as_csv(records: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def test_columns_times_zones_constants_and_labels_are_mapped(home: Path):
    path = home / "shop.tsv"
    path.write_text(SHOP_HEADER + "u\tp\t18.07.2023 07:30\ttrue\tA, b\tx|y\t?\nu\tp\t1689638400\tfalse\tB\t\t?\n")
    [report] = import_log([str(path)], mapping(home))
    found = raw_rows()
    assert set(found) == {"2023-07-18"}
    first, second = found["2023-07-18"]
    assert tuple(first) == RAW_COLUMNS
    assert first["log_time"] == "2023-07-18 07:30:00"
    assert (first["label"], first["scene"], first["item_title"], first["query_entity_seq"]) == ("1", "0", "A, b", "x|y")
    assert second["log_time"] == "2023-07-18 08:00:00"  # an epoch, in the zone of the log's days
    assert report.imported.rows_written == 2


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("name", ["antm2c_10m_part0", "antm2c_10m_part0.csv.gz"])
def test_published_antm2c_files_import_with_or_without_header(home: Path, header: bool, name: str):
    records = [antm2c_record("u1", "2023-07-10 23:59:59", 'a "b",\nc\rd'), antm2c_record("u2", "2023/7/11 0:05")]
    data = b"\xef\xbb\xbf" + as_csv([list(RAW_COLUMNS), *records] if header else records)
    (home / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    [report] = import_log([str(home / name)], read_mapping("antm2c"))
    found = raw_rows()
    assert report.imported.days == {"2023-07-10": 1, "2023-07-11": 1}
    assert found["2023-07-10"][0]["item_title"] == 'a "b",\nc\rd'
    assert found["2023-07-10"][0]["query_entity_seq"] == "咖啡|coffee"
    assert found["2023-07-11"][0]["log_time"] == "2023-07-11 00:05:00"


def test_rows_that_belong_to_no_day_are_kept_with_their_reason(home: Path):
    good = as_csv([antm2c_record("u", "2023-07-10 00:00:00")])
    bad_time, short = as_csv([antm2c_record("u", "soon")]), as_csv([["u", "i"]])
    bad_bytes = as_csv([antm2c_record("u?", "2023-07-10 00:00:00")]).replace(b"u?", b"u\xff")
    (home / "log.csv").write_bytes(good + bad_time + b"\n" + short + bad_bytes + good)
    [report] = import_log([str(home / "log.csv")], read_mapping("antm2c"))
    assert (report.imported.rows_in, report.imported.rows_written, report.imported.rejects) == (5, 2, 3)
    rows = rejected()["2023-07-10"]
    assert [row["row"] for row in rows] == [1, 2, 3]
    assert [row["line"] for row in rows] == [2, 4, 5]
    assert [row["reason"] for row in rows] == ["timestamp_unparsable", "malformed_record", "not_of_the_encoding"]
    assert "found 'soon'" in rows[0]["fault"]
    assert (rows[1]["fault"], rows[1]["record"]) == ("expected 37 fields, found 2", "u,i")
    assert "utf-8" in rows[2]["fault"]
    assert rows[2]["record"].startswith("u\\xff,i")
    assert "blank" not in report.reasons
    assert vars(report.counts) == {"lines": 6, "blank": 1, "header": 0, "continued": 0, "records": 5}


@examples(25)
@given(
    records=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
            st.sampled_from(["2023-07-10 01:02:03", "2023/7/9 1:02", "2023-13-01 00:00:00", "", "2023-07-11 23:59:59"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_every_row_is_written_to_its_day_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]]
):
    folder = tmp_path_factory.mktemp("log")
    records = [*records, ("last", "2023-07-11 00:00:00")]
    (folder / "log.csv").write_bytes(as_csv([antm2c_record("u", time, title) for title, time in records]))
    raw = Raw(f"file://{folder}/raw")
    [report] = import_log([str(folder / "log.csv")], read_mapping("antm2c"), raw=raw)
    titles = []
    for day in raw.days():
        for path in raw.day_files(day):
            if path.endswith(REJECTS):
                continue
            text = gzip.decompress(Path(raw.full(path)).read_bytes()).decode()
            written = list(csv.DictReader(io.StringIO(text, newline="")))
            assert {row["log_time"][:10] for row in written} == {str(day)}
            titles += [row["item_title"] for row in written]
    good = [title for title, time in records if time and "-13-" not in time]
    assert sorted(titles) == sorted(good)
    assert report.imported.rejects == len(records) - len(good)


def test_importing_again_replaces_and_removes_days_and_rejects(home: Path):
    """Remove those that the input no longer has."""
    path = home / "log.csv"
    path.write_bytes(as_csv([antm2c_record("a", "2023-07-10 00:00:00"), antm2c_record("b", "never")]))
    import_log([str(path)], read_mapping("antm2c"))
    path.write_bytes(as_csv([antm2c_record("c", "2023-07-11 00:00:00")]))
    import_log([str(path)], read_mapping("antm2c"))
    assert {day: [row["user_id"] for row in rows] for day, rows in raw_rows().items()} == {"2023-07-11": ["c"]}
    assert rejected() == {}
    assert len(Raw().names("_imports")) == 1


def test_several_inputs_share_days(home: Path):
    for part in "01":
        (home / f"part{part}").write_bytes(as_csv([antm2c_record(part, "2023-07-10 00:00:00")]))
    import_log([str(home / "part0"), str(home / "part1")], read_mapping("antm2c"))
    assert sorted(row["user_id"] for row in raw_rows()["2023-07-10"]) == ["0", "1"]


def test_a_file_never_replaces_what_came_from_another(home: Path):
    """Not one of the same name in another folder, nor one whose name differs by its date only."""
    paths = [
        "a/logs/log.csv",
        "b/logs/log.csv",
        "a/logs/log.2023-07-17.csv",
        "a/logs/log.2023-07-18.csv",
        "a/logs/log-csv",
    ]
    for path in paths:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(as_csv([antm2c_record(path, "2023-07-10 00:00:00")]))
        import_log([str(home / path)], read_mapping("antm2c"))
    assert sorted(row["user_id"] for row in raw_rows()["2023-07-10"]) == sorted(paths)


def test_the_same_content_from_another_place_is_there_once(home: Path):
    for place in ("old", "new"):
        (home / place).write_bytes(as_csv([antm2c_record("u", "2023-07-10 00:00:00")]))
        import_log([str(home / place)], read_mapping("antm2c"))
    assert len(raw_rows()["2023-07-10"]) == 1
    with pytest.raises(InvalidInputError, match=r"new has the same content as .*old: give it once"):
        import_log([str(home / "old"), str(home / "new")], read_mapping("antm2c"))


def test_an_import_of_an_earlier_version_is_replaced(home: Path):
    """Its files had other names, and its rejected rows another place."""
    (home / "log.csv").write_bytes(as_csv([antm2c_record("new", "2023-07-10 00:00:00")]))
    old = {"date=2023-07-10/csv-log.csv.gz": b"", "_rejects/csv-log.csv.gz": b""}
    for path, content in old.items():
        Path(Raw().full(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(Raw().full(path)).write_bytes(content)
    ledger = {"source": str(home / "log.csv"), "files": list(old), "days": {}}
    Path(Raw().full("_imports")).mkdir()
    Path(Raw().full("_imports/csv-log.json")).write_text(json.dumps(ledger))
    import_log([str(home / "log.csv")], read_mapping("antm2c"))
    assert [row["user_id"] for row in raw_rows()["2023-07-10"]] == ["new"]
    assert not any(Path(Raw().full(path)).exists() for path in (*old, "_imports/csv-log.json"))


def test_rejected_records_go_to_the_day_of_the_row_before(home: Path):
    times = ["never", "2023-07-10 00:00:00", "soon", "2023-07-11 00:00:00", "later", "much later"]
    (home / "log.csv").write_bytes(as_csv([antm2c_record(f"u{n}", time) for n, time in enumerate(times)]))
    import_log([str(home / "log.csv")], read_mapping("antm2c"))
    days = {day: [json.loads(row["record"])["user_id"] for row in rows] for day, rows in rejected().items()}
    assert days == {"2023-07-10": ["u0", "u2"], "2023-07-11": ["u4", "u5"]}


def test_a_failure_in_the_second_input_leaves_days_unchanged(home: Path):
    (home / "one").write_bytes(as_csv([antm2c_record("old", "2023-07-10 00:00:00")]))
    import_log([str(home / "one")], read_mapping("antm2c"))
    (home / "one").write_bytes(as_csv([antm2c_record("new", "2023-07-10 00:00:00")]))
    (home / "two.csv.gz").write_bytes(gzip.compress(as_csv([antm2c_record("x", "2023-07-10 00:00:00")] * 99))[:-9])
    with pytest.raises(InvalidInputError, match=r"two\.csv\.gz cannot be read to its end.*Nothing was imported"):
        import_log([str(home / "one"), str(home / "two.csv.gz")], read_mapping("antm2c"))
    assert [row["user_id"] for row in raw_rows()["2023-07-10"]] == ["old"]


def test_days_of_another_source_are_not_mixed(home: Path):
    folder = Path(Raw().full("date=2023-07-10"))
    folder.mkdir(parents=True)
    (folder / "part-0.csv.gz").write_bytes(b"generated")
    (home / "log").write_bytes(as_csv([antm2c_record("u", "2023-07-10 00:00:00")]))
    with pytest.raises(InvalidInputError, match=r"part-0\.csv\.gz"):
        import_log([str(home / "log")], read_mapping("antm2c"))


def test_a_log_of_more_days_than_may_be_open_is_conserved(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("include.raw.import_files.OPEN_DAYS", 2)
    days = [1, 2, 3, 1, 4, 2, 3, 1]
    records = [antm2c_record(f"u{n}", f"2023-07-0{day} 00:00:00") for n, day in enumerate(days)]
    (home / "log").write_bytes(as_csv(records))
    import_log([str(home / "log")], read_mapping("antm2c"))
    import_log([str(home / "log")], read_mapping("antm2c"))
    found = raw_rows()
    assert sorted(row["user_id"] for rows in found.values() for row in rows) == [f"u{n}" for n in range(8)]
    assert {day: len(rows) for day, rows in found.items()} == {f"2023-07-0{d}": days.count(d) for d in (1, 2, 3, 4)}


def test_scenes_are_mapped_and_others_counted_but_kept(home: Path):
    rule = read_mapping("antm2c").model_copy(update={"scenes": {"home": "0"}})
    records = [antm2c_record("u", "2023-07-10 00:00:00", scene=scene) for scene in ("home", "attic", "attic")]
    (home / "log").write_bytes(as_csv(records))
    [report] = import_log([str(home / "log")], rule)
    assert [row["scene"] for row in raw_rows()["2023-07-10"]] == ["0", "attic", "attic"]
    assert report.other_scenes == {"attic": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: expected records, found 0 bytes"),
        (SHOP_HEADER, "found none of 0: it has no rows"),
        ("uid\tproduct\tat\n", r"expected column 'clicked', which is missing; .*'searches'.*begins: uid, product, at"),
        (SHOP_HEADER.replace("extra", "uid") + "a\tb\tc\td\te\tf\tg\n", "found column 'uid' more than once"),
        (SHOP_HEADER + "u\tp\tsoon\ttrue\tA\t\t?\n", r"found none of 1: 1 × timestamp_unparsable \(line 2: .*'soon'"),
    ],
)
def test_a_file_that_does_not_fit_the_mapping_is_a_clear_error(home: Path, content: str, message: str):
    """The error says what was expected, and nothing is imported."""
    (home / "log.tsv").write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        import_log([str(home / "log.tsv")], mapping(home))
    assert raw_rows() == {}


def test_a_header_with_a_renamed_column_is_not_taken_for_data(home: Path):
    header = ["title" if name == "item_title" else name for name in RAW_COLUMNS]
    (home / "log").write_bytes(as_csv([header, antm2c_record("u", "2023-07-10 00:00:00")]))
    with pytest.raises(InvalidInputError, match=r"unknown column 'title' \(did you mean 'item_title'"):
        import_log([str(home / "log")], read_mapping("antm2c"))


@pytest.mark.parametrize(
    ("zone", "text"), [("Asia/Shanghai", "01.01.0001 00:00"), ("America/New_York", "31.12.9999 23:00")]
)
def test_a_time_outside_the_range_of_utc_rejects_only_its_row(home: Path, zone: str, text: str):
    row = "u\tp\t{}\ttrue\tA\t\t?\n"
    (home / "shop.tsv").write_text(SHOP_HEADER + row.format(text) + row.format("18.07.2023 12:00"))
    [report] = import_log([str(home / "shop.tsv")], mapping(home, SHOP.replace("Asia/Shanghai", zone)))
    assert (report.imported.rows_written, report.reasons) == (1, {"timestamp_unparsable": 1})


def test_a_time_out_of_range_is_rejected(home: Path, monkeypatch):
    """One wrong year would bring a day into being, and with it every day until now."""
    late = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%d %H:%M:%S")
    times = ["1902-02-03 00:00:00", "1999-12-31 15:59:59", "2037-01-01 00:00:00", late, "2023-07-10 00:00:00"]
    (home / "log.csv").write_bytes(as_csv([antm2c_record(f"u{n}", time) for n, time in enumerate(times)]))
    [report] = import_log([str(home / "log.csv")], read_mapping("antm2c"))
    assert (report.imported.days, report.reasons) == ({"2023-07-10": 1}, {"timestamp_out_of_range": 4})
    assert "from CTR_EARLIEST_DAY to a day ahead of the clock" in rejected()["2023-07-10"][0]["fault"]
    monkeypatch.setenv("CTR_EARLIEST_DAY", "1900-01-01")
    get_settings.cache_clear()
    [report] = import_log([str(home / "log.csv")], read_mapping("antm2c"))
    assert report.reasons == {"timestamp_out_of_range": 2}


def test_nothing_is_imported_where_another_mapping_reads(home: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "log.csv").write_bytes(as_csv([antm2c_record("u", "2023-07-10 00:00:00")]))
    (home / "other.yaml").write_text(SHOP, encoding="utf-8")
    monkeypatch.setenv("CTR_RAW_MAPPING", "other.yaml")
    get_settings.cache_clear()
    with pytest.raises(InvalidInputError, match=r"read by the mapping other\.yaml .*Nothing was written"):
        import_log([str(home / "log.csv")], read_mapping("antm2c"))
    import_log([str(home / "log.csv")], read_mapping("antm2c"), raw=Raw(f"file://{home}/elsewhere"))
