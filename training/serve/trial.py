"""Whether a version can be served: a real `ctr serve` of it answers the rows of its probe over HTTP as the model
predicts them.

The service itself starts only where the model predicts its probe as before it was saved (`training/learn/probe.py`).
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import CtrError
from include.records import TrialService
from include.registry import registry
from include.settings import python_path
from training.learn.artifact import load
from training.learn.calibration import Doubles
from training.learn.probe import PROBE, TOLERANCE

START_SECONDS = 300
ROWS_PER_REQUEST = 4


def verify(version: int) -> TrialService:
    """Start the service of a version on a free port, request predictions of its probe, `ROWS_PER_REQUEST` rows at a time,
    and stop it.

    Raises `CtrError` where the service does not start or predicts otherwise.
    """
    path = registry.download(version) / PROBE
    probe = pq.read_table(path) if path.is_file() else None
    if probe is None:  # a version from before probes existed
        with _service(version) as (_, process):
            return TrialService(version=version, rows=0, largest_difference=None, memory_mib=_memory(process))
    with ThreadPoolExecutor(1) as beside:
        # While the service starts; its own reason comes first where it does not.
        predicted = beside.submit(_predicted, path.parent, probe)
        with _service(version) as (client, process):
            rows = probe.select(list(client.get("/version").json()["columns"])).to_pylist()
            probabilities, milliseconds = _answers(client, version, rows)
            memory = _memory(process)
        largest = float(np.abs(np.array(probabilities) - predicted.result()).max())
    if not largest <= TOLERANCE:
        raise CtrError(
            f"The service of version {version} answers {len(rows)} rows differently than the model predicts them: probabilities "
            f"differ by up to {largest:.2g}, expected at most {TOLERANCE:g}."
        )
    p50, p99 = np.percentile(milliseconds, (50, 99)).round(2).tolist()
    return TrialService(
        version=version, rows=len(rows), largest_difference=largest, p50_ms=p50, p99_ms=p99, memory_mib=memory
    )


def _predicted(folder: Path, probe: pa.Table) -> Doubles:
    """Return the model's probabilities of its probe `[n] float64`; as the service does, it reads no time of a row."""
    rows = probe.select([name for name in probe.column_names if name != "log_ts"])
    return load(folder).predict(rows).probability


def _answers(client: httpx.Client, version: int, rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Return the service's probability of each row, and the milliseconds that each request took."""
    probabilities = []
    milliseconds = []
    for start in range(0, len(rows), ROWS_PER_REQUEST):
        body = json.dumps({"rows": rows[start : start + ROWS_PER_REQUEST]})
        sent_at = time.perf_counter()
        response = client.post("/predict", content=body)
        milliseconds.append(1000 * (time.perf_counter() - sent_at))
        if response.is_error:
            raise CtrError(f"The service of version {version} refused a row of its probe: {response.text[:500]}")
        probabilities += response.json()["probability"]
    return probabilities, milliseconds


@contextmanager
def _service(version: int) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Yield a client of a running service of the version, and its process; raises `CtrError` with its last error where
    it fails."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-m", "training", "serve", "--port", port, "--version", str(version)]
    environment = {**os.environ, "CTR_SERVE_TOKEN": token, "PYTHONPATH": python_path()}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
                trust_env=False,
            ) as client:
                if not _starts(client, process):
                    raise CtrError(f"The service of version {version} did not start: {_last_line(log)}")
                yield client, process
        finally:
            process.terminate()
            process.wait()


def _starts(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    """Return whether the service loads its model; wait until it has, or has failed."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(httpx.TransportError):
            response = client.get("/health")
            if response.status_code == 200:
                return True
            if "failed" in (response.json().get("reason") or ""):
                return False
        time.sleep(0.1)
    return False


def _last_line(log: Any) -> str:
    """Return the last line of an error, without the name of its class."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if "Error" in line]
    return lines[-1].split(": ", 1)[-1] if lines else f"it did not answer within {START_SECONDS} seconds."


def _memory(process: subprocess.Popen[bytes]) -> int:
    return round(psutil.Process(process.pid).memory_info().rss / 2**20)
