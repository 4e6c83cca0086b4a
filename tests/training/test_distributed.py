"""Several processes, started by torchrun, train the model that one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fabricate
import numpy as np
import pytest

from include.records import Train
from include.registry import registry
from include.setting_groups import PROJECT
from training.learn import train
from training.learn.artifact import load
from training.tables import read_day

pytestmark = pytest.mark.long

LAST = fabricate.day(4)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TRAIN = ("-m", "training", "train", "--day", str(LAST))
IN_PROCESSES = str(Path(__file__).parent / "in_processes.py")
ODD = {"batch_size": 63, "shuffle_rows": 250}
"""Blocks of 250, 250 and 100 rows: parts of 32 and 31 rows, 31 and 30, 19 and 18."""
LEFT_OVER = {"batch_size": 83, "shuffle_rows": 250}
"""Of the first two blocks one row is left, fewer than processes; 8 steps a day."""


def run(*command: str, **values: object) -> "subprocess.CompletedProcess[str]":
    """Runs Python with these arguments, under settings with these values."""
    chosen = {f"CTR_{name.upper()}": str(value) for name, value in values.items()}
    env = {**os.environ, **chosen, "PYTHONPATH": str(PROJECT), "TMPDIR": os.environ["CTR_HOME"], "OMP_NUM_THREADS": "1"}
    command = (sys.executable, *command)
    return subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("model", ["ple-alpha-llm", "star"])
def test_two_processes_register_one_version_as_one_process_does(world, model):
    alone = train.run(LAST, world.settings.model_copy(update={**ODD, "model": model}))
    done = run(IN_PROCESSES, "succeeds", **ODD, model=model)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Training ━") == 1
    record = json.loads(done.stdout)
    assert world.lake.record(Train, LAST).as_json() == record
    assert [version.version for version in registry.versions()] == [record["version"], alone.version]
    for single, double in zip(alone.learning_curve, record["learning_curve"], strict=True):
        for metric in ("auc", "log_loss", "train_loss"):
            assert double[metric] == pytest.approx(getattr(single, metric), abs=1e-3), metric
    single, double = (load(registry.download(version)) for version in (alone.version, record["version"]))
    rows = read_day(world.lake, "training", LAST, "a test")
    predictions = [model.predict(rows, world.lake).probability for model in (single, double)]
    assert np.allclose(*predictions, atol=5e-3)
    for (name, was), now in zip(single.model.named_buffers(), double.model.buffers(), strict=True):
        assert np.allclose(was, now, rtol=1e-3, atol=1e-4), name
    assert not list((world.home / "checkpoints").glob("*"))


def test_two_processes_share_weights_and_resume_after_a_failure(world):
    failed = run(IN_PROCESSES, "fails", **LEFT_OVER)
    assert failed.returncode != 0
    assert "the second process fails" in failed.stderr
    assert not registry.versions()
    again = run(IN_PROCESSES, "succeeds", **LEFT_OVER)
    assert "Training resumes after 2 days and 1 blocks" in " ".join(again.stderr.split()), again.stderr
    done = run(*TORCHRUN, *TRAIN, **LEFT_OVER)
    assert done.returncode == 0, done.stderr
    (version,) = registry.versions()
    assert version.content_hash == json.loads(again.stdout)["content_hash"] == json.loads(done.stdout)["content_hash"]
    assert (world.home / "weights-0").read_text() == (world.home / "weights-1").read_text()


def test_processes_that_differ_register_nothing(world):
    done = run(IN_PROCESSES, "drifts", **LEFT_OVER)
    assert done.returncode != 0
    assert f"the model after {fabricate.day(2)} differs between them" in " ".join(done.stderr.split())
    assert not registry.versions()
