"""`ctr map` drafts a mapping and shows what one makes of files; it writes nothing but `--out`."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include.cli import map as map_command
from include.cli.app import cli
from include.errors import InvalidInputError
from include.settings import get_settings, list_text

LOG = "uid,sku,ts,click,title,channel\n" + "".join(
    f'u{n},i{n % 9},2023-07-1{7 + n % 2} 00:{n:02}:0{n % 7},{int(n % 8 == 0)},"a, {n}",'
    + ("home\n" if n % 2 == 0 else '"50% off, new"\n')
    for n in range(40)
)
BAD = "u,i\nu1,i1,soon,0,t,home\n,i1,2023-07-17 00:00:00,0,t,home\nu1,i1,1902-01-01 00:00:00,2,t,home\n"


@pytest.fixture
def log(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTR_RAW_MAPPING", str(home / "not-there-yet.yaml"))
    path = home / "logs" / "date=2023-07-17" / "part 0.csv"
    path.parent.mkdir(parents=True)
    path.write_text(LOG)
    return path


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(cli, ["map", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def files(home: Path) -> set[Path]:
    return {path for path in home.rglob("*") if path.is_file()}


@pytest.fixture
def draft(home: Path, log: Path) -> Path:
    run(str(log), "--out", str(home / "my-log.yaml"))
    return home / "my-log.yaml"


def test_a_draft_is_printed_and_nothing_written(home: Path, log: Path):
    before = files(home)
    run(str(log))
    assert files(home) == before


def test_the_draft_of_a_file_is_the_printed_one(log: Path, draft: Path):
    assert run(str(log))[0] == draft.read_text(encoding="utf-8")
    assert 'files: "date={yyyy-MM-dd}/**/*.csv' in draft.read_text()


def test_the_next_steps_can_be_pasted(home: Path, log: Path, capsys, monkeypatch):
    map_command._draft([str(log)], home / "new.yaml", as_json=False)
    steps = capsys.readouterr().err
    assert f"ctr map --check {home}/new.yaml '{log}'" in steps
    assert f"CTR_RAW=file://{home}/logs" in steps
    monkeypatch.setenv("CTR_RAW_MAPPING", str(home / "new.yaml"))
    get_settings.cache_clear()
    assert get_settings().scenes == ("home", "50% off, new")


def test_the_draft_as_json(log: Path):
    data = json.loads(run(str(log), "--json")[0])
    assert data["undecided"] == []
    assert "user_id: uid" in data["draft"]
    assert 'scenes: [home, "50% off, new"]' in data["draft"]


def test_an_existing_draft_is_not_overwritten(log: Path, draft: Path):
    draft.write_text("edited")
    with pytest.raises(InvalidInputError, match="exists"):
        CliRunner().invoke(cli, ["map", str(log), "--out", str(draft)], catch_exceptions=False)
    assert draft.read_text() == "edited"


def test_check_counts_what_comes_in(log: Path, draft: Path, home: Path):
    log.write_text(LOG + BAD)
    before = files(home)
    data = json.loads(run("--check", str(draft), str(log), "--json")[0])
    assert files(home) == before
    assert data["files"][0] | {"file": ""} == {
        "file": "",
        "lines": 45,
        "header_lines": 1,
        "blank_lines": 0,
        "records": 44,
        "rejected": 4,
        "read": "all",
    }
    assert data["days"] == {"2023-07-17": 20, "2023-07-18": 20}
    assert data["labels"] == {"0": 35, "1": 5}
    assert (data["new_scenes"], data["scenes"][0]["is_listed"]) == ([], True)
    reasons = {name: found["records"] for name, found in data["rejections"].items()}
    assert reasons == {
        "malformed_record": 1,
        "timestamp_unparsable": 1,
        "missing_user_id": 1,
        "timestamp_out_of_range": 1,
        "label_not_0_or_1": 1,
    }
    assert "soon" in data["rejections"]["timestamp_unparsable"]["example"]
    assert data["rows"][0]["item_title"] == "a, 0"


def test_check_shows_tables(log: Path, draft: Path, monkeypatch):
    monkeypatch.setenv("CTR_SCENES", "home")
    get_settings.cache_clear()
    shown = run("--check", str(draft), str(log))[0]
    for text in (
        "First rows, as they come in",
        "2023-07-18",
        "unknown_scene",
        "40 rows, 5 clicks, CTR 0.1250",
        f"To take them: CTR_SCENES={shlex.quote(list_text(['home', '50% off, new']))}",
    ):
        assert text in shown
    monkeypatch.delenv("CTR_SCENES")
    get_settings.cache_clear()
    assert "Nothing would be rejected." in run("--check", str(draft), str(log))[0]


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        ("[home]", 'scenes: [home, "50% off, new"], in the mapping'),
        ("{home: feed}", 'add "50% off, new": "50% off, new" to `scenes` of the mapping'),
        ("{}", "CTR_SCENES='0,1,2,3,4,home,\"50% off, new\"'"),
    ],
)
def test_check_says_how_the_mapping_takes_a_scene(log: Path, draft: Path, listed: str, line: str):
    draft.write_text(draft.read_text().replace('scenes: [home, "50% off, new"]', f"scenes: {listed}"))
    assert f"To take them: {line}" in run("--check", str(draft), str(log))[0]


def test_check_reads_the_beginning_of_a_large_file(log: Path, draft: Path, monkeypatch):
    from include.mapping.mapping import read_mapping
    from include.raw.drafting import check

    log.write_text(LOG + "".join(LOG.splitlines(keepends=True)[1:]) * 4000)
    found = check.check_mapping([str(log)], read_mapping(str(draft)), most=1000)
    assert not found.files[0].is_whole
    assert 1000 <= found.files[0].counts.records < 160_000


def test_check_says_which_rows_are_duplicates(log: Path, draft: Path):
    log.write_text(LOG + LOG.splitlines(keepends=True)[5])
    data = json.loads(run("--check", str(draft), str(log), "--json")[0])
    assert data["rejections"]["duplicate_event"]["records"] == 1


def test_out_with_check_is_refused(log: Path, draft: Path):
    with pytest.raises(InvalidInputError, match="without --check"):
        CliRunner().invoke(cli, ["map", str(log), "--check", str(draft), "--out", "x"], catch_exceptions=False)
