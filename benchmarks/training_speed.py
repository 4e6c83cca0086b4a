"""One measurement of `benchmarks.training`, in a separate process, so that time, threads and memory are its own.

    python -m benchmarks.training_speed --engine ours --what step --threads 2 --batch 4096 \
        --days 2023-07-11 --days 2023-07-12

Works in the home of the settings and prints JSON. Both engines have the architecture of `SIZES`, the same rows, ids and dense
inputs; torch-rechub computes every scene's logit of every row but trains only one, as its tasks are made for rows that
have them all.
"""

import json
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.options import Days, run_benchmark
from benchmarks.quality.rechub import IDS, Batches, Encoding, quiet, scene_index, trainer_of
from benchmarks.quality.rows import training_rows
from include.lake.lake import get_lake
from include.settings import Settings, get_settings
from training.data.cold_simulation import ColdSimulation
from training.data.dense import NAMES, columns_of
from training.data.item_texts import ItemTexts
from training.data.rows import build_rows
from training.device import device, steady_threads
from training.learn import train
from training.learn.artifact import build_model, load_texts, text_lookup
from training.learn.dataset_scan import scan_dataset
from training.learn.trainer import Trainer
from training.learn.warm_start import config_of
from training.tables import read_day

SIZES = {"levels": 2, "shared": 2, "own": 2, "expert": 64, "tower": 32, "embedding": 16}
"""The sizes of the project's default model."""
ALONE = ("defaults", "lightgbm")
"""Engines with threads and batches of their own."""
Result = dict[str, Any]


def own_settings(batch: int, threads: int) -> Settings:
    """Return the home's settings with the model variant `ple`."""
    return get_settings().model_copy(update={"model": "ple", "batch_size": batch, "train_threads": threads})


def ours_step(days: Sequence[date], batch: int, threads: int, seconds: float) -> Result:
    """Measure passes over the last day's rows in memory: shuffle, simulated cold rows, sort by scene, step."""
    lake = get_lake()
    settings = own_settings(batch, threads)
    steady_threads(threads)
    torch.manual_seed(settings.seed)
    config = config_of(settings)
    scan = scan_dataset(lake, days, None, config.variant, settings.shard_rows)
    state = train.fresh_state(lake, scan, config, settings, days[-1])
    texts = load_texts(state, scan.keys, lake, days[-1])
    table = read_day(lake, "training", days[-1], "A benchmark")
    members = state.topics.of(texts)
    rows = build_rows(table, state, texts, ItemTexts.of([table], state, texts), members)
    cold = ColdSimulation(state.standardiser, config.user_cold_rate, config.item_cold_rate)
    trainer = Trainer(build_model(state), cold, settings, fresh=True)
    learn = partial(trainer.learn, rows, text_lookup(texts, trainer.device), days[-1], lambda _: None)
    figures = _passes(learn, len(rows), seconds)
    with FlopCounterMode(display=False) as counter:
        learn()
    return figures | {"flop_per_row": counter.get_total_flops() / len(rows)}


def ours_whole(days: Sequence[date], batch: int, threads: int) -> Result:
    """Measure `training.learn.train.fit` from scratch on the published days, from ORC to a calibrated model."""
    settings = own_settings(batch, threads)
    started = time.monotonic()
    trained = train.fit(get_lake(), list(days), settings, None)
    return _speed(trained.rows, time.monotonic() - started)


def rechub_step(days: Sequence[date], batch: int, threads: int, seconds: float) -> Result:
    """Measure passes over the last day's rows in memory, with steps cut out of whole tensors, unlike its own loader."""
    torch.set_num_threads(threads)
    rows = pa.concat_tables(_tables(days))
    encoding = Encoding.of(rows)
    last = _tables(days[-1:])[0]
    network = _network(encoding.features(), len(get_settings().scenes))
    batches = Batches(*_tensors(encoding, last), len(get_settings().scenes), batch, get_settings().seed)
    trainer = trainer_of(network, len(get_settings().scenes))
    return _passes(lambda: trainer.train_one_epoch(batches), len(last), seconds)


def rechub_whole(days: Sequence[date], batch: int, threads: int) -> Result:
    """Measure one epoch as in its tutorials: a frame, encoded ids, scaled numbers, a feature for each column, its own loader."""
    import pandas as pd
    from sklearn.preprocessing import LabelEncoder, StandardScaler
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.utils.data import DataGenerator

    torch.set_num_threads(threads)
    started = time.monotonic()
    frame = pd.concat([table.to_pandas() for table in _tables(days)], ignore_index=True)
    numbers = columns_of()
    inputs = {name: LabelEncoder().fit_transform(frame[name]) for name in IDS}
    scaled = StandardScaler().fit_transform(frame[numbers].fillna(0).astype("float32"))
    inputs |= {name: scaled[:, index] for index, name in enumerate(numbers)}
    sparse = [SparseFeature(name, int(inputs[name].max()) + 1, SIZES["embedding"]) for name in IDS]
    features = [*sparse, *(DenseFeature(name) for name in numbers)]
    scenes = get_settings().scenes
    label = np.full((len(frame), len(scenes)), -1.0, np.float32)
    label[np.arange(len(frame)), frame["scene"].map({name: n for n, name in enumerate(scenes)})] = frame["label"]
    few = {name: values[:batch] for name, values in inputs.items()}  # it also requires data for validation and test
    loader, _, _ = DataGenerator(inputs, label).generate_dataloader(
        few, label[:batch], few, label[:batch], batch_size=batch
    )
    trainer = trainer_of(_network(features, len(scenes)), len(scenes))
    with quiet():
        trainer.train_one_epoch(loader)
    return _speed(len(frame), time.monotonic() - started)


def defaults_whole(days: Sequence[date]) -> Result:
    """Measure the same with the default model at default settings; its text vectors are made before."""
    started = time.monotonic()
    trained = train.fit(get_lake(), list(days), get_settings(), None)
    return _speed(trained.rows, time.monotonic() - started)


def lightgbm_whole(days: Sequence[date]) -> Result:
    """Measure LightGBM as the quality benchmark fits it: rounds chosen on held-out rows, then all rows fitted, one thread."""
    from benchmarks.quality.lightgbm_models import LightGbm

    started = time.monotonic()
    LightGbm(get_lake(), get_settings()).fit(days)
    rows = sum(get_lake().require("training", day, "A benchmark").table("training").rows for day in days)
    return _speed(rows, time.monotonic() - started)


def matmul(batch: int, threads: int, seconds: float) -> Result:
    """Measure the floating point operations a second of the first level's products alone, forward and backward."""
    torch.set_num_threads(threads)
    width = (SIZES["shared"] + len(get_settings().scenes) * SIZES["own"]) * SIZES["expert"]
    inputs = len(NAMES) + 3 * SIZES["embedding"]
    x = torch.rand(batch, inputs, device=device())
    w = torch.rand(inputs, width, device=device())
    grad = torch.rand(batch, width, device=device())
    count = 0
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        x @ w, x.T @ grad, grad @ w.T
        count += 1
        if device() == "cuda":
            torch.cuda.synchronize()
    return {"flop_per_second": count * 6 * batch * inputs * width / (time.monotonic() - started)}


def _tables(days: Sequence[date]) -> list[pa.Table]:
    return training_rows(get_lake(), days, [*IDS, *columns_of(), "scene", "label"])


def _tensors(encoding: Encoding, rows: pa.Table) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    label = torch.from_numpy(rows["label"].to_numpy().astype(np.float32))
    return encoding.inputs(rows), label, scene_index(rows, get_settings().scenes)


def _network(features: list[Any], tasks: int) -> torch.nn.Module:
    from torch_rechub.models.multi_task import PLE

    types = ["classification"] * tasks
    expert = {"dims": [SIZES["expert"]]}
    sizes = {"n_level": SIZES["levels"], "n_expert_specific": SIZES["own"], "n_expert_shared": SIZES["shared"]}
    towers = [{"dims": [SIZES["tower"]]}] * tasks
    return PLE(features, types, **sizes, expert_params=expert, tower_params_list=towers)


def _passes(run: Callable[[], object], rows: int, seconds: float) -> Result:
    """Measure whole passes until the seconds are over; the first one warms up and does not count."""
    with quiet():
        run()
        count = 0
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            run()
            count += 1
    return _speed(count * rows, time.monotonic() - started)


def _speed(rows: int, seconds: float) -> Result:
    return {"rows": rows, "seconds": round(seconds, 2), "rows_per_second": rows / seconds}


def main(
    engine: Annotated[Literal["ours", "rechub", "matmul", "defaults", "lightgbm"], typer.Option()],
    threads: Annotated[int, typer.Option()],
    batch: Annotated[int, typer.Option()],
    days: Days,
    what: Literal["step", "whole"] = "step",
    seconds: float = 10.0,
) -> None:
    """Run one measurement of the training benchmark and print it as JSON."""
    if engine == "matmul":
        result = matmul(batch, threads, seconds)
    elif engine in ALONE:
        result = {"defaults": defaults_whole, "lightgbm": lightgbm_whole}[engine](days)
    elif what == "whole":
        result = {"ours": ours_whole, "rechub": rechub_whole}[engine](days, batch, threads)
    else:
        result = {"ours": ours_step, "rechub": rechub_step}[engine](days, batch, threads, seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    run_benchmark(main)
