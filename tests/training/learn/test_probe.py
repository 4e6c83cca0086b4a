"""A version serves only if it is what was saved: it is loaded and predicts its probe again."""

import fabricate
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_records import decision

from include.errors import CtrError
from include.orchestration.decision import apply_decision
from include.registry import mlflow_store, registry
from training.learn import probe
from training.serve import trial

pytestmark = pytest.mark.long

LAST = fabricate.day(4)


@pytest.fixture
def version(world, candidate) -> int:
    """The candidate of the last day, which the gate would promote."""
    version = candidate(LAST).version
    world.lake.write_record(decision(LAST, version, verdict="promote", reasons=["better"], may_promote=True))
    return version


def test_a_version_that_predicts_as_before_saving_is_promoted(version):
    record = apply_decision(LAST, "gate")
    assert record.promoted
    served_record = record.served
    assert (served_record.version, served_record.rows) == (version, probe.ROWS)
    assert served_record.largest_difference <= probe.TOLERANCE
    assert 0 < served_record.p50_ms <= served_record.p99_ms
    assert served_record.memory_mib > 50
    assert registry.champion().version == version


def test_a_version_whose_files_have_changed_does_not_serve(version):
    path = registry.download(version) / "calibration.json"
    path.write_text(path.read_text().replace('"offset": ', '"offset": 1'))
    with pytest.raises(CtrError, match=r"cannot serve, so the champion stays: .*not those that were registered"):
        apply_decision(LAST, "gate")
    assert registry.champion() is None


def test_a_version_that_predicts_otherwise_does_not_serve(version):
    path = registry.download(version) / probe.PROBE
    rows = pq.read_table(path)
    other = pa.array(np.clip(rows["probability"].to_numpy() + 0.01, 0, 1))
    pq.write_table(rows.set_column(rows.column_names.index("probability"), "probability", other), path)
    with pytest.raises(CtrError, match=r"probabilities differ by up to 0\.01"):
        trial.verify(version)


def test_a_version_of_before_there_were_probes_is_loaded_alone(version):
    (registry.download(version) / probe.PROBE).unlink()
    assert trial.verify(version).rows == 0


def test_a_version_is_an_mlflow_model_with_settings_and_datasets(world, version):
    run = mlflow_store.client().get_run(registry.get(version).run_id)
    assert run.data.params["batch_size"] == str(world.settings.batch_size)
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {
        f"training/{fabricate.day(number)}" for number in range(4)
    }
    assert run.info.end_time - run.info.start_time > 100, "the time that training took"
    assert not [name for name in run.data.params if "password" in name or "token" in name]
    loaded = mlflow.pyfunc.load_model(str(registry.download(version)))
    rows = pq.read_table(registry.download(version) / probe.PROBE)
    frame = rows.drop_columns(["probability"]).to_pandas(types_mapper=pd.ArrowDtype)
    assert loaded.predict(frame) == pytest.approx(rows["probability"].to_numpy(), abs=probe.TOLERANCE)
