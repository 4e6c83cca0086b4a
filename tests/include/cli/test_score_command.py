"""`ctr score --list`: what it says of a list, and what it hands on."""

import pytest
from typer.testing import CliRunner

from include.cli.app import cli
from include.orchestration import spark_submit, training_process
from include.settings import get_settings

EVENT = {"event": "stage", "stage": "list", "state": "written", "rows": 2, "known_users": 1, "known_items": 2}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function that scores a list without Spark and training, and keeps what they were asked for."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    asked: list[list[str]] = []

    def score(content: str, *options: str, **event: bool):
        def submit(_job, _first, _last, *, options):
            asked.append(options)
            return iter([EVENT | {"has_history": True} | event])

        monkeypatch.setattr(spark_submit, "submit", submit)
        monkeypatch.setattr(training_process, "training", lambda *args: asked.append(list(args)) or 0)
        (tmp_path / "list.csv").write_text(content)
        path = str(tmp_path / "list.csv")
        return CliRunner().invoke(cli, ["score", "--day", "2023-07-11", "--list", path, *options]), asked

    return score


def test_the_shares_of_known_users_and_items_are_printed(run):
    result, asked = run("user_id;item_id;scene\nu;i;0\nv;j;1\n")
    assert result.exit_code == 0
    assert (
        "list.csv: 2 rows; the features of 2023-07-10 know the users of 1 (50.0%) and the items of 2 (100.0%)."
        in result.stderr
    )
    job, training = asked
    assert job[0] == "--list"
    assert job[2] == "--name"
    assert job[3].endswith("list.csv")
    assert training == ["score", "--day", "2023-07-11", "--list", job[1]]


def test_unknown_ids_are_allowed_by_kind(run):
    _, asked = run("user_id,item_id,scene\nu,i,0\n", "--allow-unknown", "items", "--allow-unknown", "users")
    assert asked[0][4:] == ["--allow-unknown", "items", "--allow-unknown", "users"]
    assert run("user_id,item_id,scene\nu,i,0\n", "--allow-unknown", "scenes")[0].exit_code == 2


def test_a_first_day_knows_nobody(run):
    result, _ = run("user_id,item_id,scene\nu,i,0\n", has_history=False)
    assert "nothing was published before 2023-07-11, so no user and no item is known" in result.stderr
