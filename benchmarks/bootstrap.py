"""Speed of evaluation's bootstrap: all metrics of candidate and champion in every reported group, resampled together.

    python -m benchmarks.bootstrap [--rows 1000000] [--users 620000] [--resamples 1000] [--threads 2]

The rows are made up: five scenes of AntM2C's shares, three user and three item levels, so 57 groups with the 45 cells. *Build*
sorts and groups the rows of both models; *resample* is the rest. Compare processor seconds where the machine is busy.
"""

import json
import os
import resource
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from rich.table import Table

from benchmarks.machine import console, machine, result_file
from benchmarks.options import Out, run_benchmark
from include.schemas import LEVELS
from include.settings import get_settings
from training.evaluate.bootstrap import GroupMetrics, Scored, resample
from training.evaluate.groups import reported_groups
from training.evaluate.metrics import Integers

_SHARES = (0.06, 0.26, 0.48, 0.12, 0.08)
_LOGITS = (-1.6, -2.4, -2.0, -3.0, -1.2)
_T = TypeVar("_T")


def scored_rows(rows: int, users: int, seed: int) -> tuple[list[Scored], list[Integers]]:
    """Return two models' predictions of made-up rows of about `users` users, and the groups that have rows."""
    random = np.random.default_rng(seed)
    of_row = np.r_[np.arange(min(users, rows)), (users * random.random(max(rows - users, 0)) ** 2).astype(np.int64)]
    user = random.permutation(of_row)
    scene = random.choice(len(_SHARES), rows, p=_SHARES)
    logit = np.array(_LOGITS)[scene] + random.normal(scale=0.5, size=users)[user] + random.normal(size=rows)
    label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    user_level = random.choice(LEVELS, users, p=[0.2, 0.3, 0.5])[user]
    item_level = random.choice(LEVELS, rows, p=[0.25, 0.25, 0.5])
    names = [str(n) for n in range(len(_SHARES))]
    groups = reported_groups(np.array(names)[scene], user_level, item_level, names)
    models = [
        Scored(label, 1 / (1 + np.exp(-logit - random.normal(scale=noise, size=rows))), user) for noise in (0.7, 0.8)
    ]
    return models, [group.members for group in groups if len(group.members)]


def measure(rows: int, users: int, resamples: int, threads: int, seed: int) -> dict[str, Any]:
    """Measure the seconds of building and of resampling, and the peak memory of the process (MiB), with and before them."""
    scored, groups = scored_rows(rows, users, seed)
    before = _peak()
    models, build = _timed(lambda: [GroupMetrics(model, groups) for model in scored])
    _, drawn = _timed(lambda: resample(models, resamples, (seed,), threads))
    return {
        "groups": len(groups),
        "users": models[0].users,
        "threads": threads,
        "build": build,
        "resample": drawn,
        "total": {name: round(build[name] + drawn[name], 2) for name in build},
        "peak_mib": _peak(),
        "before_mib": before,
        "load": round(os.getloadavg()[0], 1),
    }


def _timed(action: Callable[[], _T]) -> tuple[_T, dict[str, float]]:
    wall = time.monotonic()
    cpu = time.process_time()
    result = action()
    return result, {
        "wall_seconds": round(time.monotonic() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def show(result: dict[str, Any]) -> None:
    """Print a table."""
    host = result["machine"]
    measured = result["measured"]
    options = result["options"]
    out = console()
    out.print(
        f"{host['cores']} cores (load {measured['load']}), {host['cpu']}, code {host['code']}; {measured['threads']} threads; "
        f"{options['rows']:,} rows, {measured['users']:,} users, {measured['groups']} groups, two models, "
        f"{options['resamples']:,} resamples; peak {measured['peak_mib']:,} MiB ({measured['before_mib']:,} before)"
    )
    table = Table(title="Seconds", title_justify="left")
    for name in ("", "wall", "processor"):
        table.add_column(name, justify="right")
    for part in ("build", "resample", "total"):
        table.add_row(part, f"{measured[part]['wall_seconds']:.1f}", f"{measured[part]['cpu_seconds']:.1f}")
    out.print(table)


def main(
    rows: int = 1_000_000,
    users: int = 620_000,
    resamples: int = 1000,
    threads: Annotated[int | None, typer.Option(help="default the cores")] = None,
    out: Out = None,
) -> None:
    """Measure the speed of evaluation's bootstrap, print a table, write JSON."""
    options = {"rows": rows, "users": users, "resamples": resamples, "threads": threads or os.cpu_count() or 1}
    file = result_file("bootstrap", out)
    result = {"machine": machine(), "options": options, "measured": measure(**options, seed=get_settings().seed)}
    file.write_text(json.dumps(result, indent=1))
    show(result)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
