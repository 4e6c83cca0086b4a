"""The modules that judge and report read records only: importing them loads no library of models, registries or clusters."""

import json
import subprocess
import sys

import pytest

from include.settings import python_path

HEAVY = ("faiss", "matplotlib", "mlflow", "pyspark", "sklearn", "torch", "transformers")
PROGRAM = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("training.gate.gate", ()),
        ("training.monitor.monitor", ()),
        ("training.report.report", ()),
        ("training.embed.embed_cold", ("faiss", "torch")),
        ("training.learn.train", ("faiss", "torch")),
        ("training.serve.trial", ("faiss", "torch")),
    ],
)
def test_importing_loads_no_heavy_package(module, needs):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, module],
        env={"PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout))
    assert module.partition(".")[0] in loaded
    assert sorted(loaded & set(HEAVY)) == sorted(needs)
