"""Checkpoints of a training run, from which a stopped run resumes.

    {home}/checkpoints/2023-07-17-4f1c…/days-3.safetensors     state after three days: memory, curve, last days as predicted
    {home}/checkpoints/2023-07-17-4f1c…/trainer.safetensors    weights and optimisers, after days and blocks of the next one

A folder is named by the log day and a hash of all that decides the result: a run with another hash starts over. A file
appears in one rename, with JSON in its header; `trainer` is written last and names the days that it belongs to.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from include.errors import CtrError
from include.lake.lake import Lake
from include.records import CurvePoint
from include.registry.model_version import ModelVersion
from include.settings import Settings
from include.version import code_digest
from training.checksum import checksum
from training.data.id_memory import Memory
from training.data.rows import Rows
from training.data.state import ModelConfig
from training.device import device
from training.distributed import is_first_process, processes
from training.learn.train_state import HeldOutDay, PartialDay, TrainState
from training.learn.trainer import NOTHING_YET, Pass, Trainer
from training.tables import NEEDED_FOR
from training.text.vector_cache import VectorCache

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]
TRAINER = "trainer.safetensors"
HELD_OUT = ("logit", "label", "scene")
"""Arrays of a held-out day; its sample is stored beside them."""


class UnusableCheckpointError(CtrError):
    """A checkpoint is damaged, or belongs to another run."""


class Checkpoints:
    """The checkpoints of one run: one at the end of each day, and within a day after each block but the last."""

    def __init__(self, home: Path, day: date, decides: dict[str, Any]) -> None:
        """Take the folder of the run of a log day; `decides` is all that its result depends on, ready for JSON."""
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        self._all = home / "checkpoints"
        self._day = day
        self.folder = self._all / f"{day}-{digest}"

    @classmethod
    def of(
        cls,
        lake: Lake,
        day: date,
        days: Sequence[date],
        config: ModelConfig,
        base: ModelVersion | None,
        settings: Settings,
    ) -> "Checkpoints":
        """Return those of the run that trains on these days with a model of this configuration, from a base or from scratch."""
        decides = {
            "builds": {
                str(training_day): lake.require("training", training_day, NEEDED_FOR).build for training_day in days
            },
            "vectors": [*VectorCache(lake, config.encoder).parts(), *VectorCache(lake, config.llm).parts(days[-1])],
            "base": base.content_hash if base else None,
            "settings": settings.digest(),
            "code": code_digest(),
            "processes": processes(),
            "torch": torch.__version__,
            "device": device(),
        }
        return cls(settings.home, day, decides)

    def write(self, trainer: Trainer, train_state: TrainState, partial_day: PartialDay | None = None) -> None:
        """Replace the checkpoint by the present state, at the end of a day or within `partial_day`; only the first
        process writes."""
        if not is_first_process():
            return
        days = len(train_state.curve)
        so_far = partial_day.so_far if partial_day else NOTHING_YET
        self.folder.mkdir(parents=True, exist_ok=True)
        if not partial_day:
            self._write(
                _days_file(days), _tensors_of(train_state), {"curve": [asdict(point) for point in train_state.curve]}
            )
        held_out = {"held_out": torch.from_numpy(partial_day.logit)} if partial_day else {}
        self._write(TRAINER, trainer.snapshot() | held_out, {"days": days, **asdict(so_far)})
        if not partial_day:
            (self.folder / _days_file(days - 1)).unlink(missing_ok=True)

    def resume(self, trainer: Trainer, fresh: TrainState) -> tuple[TrainState, PartialDay | None]:
        """Return the state at which the run was stopped and its partially trained day, with the trainer restored.

        Without a usable checkpoint it is `fresh`, and the reason is logged.
        """
        if not (self.folder / TRAINER).exists():
            return fresh, None
        try:
            tensors, header = self._read(TRAINER)
            train_state = _train_state_of(*self._read(_days_file(header["days"])), fresh) if header["days"] else fresh
        except (OSError, SafetensorError, UnusableCheckpointError) as error:
            log.warning("Training starts over: the checkpoint in %s cannot be used. %s", self.folder, error)
            return fresh, None
        held_out = tensors.pop("held_out", None)
        trainer.restore(tensors)
        log.info("Training resumes after %d days and %d blocks of the next one.", header["days"], header["blocks"])
        return train_state, None if held_out is None else PartialDay(
            held_out.numpy(), Pass(header["blocks"], header["loss"])
        )

    def remove(self) -> None:
        """Remove them, and those of other runs of the log day."""
        for folder in self._all.glob(f"{self._day}-*"):
            shutil.rmtree(folder)

    def _write(self, name: str, tensors: Tensors, header: dict[str, Any]) -> None:
        path = self.folder / name
        temporary = path.with_suffix(".tmp")
        header_json = json.dumps(header | {"run": self.folder.name})
        save_file(tensors, temporary, {"about": header_json, "digest": checksum(tensors, header_json)})
        temporary.replace(path)

    def _read(self, name: str) -> tuple[Tensors, dict[str, Any]]:
        """Return the tensors and the header of a file; raises `UnusableCheckpointError`, and the errors of safetensors."""
        with safe_open(self.folder / name, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {tensor_name: file.get_tensor(tensor_name) for tensor_name in file.keys()}  # noqa: SIM118  it is no mapping
        header_json = metadata.get("about", "{}")
        if metadata.get("digest") != checksum(tensors, header_json):
            raise UnusableCheckpointError(f"{name} is damaged: its content does not match its digest.")
        header = json.loads(header_json)
        if header["run"] != self.folder.name:
            raise UnusableCheckpointError(f"{name} belongs to the run {header['run']}.")
        return tensors, header


def _days_file(days: int) -> str:
    return f"days-{days}.safetensors"


def _tensors_of(train_state: TrainState) -> Tensors:
    tensors = {f"memory.{name}": torch.from_numpy(array) for name, array in vars(train_state.state.memory).items()}
    for index, day in enumerate(train_state.held_out):
        tensors |= {f"held_out.{index}.{name}": torch.from_numpy(getattr(day, name)) for name in HELD_OUT}
        tensors |= {f"sample.{index}.{name}": tensor for name, tensor in vars(day.sample).items()}
    return tensors


def _train_state_of(tensors: Tensors, header: dict[str, Any], fresh: TrainState) -> TrainState:
    """Return the state that `_tensors_of` has written."""
    memory = Memory(**{name: tensors[f"memory.{name}"].numpy() for name in vars(fresh.state.memory)})
    days = len({name.split(".")[1] for name in tensors if name.startswith("held_out.")})
    held_out = tuple(_held_out_of(tensors, index) for index in range(days))
    curve = tuple(CurvePoint(**point) for point in header["curve"])
    return TrainState(replace(fresh.state, memory=memory), curve, held_out)


def _held_out_of(tensors: Tensors, index: int) -> HeldOutDay:
    logit, label, scene = (tensors[f"held_out.{index}.{name}"].numpy() for name in HELD_OUT)
    sample = Rows(**{field.name: tensors[f"sample.{index}.{field.name}"] for field in fields(Rows)})
    return HeldOutDay(logit, label, scene, sample)
