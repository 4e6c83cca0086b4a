"""Speed of `ctr serve`: milliseconds a request and rows a second, for several request sizes and numbers of clients.

    python -m benchmarks.serving [--home FOLDER] [--rows 1 --rows 10 …] [--clients 1 --clients 4] [--requests 300]

A real service on a free port scores rows of the last published day. Without `--home`, a small champion is trained first
(generated logs, some minutes). The clients are threads of this process, which take a part of the machine's cores.
"""

import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.table import Table

from benchmarks.features.speed import FIRST, home_of
from benchmarks.machine import console, machine, result_file
from benchmarks.options import Out, run_benchmark
from include.airflow_control.demo import ctr
from include.errors import CtrError
from include.lake.lake import get_lake
from include.orchestration import training_process
from include.registry import registry
from include.settings import get_settings
from training.serve.scoring import load_champion
from training.tables import read_day

Result = dict[str, Any]
WARM_UP = 30
BATCHES = 50
DAYS = 3
DAY_ROWS = "2000"
REQUEST_ROWS = [1, 10, 100]
CLIENTS = [1, 4]


@contextmanager
def home_with_champion(home: Path | None) -> Iterator[None]:
    """Use the settings of `home` inside the block, or of a temporary home in which a champion is trained first."""
    if home:
        os.environ["CTR_HOME"] = str(home)
        get_settings.cache_clear()
        yield
    else:
        with tempfile.TemporaryDirectory() as folder, home_of(Path(folder), "2g", "local[2]", keep=False):
            _train()
            yield


def _train() -> None:
    day = FIRST + timedelta(days=DAYS - 1)
    ctr("sample", "--from", str(FIRST), "--days", str(DAYS), "--rows-per-day", DAY_ROWS)
    ctr("history", "--from", str(FIRST), "--to", str(day))
    if training_process.training("embed-texts", "--day", str(day)) or training_process.training(
        "train", "--day", str(day)
    ):
        raise CtrError("There is no champion to measure. The error is printed above.")
    registry.promote(registry.versions()[0].version, reason="benchmark", by="benchmark")


@contextmanager
def service() -> Iterator[Result]:
    """Run a service inside the block; yield its address and headers as arguments of `httpx.Client`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", "from include.cli.app import app; app()", "serve", "--port", port]
    token = os.environ["CTR_SERVE_TOKEN"] = secrets.token_urlsafe(32)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    connection = {"base_url": f"http://127.0.0.1:{port}", "headers": {"Authorization": f"Bearer {token}"}}
    try:
        while process.poll() is None and not _answers(f"{connection['base_url']}/health"):
            time.sleep(0.2)
        yield connection
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def request_bodies(rows: int) -> list[bytes]:
    """Return request bodies of `rows` rows of the last published day."""
    columns = load_champion().columns
    table = read_day(get_lake(), "training", get_lake().days("training")[-1], "The benchmark", columns)
    starts = np.linspace(0, max(len(table) - rows, 0), BATCHES).astype(int)
    return [json.dumps({"rows": table.slice(start, rows).to_pylist()}).encode() for start in starts]


def measure(connection: Result, bodies: Sequence[bytes], rows: int, clients: int, requests: int) -> Result:
    """Send `requests` by each client; return percentiles of milliseconds, and rows a second of all clients together."""

    def send(first: int) -> list[float]:
        taken = []
        with httpx.Client(**connection, timeout=60) as client:
            for body in itertools.islice(itertools.cycle(bodies), first, first + requests):
                started = time.perf_counter()
                client.post("/predict", content=body).raise_for_status()
                taken.append(1000 * (time.perf_counter() - started))
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        taken = [milliseconds for times in threads.map(send, range(clients)) for milliseconds in times]
    speed = round(clients * requests * rows / (time.perf_counter() - started), 1)
    p50, p99 = np.percentile(taken, (50, 99)).round(2).tolist()
    return {"rows": rows, "clients": clients, "p50_ms": p50, "p99_ms": p99, "rows_per_second": speed}


def show(result: Result) -> None:
    """Print a table."""
    host = result["machine"]
    out = console()
    out.print(
        f"{host['cores']} cores (load {result['load']:.1f}), {host['cpu']}, code {host['code']}; {result['model']}"
    )
    table = Table("rows a request", "clients", "p50 ms", "p99 ms", "rows a second")
    for row in result["measured"]:
        table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else str(value) for value in row.values()))
    out.print(table)


def main(
    home: Annotated[
        Path | None, typer.Option(help="CTR_HOME with a champion; default a temporary one, trained first")
    ] = None,
    rows: Annotated[list[int], typer.Option(help="rows of a request")] = REQUEST_ROWS,
    clients: Annotated[list[int], typer.Option(help="clients at once")] = CLIENTS,
    requests: Annotated[int, typer.Option(help="requests of each client")] = 300,
    out: Out = None,
) -> None:
    """Start the scoring service, measure its speed, print a table, write JSON."""
    file = result_file("serving", out)
    with home_with_champion(home):
        model = load_champion().predictor.state.config.model
        result: Result = {"machine": machine(), "load": os.getloadavg()[0], "model": model, "measured": []}
        with service() as connection:
            for size, count in itertools.product(rows, clients):
                bodies = request_bodies(size)
                measure(connection, bodies, size, count, WARM_UP)
                result["measured"].append(measure(connection, bodies, size, count, requests))
    file.write_text(json.dumps(result, indent=1))
    show(result)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
