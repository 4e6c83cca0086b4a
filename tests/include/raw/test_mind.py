import csv
import gzip
import io
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError, MissingDataError
from include.raw.completeness import waits_for
from include.raw.deliveries import Raw
from include.raw.import_files import Imported
from include.raw.mind import (
    CATEGORY_SCENES,
    MIND_SCENES,
    MindReport,
    import_mind,
    read_clicks,
    read_news,
    rows,
    topic_words,
)
from include.schemas import RAW_COLUMNS
from include.setting_groups import PROJECT

pytestmark = pytest.mark.usefixtures("home")

REAL = PROJECT.parent / "shared/data/mind_small_sample"

NEWS = [
    ("N1", "sports", "football_nfl", "Giants win, again", ["New York Giants"], ["Prince Philip, Duke of Edinburgh"]),
    ("N2", "finance", "", "Stocks fall", [], []),
    ("N3", "music", "musicnews", 'The "best" album', ["Album"], []),
    ("N4", "unheard", "", "Odd one", [], []),
]


def write_news(path: Path, news: list[tuple[str, str, str, str, list[str], list[str]]]) -> str:
    def labels(names: list[str]) -> str:
        return json.dumps([{"Label": name, "Type": "C"} for name in names])

    lines = ["\t".join((i, c, s, t, "", "url", labels(a), labels(b))) for i, c, s, t, a, b in news]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def write_behaviors(path: Path, lines: list[tuple[str, datetime, str, str]]) -> str:
    text = "".join(
        f"{n}\t{user}\t{time.month}/{time.day}/{time:%Y %I:%M:%S %p}\t{history}\t{shown}\n"
        for n, (user, time, history, shown) in enumerate(lines)
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def raw_rows() -> dict[str, list[dict[str, str]]]:
    raw = Raw()
    found = {}
    for day in raw.days():
        for path in raw.day_files(day):
            text = gzip.decompress(Path(raw.full(path)).read_bytes()).decode()
            found.setdefault(str(day), []).extend(csv.DictReader(io.StringIO(text, newline="")))
    return found


def small_log(home: Path, name: str = "behaviors.tsv") -> tuple[str, str]:
    lines = [
        ("U1", datetime(2019, 11, 9, 0, 1, 13), "N1 N2", "N3-1 N4-0"),
        ("U1", datetime(2019, 11, 9, 23, 59, 59), "N1 N2", "N2-0"),
        ("U1", datetime(2019, 11, 10, 12, 0, 0), "N1 N2", "N1-1 N3-0"),
        ("U2", datetime(2019, 11, 10, 13, 0, 0), "", "N1-0"),
    ]
    return write_behaviors(home / name, lines), write_news(home / "news.tsv", NEWS)


@pytest.mark.parametrize("name", ["behaviors.tsv", "behaviors.tsv.gz"])
def test_every_shown_item_becomes_a_row_of_its_day(home: Path, name: str):
    report = import_mind(*small_log(home, name))
    found = raw_rows()
    assert {day: len(rows) for day, rows in found.items()} == {"2019-11-09": 3, "2019-11-10": 3} == report.imported.days
    assert report.imported.rows_in == report.imported.rows_written == 6
    first = found["2019-11-09"][0]
    assert tuple(first) == RAW_COLUMNS
    assert (first["user_id"], first["item_id"], first["label"]) == ("U1", "N3", "1")
    assert first["log_time"] == "2019-11-09 00:01:13"
    assert first["item_title"] == 'The "best" album'
    assert first["scene"] == "entertainment"
    assert first["deep_features_0"] == ""


def test_entities_hold_no_separator_and_end_with_the_category(home: Path):
    import_mind(*small_log(home))
    row = next(row for row in raw_rows()["2019-11-10"] if row["item_id"] == "N1")
    assert row["item_entity_names"] == "New York Giants|Prince Philip Duke of Edinburgh|sports football nfl"


def test_intent_is_history_and_earlier_clicks_latest_first(home: Path):
    """Clicks of the same day are left out."""
    import_mind(*small_log(home))
    found = raw_rows()
    # N2 has no entities: its title stands in. The click on N3 of the 9th shows on the 10th only.
    history = "Stocks fall|New York Giants|Prince Philip Duke of Edinburgh"
    assert {row["query_entity_seq"] for row in found["2019-11-09"]} == {history}
    assert found["2019-11-10"][0]["query_entity_seq"] == f"Album|{history}"
    assert found["2019-11-10"][0]["service_entity_seq"] == "music musicnews|finance|sports football nfl".replace(
        "musicnews", "news"
    )
    assert found["2019-11-10"][0]["bill_entity_seq"] == "music|finance|sports"
    assert found["2019-11-10"][2]["query_entity_seq"] == ""


@examples(40)
@given(
    log=st.lists(
        st.tuples(
            st.sampled_from(["U1", "U2"]),
            st.integers(0, 4 * 24 * 60 - 1),
            st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_intent_ever_holds_a_click_of_the_same_day_or_later(
    tmp_path_factory: pytest.TempPathFactory, log: list[tuple[str, int, list[tuple[int, bool]]]]
):
    folder = tmp_path_factory.mktemp("mind")
    news = [(f"N{n}", "news", "", f"Title {n}", [f"entity{n}"], []) for n in range(10)]
    start = datetime(2019, 11, 9)
    lines = [
        (user, start + timedelta(minutes=minute), "", " ".join(f"N{item}-{int(clicked)}" for item, clicked in shown))
        for user, minute, shown in log
    ]
    behaviors = write_behaviors(folder / "behaviors.tsv", lines)
    report = MindReport(Imported("mind-x", "x"))
    articles = read_news(write_news(folder / "news.tsv", news), report)
    made = list(rows(behaviors, articles, read_clicks(behaviors), report))
    assert len(made) == sum(len(shown) for _, _, shown in log)
    for day, row in made:
        midnight = datetime.fromisoformat(day)
        allowed = {
            f"entity{item}"
            for user, minute, shown in log
            if user == row[0] and start + timedelta(minutes=minute) < midnight
            for item, clicked in shown
            if clicked
        }
        assert set(row[6].split("|")) - {""} == allowed


def test_ids_missing_from_the_news_are_counted_and_kept_as_rows(home: Path):
    behaviors = write_behaviors(home / "behaviors.tsv", [("U1", datetime(2019, 11, 9), "N1 N77", "N88-1 N4-0")])
    report = import_mind(behaviors, write_news(home / "news.tsv", NEWS))
    assert (report.unknown_items, report.unknown_history, report.unknown_categories) == (1, 1, 1)
    assert [row["item_id"] for row in raw_rows()["2019-11-09"]] == ["N88", "N4"]
    assert {row["scene"] for row in raw_rows()["2019-11-09"]} == {"news"}


def test_importing_again_replaces(home: Path):
    import_mind(*small_log(home))
    write_behaviors(home / "behaviors.tsv", [("U1", datetime(2019, 11, 12, 1, 0, 0), "", "N1-0")])
    import_mind(str(home / "behaviors.tsv"), str(home / "news.tsv"))
    assert {day: len(rows) for day, rows in raw_rows().items()} == {"2019-11-12": 1}
    assert [day for day in Raw().days() if waits_for(Raw(), day) is None] == [date(2019, 11, 12)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9\tU1\t11/9/2019 1:00:00 AM\t\tN1", r"line 5, column 5.*'N123-1'.*'N1'"),
        ("9\tU1\t2019-11-09\t\tN1-0", r"line 5, column 3.*2019-11-09"),
        ("9\tU1\t11/9/2019 1:00:00 AM", r"line 5: expected 5"),
    ],
)
def test_a_bad_line_is_named_and_leaves_the_days_as_they_were(home: Path, line: str, message: str):
    behaviors, news = small_log(home)
    import_mind(behaviors, news)
    before = raw_rows()
    with Path(behaviors).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InvalidInputError, match=message):
        import_mind(behaviors, news)
    assert raw_rows() == before


def test_swapped_files_and_missing_or_cut_files_are_told(home: Path):
    behaviors, news = small_log(home, "behaviors.tsv.gz")
    with pytest.raises(InvalidInputError, match="Is this the news file"):
        import_mind(news, behaviors)
    with pytest.raises(MissingDataError, match="nowhere"):
        import_mind(str(home / "nowhere.tsv"), news)
    Path(behaviors).write_bytes(Path(behaviors).read_bytes()[:-12])
    with pytest.raises(InvalidInputError, match="cannot be read to its end"):
        import_mind(behaviors, news)
    assert raw_rows() == {}


def test_category_words():
    assert topic_words("lifestyle", "lifestyleroyals") == "lifestyle royals"
    assert topic_words("foodanddrink", "") == "food and drink"
    assert topic_words("sports", "football_nfl") == "sports football nfl"
    assert set(CATEGORY_SCENES.values()) == set(MIND_SCENES)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the MIND cut is not at {REAL}")
def test_the_real_cut_arrives_whole():
    report = import_mind(str(REAL / "behaviors.tsv.gz"), str(REAL / "news.tsv.gz"))
    assert report.imported.rows_written == sum(report.imported.days.values()) == 262_619
    assert report.clicks == 10_403
    assert len(report.users) == 6_227
    assert len(report.imported.days) == 6
    assert all(rows > 20_000 for rows, _ in report.scenes.values())
