"""Rejected rows are counted by reason and file, and sampled, a stripe at a time."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import orc
from sample_records import quality
from typer.testing import CliRunner

from include.cli.app import cli
from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion
from include.quality.quarantine import rejected, rejected_rows
from include.settings import get_settings

DAY = date(2023, 7, 10)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield get_lake()
    get_settings.cache_clear()


def publish(lake: Lake, *files: list[dict]) -> None:
    folder = Path(lake.path(lake.begin_staging("logs", DAY, "b"))) / "quarantine"
    folder.mkdir(parents=True)
    for number, rows in enumerate(files):
        orc.write_table(pa.Table.from_pylist(rows), str(folder / f"part-{number}.orc"), stripe_size=1)
    tables = {"quarantine": TableVersion(f"quarantine/dt={DAY}/build=b", 1, 1, "")}
    profile = {"late": {"2023-07-09": {"rows": 12, "digest": "d"}}}
    manifest = Manifest("logs", str(DAY), "b", tables, 1, {}, "", "", profile=profile)
    lake.finish_staging(manifest, quality("logs", DAY))
    lake.publish("logs", DAY)


def row(n: int, file: str, *reasons: str) -> dict:
    return {"source_file": file, "source_row": n, "raw": f'{{"user_id": "ann{n}"}}', "reasons": [*reasons]}


ROWS = [row(n, "a" if n % 3 else "b", "unknown_scene", *(["late_event"] if n % 2 else [])) for n in range(6000)]


def test_counts_and_samples_are_equal_for_one_or_several_files(lake):
    publish(lake, ROWS[:2500], ROWS[2500:])
    found = rejected(lake, DAY, samples=2)
    assert (found.rows, found.reasons) == (6000, {"unknown_scene": 6000, "late_event": 3000})
    assert found.files == {"a": 4000, "b": 2000}
    assert found.reasons_of_files == {
        "a": {"unknown_scene": 4000, "late_event": 2000},
        "b": {"unknown_scene": 2000, "late_event": 1000},
    }
    assert [each["source_row"] for each in found.samples] == [1, 3, 0, 1]
    assert sum(1 for _ in rejected_rows(lake, DAY, ["source_row", "fingerprint"], "a test")) == 6000


def test_one_reason_alone(lake):
    publish(lake, ROWS)
    found = rejected(lake, DAY, "late_event", samples=1)
    assert (found.rows, found.reasons, found.files) == (3000, {"late_event": 3000}, {"a": 2000, "b": 1000})
    assert len(found.samples) == 1
    assert rejected(lake, DAY, "no_such_reason", samples=1).rows == 0


def test_table_shows_reasons_files_late_rows_and_masked_samples(lake):
    publish(lake, ROWS)
    shown = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY)])
    assert shown.exit_code == 0, shown.output
    told = " ".join(shown.stdout.split())
    assert "By file" in told
    assert "12 of 2023-07-09" in told
    assert "ann" not in told.replace("another", "")


def test_no_quarantine_or_a_mapping_without_replay_is_an_error(lake):
    assert isinstance(CliRunner().invoke(cli, ["quarantine", "--day", str(DAY)]).exception, MissingDataError)
    outcome = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--mapping", "fix.yaml"])
    assert isinstance(outcome.exception, InvalidInputError)
