"""`train`: the candidate of log day *d*, from the training rows of days before *d*.

It continues the newest version promoted on an earlier day with the days since that one was trained, or starts from
scratch on the training window (`warm_start.py`). Nothing of day *d* or later is read.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import torch

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest
from include.records import CurvePoint, Train
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import Settings
from include.version import code_version
from training import pyfunc
from training.data.cold_simulation import ColdSimulation
from training.data.id_memory import Memory
from training.data.state import ModelConfig, State
from training.device import steady_threads
from training.distributed import is_first_process, require_same
from training.learn import probe
from training.learn.artifact import Predictor, build_model, load_texts, save, text_lookup
from training.learn.calibration import Calibration
from training.learn.checkpoints import Checkpoints
from training.learn.dataset_scan import DatasetScan, scan_dataset
from training.learn.learning_curve import write_curve
from training.learn.left_out import left_out
from training.learn.train_day import Learning, Texts
from training.learn.train_state import TrainState
from training.learn.trainer import Trainer, predict
from training.learn.warm_start import fresh_config, start_of
from training.models.network import Network
from training.progress import progress
from training.tables import NEEDED_FOR, only_days_before
from training.text.topics import Topics
from training.text.vector_cache import Keys, VectorCache
from training.text.whitening import Whitening

log = logging.getLogger(__name__)

LLM_DIM = 64
SHARE = "Next: give all processes the same lake, registry, settings, code and CTR_HOME."
DIFFERED = "Next: train again on devices of one kind; if the processes still differ, in one process."


@dataclass(frozen=True)
class Trained:
    """A trained model and its learning curve."""

    predictor: Predictor
    curve: tuple[CurvePoint, ...]
    rows: int


def run(day: date, settings: Settings, *, scratch: bool = False) -> Train | None:
    """Train and register the candidate of `day`, and return the record that it writes.

    Of several processes, the first one registers and writes; the others return None. Raises
    `MissingDataError` where there is no training day.
    """
    started = time.monotonic()
    started_at = datetime.now(UTC)
    lake = get_lake()
    with only_days_before(day):
        start = start_of(lake, day, settings, scratch=scratch)
    base = start.version
    days = start.days
    if not days and base is None:
        raise MissingDataError(
            f"Training for {day} needs published training rows of at least one day in the {settings.train_days} days before it, "
            f"found none in {lake.url}. Next: load history (`ctr history`)."
        )
    if not days and base is not None:
        log.info("No published day since version %d was trained: it remains the candidate of %s.", base.version, day)
        return _record(lake, day, settings.model, base, days, None, started) if is_first_process() else None
    config = start.model.state.config if start.model else fresh_config(lake, days, settings)
    manifests = {
        training_day: lake.require("training", training_day, NEEDED_FOR) for training_day in days
    }  # of the rows that are read from here on
    checkpoints = Checkpoints.of(lake, day, days, config, base, settings)
    with only_days_before(day):
        trained = fit(lake, days, settings, start.model, checkpoints)
    if not is_first_process():
        return None
    absent = ", ".join(left_out(trained.predictor.state))
    if absent:
        log.info("Left out of the model, absent or constant in the days that it was fitted on: %s.", absent)
    with tempfile.TemporaryDirectory() as folder:
        digest = save(Path(folder), trained.predictor, _provenance(manifests, settings, base))
        pyfunc.describe(Path(folder))
        write_curve(Path(folder), trained.curve)
        probe.write(Path(folder), trained.predictor, lake, days[-1])
        version = registry.register(
            Path(folder),
            log_day=day,
            trained_from=base.trained_from if base else days[0],
            trained_through=days[-1],
            base_version=base.version if base else None,
            builds={training_day: manifest.build for training_day, manifest in manifests.items()},
            content_hash=digest,
            metrics=_metrics(trained),
            params={
                "days": len(days),
                "base_version": base.version if base else "none",
                "left_out": absent or "none",
                "settings_digest": settings.digest(),
                **settings.recorded(),
            },
            began=started_at,
        )
    checkpoints.remove()
    registry.prune()
    return _record(lake, day, settings.model, version, days, trained, started)


def fit(
    lake: Lake,
    days: Sequence[date],
    settings: Settings,
    base: Predictor | None,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Train on the days in order, from `base` or from scratch, with the settings' model variant.

    The same input and seed give the same weights on a CPU, whether or not the run resumes from `checkpoints`. Raises
    `InvalidInputError` where `base` is of another variant.
    """
    steady_threads(settings.train_threads or 1)
    torch.manual_seed(settings.seed)
    # As `use_deterministic_algorithms`, which imports torch's compiler for 1.6 s.
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    config = base.state.config if base else fresh_config(lake, days, settings)
    if config.model != settings.model:
        raise InvalidInputError(
            f"A model '{config.model}' cannot be continued as '{settings.model}'. Next: start from scratch."
        )
    scan = scan_dataset(lake, days, base, config.variant, settings.shard_rows)
    train_state = TrainState(
        extended_state(lake, base.state, scan, days[-1])
        if base
        else fresh_state(lake, scan, config, settings, days[-1])
    )
    model = build_model(train_state.state)
    if base:
        _copy_weights(model, base.model)
    cold = ColdSimulation(train_state.state.standardiser, config.user_cold_rate, config.item_cold_rate)
    trainer = Trainer(model, cold, settings, fresh=base is None)
    texts = _texts(lake, train_state.state, scan, days[-1], trainer.device)
    train_state, partial_day = checkpoints.resume(trainer, train_state) if checkpoints else (train_state, None)
    progress_text = f"{days[len(train_state.curve) :]} {partial_day and partial_day.so_far}"
    require_same("the remaining training data", lambda: trainer.checksum(progress_text), SHARE)
    with progress() as bar:
        task = bar.add_task("Training", total=scan.rows, completed=sum(point.rows for point in train_state.curve))
        learning = Learning(lake, settings, trainer, texts, lambda count: bar.advance(task, count), checkpoints)
        for day in days[len(train_state.curve) :]:
            train_state = learning.day(day, train_state, partial_day)
            partial_day = None
            require_same(f"the model after {day}", trainer.checksum, DIFFERED)
            if checkpoints:
                checkpoints.write(trainer, train_state)
    network = trainer.finish()
    again = [predict(network, day.sample, texts.lookup).logit for day in train_state.held_out]
    before = base.calibration if base else Calibration.identity(len(config.scenes))
    return Trained(
        Predictor(network, train_state.state, train_state.calibration(before, again)), train_state.curve, scan.rows
    )


def _texts(lake: Lake, state: State, scan: DatasetScan, last: date, device_name: str) -> Texts:
    table = load_texts(state, scan.keys, lake, llm_through=last)
    if table.missing:
        log.warning(
            "%s of %s texts have no vector; they read as no text (run embed-texts).",
            f"{table.missing:,}",
            f"{len(scan.keys):,}",
        )
    return Texts(table, state.topics.of(table), text_lookup(table, device_name))


def fresh_state(lake: Lake, scan: DatasetScan, config: ModelConfig, settings: Settings, last: date) -> State:
    """Return the state before the first day of a model that starts from scratch: statistics are the window's."""
    whitening, topics = _text_space(lake, config, scan, settings.seed)
    assert scan.standardiser is not None
    deep = scan.standardiser.deep
    return State(
        config=config,
        users=scan.users,
        items=scan.items,
        standardiser=scan.standardiser,
        whiten_text=whitening,
        whiten_llm=_llm_whitening(lake, config, scan.keys, last),
        topics=topics,
        memory=Memory.empty(
            len(scan.users), len(scan.items), len(topics.centres), whitening.dim, deep.stop - deep.start
        ),
    )


def _text_space(lake: Lake, config: ModelConfig, scan: DatasetScan, seed: int) -> tuple[Whitening, Topics]:
    """Return whitening and topics of the items' texts; of width 0 for a model without text."""
    if not config.variant.text:
        return Whitening.nothing(), Topics.none()
    vectors, has_vector = VectorCache(lake, config.encoder).lookup(scan.item_keys)
    whitening = Whitening.fit(vectors[has_vector], space=config.text_space)
    return whitening, Topics.fit(whitening.directions(whitening.apply(vectors[has_vector])), seed)


def extended_state(lake: Lake, state: State, scan: DatasetScan, last: date) -> State:
    """Return the base's state with the new days' ids; statistics and whitening stay, as the weights were trained with
    them; a base of a time without bounds gets those at which it clips.

    Only a base that never saw a language-model vector gets their whitening now.
    """
    if not state.whiten_llm.fitted:
        state = replace(state, whiten_llm=_llm_whitening(lake, state.config, scan.keys, last))
    state = replace(state, standardiser=state.standardiser.with_bounds())
    return state.extended(scan.users, scan.items)


def _llm_whitening(lake: Lake, config: ModelConfig, keys: Keys, last: date) -> Whitening:
    """Return the whitening of the cached cold texts; an empty one while there are fewer than two."""
    if not config.variant.llm:
        return Whitening.nothing()
    vectors, has_vector = VectorCache(lake, config.llm).lookup(keys, last)
    return Whitening.fit(vectors[has_vector], LLM_DIM) if has_vector.sum() >= 2 else Whitening.nothing(LLM_DIM)


@torch.no_grad()
def _copy_weights(model: Network, base: Network) -> None:
    """Copy the base's weights; new ids keep their fresh rows."""
    old = base.state_dict()
    for name, weight in model.state_dict().items():
        weight[: len(old[name])].copy_(old[name]) if weight.dim() else weight.copy_(old[name])


def _provenance(manifests: dict[date, Manifest], settings: Settings, base: ModelVersion | None) -> dict[str, Any]:
    return {
        "manifests": {
            "base_version": base.version if base else None,
            "code": code_version(),
            "training": {str(day): asdict(manifest) for day, manifest in manifests.items()},
        },
        "settings": settings.recorded(),
    }


def _metrics(trained: Trained) -> dict[str, float]:
    last = trained.curve[-1]
    metrics = {"rows": float(trained.rows), "progressive_log_loss": last.log_loss, "train_loss": last.train_loss}
    return metrics | ({"progressive_auc": last.auc} if last.auc is not None else {})


def _record(
    lake: Lake,
    day: date,
    model: str,
    version: ModelVersion,
    days: Sequence[date],
    trained: Trained | None,
    started: float,
) -> Train:
    record = Train(
        day=day,
        model=model,
        version=version.version,
        base_version=version.base_version,
        trained_from=version.trained_from,
        trained_through=version.trained_through,
        days=len(days),
        rows=trained.rows if trained else 0,
        seconds=round(time.monotonic() - started, 2),
        content_hash=version.content_hash,
        learning_curve=list(trained.curve) if trained else [],
    )
    lake.write_record(record)
    return record
