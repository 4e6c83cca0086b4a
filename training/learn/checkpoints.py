"""Where a run of training goes on that was stopped.

    {home}/checkpoints/2023-07-17-4f1c…/days-3.safetensors     what three days left: memory, curve, last days as foreseen
    {home}/checkpoints/2023-07-17-4f1c…/trainer.safetensors    weights and optimisers, after days and blocks of the next one

A folder is named by the log day and a hash of all that decides the result: under another name there is nothing to go on with.
A file appears in one rename, with JSON in its header; `trainer` comes last and tells the days that it goes with.
"""

import hashlib
import json
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

from include.console import err
from include.errors import CtrError
from include.lake.lake import Lake
from include.registry.model_version import ModelVersion
from include.settings import Settings
from include.version import code_digest
from training.checksum import checksum
from training.data.id_memory import Memory
from training.data.rows import Rows
from training.data.state import ModelConfig
from training.device import device
from training.distributed import first, processes
from training.learn.train_state import HeldOutDay, PartialDay, TrainState
from training.learn.trainer import NOTHING_YET, CurvePoint, Pass, Trainer
from training.tables import NEEDED_FOR
from training.text.vector_cache import VectorCache

Tensors = dict[str, Tensor]
TRAINER = "trainer.safetensors"
HELD_OUT = ("logit", "label", "scene")
"""Arrays of a foreseen day; beside them is its sample."""


class UnusableCheckpointError(CtrError):
    """A checkpoint is not what was written, or not of this run."""


class Checkpoints:
    """The checkpoints of one run: one at the end of each day, and within a day after each block but the last."""

    def __init__(self, home: Path, day: date, decides: dict[str, Any]) -> None:
        """Of the run of a log day; `decides` is all that its result depends on, ready for JSON."""
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        self._all, self._day = home / "checkpoints", day
        self.folder = self._all / f"{day}-{digest}"

    @classmethod
    def of(
        cls,
        store: Lake,
        day: date,
        days: Sequence[date],
        config: ModelConfig,
        base: ModelVersion | None,
        settings: Settings,
    ) -> "Checkpoints":
        """Of the run that learns these days with a model of this configuration, from a base or from nothing."""
        decides = {
            "builds": {str(each): store.require("training", each, NEEDED_FOR).build for each in days},
            "vectors": [*VectorCache(store, config.encoder).parts(), *VectorCache(store, config.llm).parts(days[-1])],
            "base": base.content_hash if base else None,
            "settings": settings.digest(),
            "code": code_digest(),
            "processes": processes(),
            "torch": torch.__version__,
            "device": device(),
        }
        return cls(settings.home, day, decides)

    def write(self, trainer: Trainer, train_state: TrainState, partial_day: PartialDay | None = None) -> None:
        """Replaces what is there by what is learnt, at the end of a day or with the next one `begun`; the first process does."""
        if not first():
            return
        days, so_far = len(train_state.curve), partial_day.so_far if partial_day else NOTHING_YET
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
        """What was learnt when the run was stopped, and the day that was begun, with the trainer as it was then.

        Without a checkpoint that can be used it is `fresh`, and stderr tells why.
        """
        if not (self.folder / TRAINER).exists():
            return fresh, None
        try:
            kept, told = self._read(TRAINER)
            train_state = _train_state_of(*self._read(_days_file(told["days"])), fresh) if told["days"] else fresh
        except (OSError, SafetensorError, UnusableCheckpointError) as error:
            err.print(f"Training starts over: the checkpoint in {self.folder} cannot be used. {error}", markup=False)
            return fresh, None
        held_out = kept.pop("held_out", None)
        trainer.restore(kept)
        err.print(f"Training goes on after {told['days']} days and {told['blocks']} blocks of the next one.")
        return train_state, None if held_out is None else PartialDay(
            held_out.numpy(), Pass(told["blocks"], told["loss"])
        )

    def remove(self) -> None:
        """Removes them, and what other runs of the log day left."""
        for folder in self._all.glob(f"{self._day}-*"):
            shutil.rmtree(folder)

    def _write(self, name: str, tensors: Tensors, told: dict[str, Any]) -> None:
        path = self.folder / name
        temporary = path.with_suffix(".tmp")
        header = json.dumps(told | {"run": self.folder.name})
        save_file(tensors, temporary, {"about": header, "digest": checksum(tensors, header)})
        temporary.replace(path)

    def _read(self, name: str) -> tuple[Tensors, dict[str, Any]]:
        """The tensors and the header of a file; raises `UnusableCheckpointError`, and what safetensors raises."""
        with safe_open(self.folder / name, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118  it is no mapping
        header = metadata.get("about", "{}")
        if metadata.get("digest") != checksum(tensors, header):
            raise UnusableCheckpointError(f"{name} is damaged: its content is not that of its digest.")
        told = json.loads(header)
        if told["run"] != self.folder.name:
            raise UnusableCheckpointError(f"{name} is of the run {told['run']}.")
        return tensors, told


def _days_file(days: int) -> str:
    return f"days-{days}.safetensors"


def _tensors_of(train_state: TrainState) -> Tensors:
    tensors = {f"memory.{name}": torch.from_numpy(array) for name, array in vars(train_state.state.memory).items()}
    for place, day in enumerate(train_state.held_out):
        tensors |= {f"held_out.{place}.{name}": torch.from_numpy(getattr(day, name)) for name in HELD_OUT}
        tensors |= {f"sample.{place}.{name}": tensor for name, tensor in vars(day.sample).items()}
    return tensors


def _train_state_of(tensors: Tensors, told: dict[str, Any], fresh: TrainState) -> TrainState:
    """The inverse of `_tensors_of`."""
    memory = Memory(**{name: tensors[f"memory.{name}"].numpy() for name in vars(fresh.state.memory)})
    days = len({name.split(".")[1] for name in tensors if name.startswith("held_out.")})
    held_out = tuple(_held_out_of(tensors, place) for place in range(days))
    curve = tuple(CurvePoint(**point) for point in told["curve"])
    return TrainState(replace(fresh.state, memory=memory), curve, held_out)


def _held_out_of(tensors: Tensors, place: int) -> HeldOutDay:
    logit, label, scene = (tensors[f"held_out.{place}.{name}"].numpy() for name in HELD_OUT)
    sample = Rows(**{each.name: tensors[f"sample.{place}.{each.name}"] for each in fields(Rows)})
    return HeldOutDay(logit, label, scene, sample)
