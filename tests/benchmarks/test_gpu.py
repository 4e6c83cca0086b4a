"""Two devices agree where vectors, metrics and predictions do, and a run on the wrong machine says what it lacks."""

import subprocess

import pytest

from benchmarks.gpu import agree
from include.setting_groups import PROJECT

SAME = {
    "texts": 10.0,
    "least_cosine": 0.9999,
    "mean_change_of_predictions": 0.001,
    "largest_change_of_predictions": 0.02,
    "auc_one": 0.7,
    "auc_other": 0.7011,
    "log_loss_one": 0.33,
    "log_loss_other": 0.3301,
}


@pytest.mark.parametrize(
    "change",
    [
        {"least_cosine": 0.98},
        {"mean_change_of_predictions": 0.01},
        {"auc_other": 0.69},
        {"log_loss_other": float("nan")},
    ],
)
def test_devices_agree_within_the_bounds_only(change):
    assert agree(SAME)
    assert not agree(SAME | change)


def test_a_machine_without_a_gpu_is_refused_before_anything_is_installed(tmp_path):
    call = ["benchmarks/gpu.sh", "run", str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(call, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no torch that sees a CUDA device" in done.stderr
    assert not list(tmp_path.iterdir())
