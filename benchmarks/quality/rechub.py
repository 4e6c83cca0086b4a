"""torch-rechub's MMoE and PLE as peers: one task a scene, of which a row trains its own scene's alone.

Ids are encoded on the training days (0: unknown), dense inputs are those of the project's models, standardised in the same
way; it has no texts. Sizes are those of its tutorials (datawhalechina.github.io/torch-rechub, multi_task/mmoe and ple),
optimiser and most epochs the defaults of its `MTLTrainer`, steps as large as the project's. The number of epochs is that of
the lowest log loss on the last training day, fitted without it (`held_out`); then all days are fitted with it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE
from torch_rechub.trainers import MTLTrainer

from benchmarks.quality.rows import held_out, training_rows
from include.lake.lake import Lake
from include.settings import Settings
from training.data.dense import columns_of, transformed
from training.data.standardiser import Standardiser
from training.data.vocabulary import Vocabulary
from training.device import device, steady_threads
from training.evaluate.metrics import Floats, row_log_loss
from training.learn.steps import FEWEST_ROWS

MOST_EPOCHS = 10
"""The default of `MTLTrainer`."""
EMBEDDING = 16
EXPERT = {"dims": [16]}
TOWER = {"dims": [8]}
SIZES: dict[str, dict[str, int]] = {
    "mmoe": {"n_expert": 8},
    "ple": {"n_level": 1, "n_expert_specific": 2, "n_expert_shared": 1},
}
IDS = ("user_id", "item_id")
PREDICT_BATCH = 8192
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Encoding:
    """How rows become inputs: vocabularies and statistics of the training days."""

    ids: dict[str, Vocabulary]
    standardiser: Standardiser

    @classmethod
    def of(cls, rows: pa.Table) -> "Encoding":
        """Return the encoding of training rows."""
        ids = {name: Vocabulary.empty().extended(rows[name]) for name in IDS}
        return cls(ids, Standardiser.fit(transformed(rows)))

    def inputs(self, rows: pa.Table) -> Inputs:
        """Return `user_id`, `item_id [n] int64`, `dense [n, inputs] float32`."""
        dense = torch.from_numpy(self.standardiser.apply(transformed(rows)))
        return {name: torch.from_numpy(ids.encode(rows[name])) for name, ids in self.ids.items()} | {"dense": dense}

    def features(self) -> list[Any]:
        """Return the inputs as features of torch-rechub."""
        sparse = [SparseFeature(name, vocab_size=len(ids), embed_dim=EMBEDDING) for name, ids in self.ids.items()]
        return [*sparse, DenseFeature("dense", embed_dim=self.standardiser.width)]


class Batches:
    """Shuffled steps of one pass each time it is iterated; of labels `[n, tasks]` all but the row's scene's are -1.

    A last step of a single row is left out: batch normalisation cannot take it.
    """

    def __init__(self, inputs: Inputs, label: Tensor, scene: Tensor, tasks: int, size: int, seed: int) -> None:
        self._inputs = inputs
        self._size = size
        self._labels = torch.full((len(label), tasks), -1.0).scatter_(1, scene[:, None], label[:, None])
        self._generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        for picks in torch.randperm(len(self._labels), generator=self._generator).split(self._size):
            if len(picks) > 1:
                yield {name: values[picks] for name, values in self._inputs.items()}, self._labels[picks]


class Rechub:
    """`MMOE` or `PLE` of torch-rechub."""

    def __init__(self, kind: str, lake: Lake, settings: Settings) -> None:
        self._kind = kind
        self._lake = lake
        self._settings = settings
        self.about: dict[str, Any] = {}

    def fit(self, days: Sequence[date]) -> None:
        """Implement `Model`."""
        rows = training_rows(self._lake, days, [*IDS, *columns_of(), "scene", "label"])
        fitted_rows, held = held_out(rows)
        losses = self._train(fitted_rows, MOST_EPOCHS, judged_on=held)
        epochs = int(np.argmin(losses)) + 1
        self._train(pa.concat_tables(rows), epochs)
        self.about = {
            "epochs": epochs,
            "most_epochs": MOST_EPOCHS,
            "held_out_log_loss": [round(loss, 5) for loss in losses],
            "sizes": SIZES[self._kind] | {"embedding": EMBEDDING, "expert": EXPERT["dims"], "tower": TOWER["dims"]},
            "batch_size": self._step_rows,
            "weights": sum(weight.numel() for weight in self._model.parameters()),
        }

    @property
    def _step_rows(self) -> int:
        return self._settings.batch_size or FEWEST_ROWS

    def predict(self, rows: pa.Table) -> Floats:
        """Implement `Model`."""
        self._model.eval()
        inputs = self._encoding.inputs(rows)
        scene = scene_index(rows, self._settings.scenes)
        parts = []
        with torch.inference_mode():
            for picks in torch.arange(len(scene)).split(PREDICT_BATCH):
                batch = {name: values[picks].to(device()) for name, values in inputs.items()}
                parts.append(self._model(batch).cpu().gather(1, scene[picks, None])[:, 0])
        return torch.cat(parts).double().numpy()

    def _train(self, rows: pa.Table, epochs: int, judged_on: pa.Table | None = None) -> list[float]:
        """Train from scratch; return the log loss of the rows `judged_on` after each epoch."""
        steady_threads()
        torch.manual_seed(self._settings.seed)
        self._encoding = Encoding.of(rows)
        tasks = len(self._settings.scenes)
        towers = {"expert_params": EXPERT, "tower_params_list": [TOWER] * tasks}
        network = {"mmoe": MMOE, "ple": PLE}[self._kind]
        types = ["classification"] * tasks
        self._model = network(self._encoding.features(), types, **SIZES[self._kind], **towers)
        label = torch.from_numpy(rows["label"].to_numpy().astype(np.float32))
        size = self._step_rows
        seed = self._settings.seed
        batches = Batches(
            self._encoding.inputs(rows), label, scene_index(rows, self._settings.scenes), tasks, size, seed
        )
        losses = []
        with quiet():
            trainer = trainer_of(self._model, tasks)
            for _ in range(epochs):
                trainer.train_one_epoch(batches)
                if judged_on is not None:
                    losses.append(float(row_log_loss(judged_on["label"].to_numpy(), self.predict(judged_on)).mean()))
        return losses


def scene_index(rows: pa.Table, scenes: tuple[str, ...]) -> Tensor:
    """Return the index of each row's scene among the scenes `[n] int64`."""
    indices = pc.index_in(rows["scene"], value_set=pa.array(scenes, pa.string()))
    return torch.from_numpy(indices.to_numpy().astype(np.int64))


def trainer_of(network: torch.nn.Module, tasks: int) -> Any:
    """Return torch-rechub's trainer of a network with a task for each scene; a row trains only its own scene's task."""
    trainer = MTLTrainer(network, ["classification"] * tasks, device=device())
    trainer.loss_fns = [partial(own_scene_loss, tasks=tasks)] * tasks
    return trainer


def own_scene_loss(probability: Tensor, label: Tensor, tasks: int) -> Tensor:
    """Return a task's part of the log loss over a step: rows of other scenes (label -1) add nothing, but count.

    The trainer's mean over the tasks is then the mean over the rows of the log loss in each row's own scene.
    """
    own = label >= 0
    own_loss = torch.nn.functional.binary_cross_entropy(probability[own], label[own], reduction="sum")
    return own_loss * tasks / len(label)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress output inside the block: the trainer prints each epoch and draws progress bars."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
