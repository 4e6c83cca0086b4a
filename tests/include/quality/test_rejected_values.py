"""The values for which rows were rejected are counted where they lie, masked, and named as a repair needs them."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pyarrow import orc
from sample_records import quality
from typer.testing import CliRunner

from include.cli.app import cli
from include.errors import InvalidInputError
from include.lake.lake import get_lake
from include.lake.manifest import Manifest, TableVersion
from include.quality.rejected_values import repair_entries, values_at_fault
from include.quality.repairs import Repair
from include.settings import get_settings

DAY = date(2023, 7, 10)


@pytest.fixture
def reject(tmp_path, monkeypatch):
    """Publishes a day whose rejected rows are these: `reject((reasons, columns or record), …)`."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()

    def made(*rejected):
        lake = get_lake()
        folder = Path(lake.path(lake.begin_staging("logs", DAY, "b"))) / "quarantine"
        folder.mkdir(parents=True)
        rows = [
            {
                "source_file": f"date={DAY}/values.csv",
                "source_row": number,
                "raw": content if isinstance(content, str) else json.dumps(content, separators=(",", ":")),
                "reasons": reasons,
            }
            for number, (reasons, content) in enumerate(rejected)
        ]
        orc.write_table(pa.Table.from_pylist(rows), str(folder / "part.orc"), stripe_size=1)
        tables = {"quarantine": TableVersion(f"quarantine/dt={DAY}/build=b", 1, 1, "")}
        lake.finish_staging(Manifest("logs", str(DAY), "b", tables, 1, {}, "", ""), quality("logs", DAY))
        lake.publish("logs", DAY)
        return lake

    yield made
    get_settings.cache_clear()


def told(found):
    return [(each.column, each.value, each.rows) for each in found.most]


def test_each_value_at_fault_is_counted(reject):
    tricky = 'x","scene":"no","y": "{"scene":"no"}'
    lake = reject(
        *[(["unknown_scene"], {"user_id": "a", "item_title": tricky, "scene": "home_feed_v2"})] * 3,
        (["unknown_scene"], {"scene": ' say "hi"\n新 '}),
        (["unknown_scene", "label_not_0_or_1"], {"user_id": "b", "label": "clicked"}),
        (["unknown_scene", "deep_feature_not_a_number"], {"user_id": "u", "scene": "app", "deep_features_0": "n/a"}),
        (["malformed_record"], "u,i,t"),
    )
    found = values_at_fault(lake, DAY)
    assert set(found) == {"unknown_scene", "label_not_0_or_1", "deep_feature_not_a_number"}
    assert told(found["unknown_scene"])[0] == ("scene", "home_feed_v2", 3)
    assert {value for _, value, _ in told(found["unknown_scene"])} == {"home_feed_v2", 'say "hi"\n新', "", "app"}
    assert told(found["label_not_0_or_1"]) == [("label", "clicked", 1)]
    assert told(found["deep_feature_not_a_number"]) == [("deep_features_0", "n/a", 1)]
    assert set(values_at_fault(lake, DAY, "label_not_0_or_1")) == {"label_not_0_or_1"}


def test_many_values_are_told_as_the_ten_of_most_rows(reject):
    rows = [(["timestamp_unparsable"], {"log_time": f"t{number}"}) for number in range(25)]
    found = values_at_fault(reject(*rows, *rows[:1]), DAY)["timestamp_unparsable"]
    assert told(found)[0] == ("log_time", "t0", 2)
    assert (len(found.most), found.others, found.other_rows) == (10, 15, 15)


def test_sensitive_values_are_masked_and_long_ones_shortened(reject, monkeypatch):
    monkeypatch.setenv("CTR_SENSITIVE_COLUMNS", "scene")
    monkeypatch.setenv("CTR_MAX_FIELD_BYTES", "1000")
    get_settings.cache_clear()
    lake = reject(
        (["unknown_scene"], {"scene": "ann"}),
        (["field_too_long"], {"item_title": "é" * 600, "log_time": "t"}),
    )
    found = values_at_fault(lake, DAY)
    assert "ann" not in str(found)
    assert found["unknown_scene"].most[0].value.startswith("masked ")
    (long,) = found["field_too_long"].most
    assert long.column == "item_title"
    assert long.value.endswith("… (600 characters)")
    assert repair_entries(found) == ""


def test_the_entries_are_a_repair_once_the_capitals_are_replaced(reject):
    lake = reject(
        (["unknown_scene"], {"scene": "home: v2, 'new'"}),
        (["unknown_scene"], {"scene": "77"}),
        (["label_not_0_or_1"], {"label": "yes"}),
        (["timestamp_unparsable"], {"log_time": "10.07.2023 12:00"}),
        (["deep_feature_not_a_number"], {"user_id": "u", "scene": "0", "deep_features_0": "n/a"}),
    )
    text = repair_entries(values_at_fault(lake, DAY))
    for capitals, meant in (("SCENE", '"0"'), ("LABEL", '"1"'), ("FORMAT", '"%d.%m.%Y %H:%M"'), ("ZONE", "UTC")):
        text = text.replace(capitals, meant)
    repair = Repair.model_validate(yaml.safe_load(text.replace("NUMBER", '""')))
    assert repair.scenes == {"home: v2, 'new'": "0", "77": "0"}
    assert repair.labels == {"yes": "1"}
    assert repair.values == {"deep_features_0": {"n/a": ""}}


def test_the_command_shows_values_and_what_to_write(reject):
    reject(*[(["unknown_scene"], {"scene": "home_feed_v2"})] * 1200)
    shown = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY)])
    assert shown.exit_code == 0, shown.output
    words = " ".join(shown.stdout.split())
    assert "home_feed_v2 │ 1,200" in words
    assert "scenes: {home_feed_v2: SCENE} # one of 0,1,2,3,4" in words
    assert '"Rejected rows: look, mend, replay"' in words
    data = json.loads(CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--json"]).stdout)
    assert data["values"]["unknown_scene"]["most"] == [{"column": "scene", "value": "home_feed_v2", "rows": 1200}]


@pytest.mark.parametrize("more", [[], ["--replay"]])
def test_an_unknown_reason_is_refused_with_those_there_are(reject, more):
    reject((["unknown_scene"], {"scene": "x"}))
    outcome = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--reason", "nope", *more])
    assert isinstance(outcome.exception, InvalidInputError)
    assert "There is no reason 'nope': expected one of malformed_record, " in str(outcome.exception)
