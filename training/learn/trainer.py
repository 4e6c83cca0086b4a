"""The training loop: one pass over the days in order, each day predicted before the model learns from it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor, nn

from include.errors import CtrError
from include.records import CurvePoint
from include.settings import Settings
from training.checksum import checksum
from training.data.cold_simulation import ColdSimulation, draw_chances
from training.data.rows import Rows
from training.data.shuffle import blocks, generator_of
from training.device import device
from training.distributed import part_of, processes, sum_gradients, total
from training.learn.calibration import Doubles
from training.learn.steps import bfloat16_in_step, rows_of_step
from training.models.layers import ExpertBank
from training.models.network import Network, Output, by_scene
from training.models.text import TextLookup

EMBEDDING_RATE = 0.05
WARM_UP_STEPS = 20
AVERAGE_DECAY = 0.99
"""Of the moving average of the dense weights (Polyak), which looks back about a hundred steps."""
AUXILIARY = 0.2
"""Weight of the losses of backbone and content alone, which keep both readable and neither idle."""
PREDICT_BATCH = 4096


class TrainingDivergedError(CtrError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Predicted:
    """Outputs for rows in their own order, `[n] float64` each; `logit` is not calibrated."""

    logit: Doubles
    alpha: Doubles
    backbone: Doubles
    content: Doubles


@dataclass(frozen=True)
class Pass:
    """Progress of the pass over a day: the number of trained blocks, and the sum of their rows' losses."""

    blocks: int = 0
    loss: float = 0.0


NOTHING_YET = Pass()


class Trainer:
    """A model with its optimisers; id embeddings use sparse Adagrad, so that a step touches its batch's rows alone."""

    def __init__(self, model: Network, cold: ColdSimulation, settings: Settings, *, fresh: bool) -> None:
        self.device = device()
        self.model = model.to(self.device)
        torch.sparse.check_sparse_tensor_invariants.disable()  # Adagrad makes valid ones; this silences a warning
        self._cold = cold
        self._settings = settings
        self.fresh = fresh
        self._steps = 0
        tables = self._tables = [model.users.weight, model.items.weight]
        rest = [weight for weight in model.parameters() if not any(weight is table for table in tables)]
        self._dense = torch.optim.AdamW(rest, lr=settings.learning_rate, weight_decay=1e-4, fused=True)
        self._trained = rest
        self._average = [weight.detach().clone() for weight in rest]
        self._sparse = torch.optim.Adagrad(tables, lr=EMBEDDING_RATE, initial_accumulator_value=0.1)

    @contextmanager
    def precision_of(self, rows: int) -> Iterator[None]:
        """Compute in the precision of a day with `rows` rows inside the block, after it in float32 again.

        On a CPU only the experts that read all inputs use bfloat16: for narrower products, casting costs more than it saves.
        """
        experts = [module for module in self.model.modules() if isinstance(module, ExpertBank)]
        widest = [bank for bank in experts if bank.linear.in_features > bank.outputs]
        half = self.device == "cpu" and bfloat16_in_step(self._settings, rows)
        for bank in widest:
            bank.in_bfloat16 = half
        try:
            yield
        finally:
            for bank in widest:
                bank.in_bfloat16 = False

    def learn(
        self,
        rows: Rows,
        texts: TextLookup,
        day: date,
        advance: Callable[[int], None],
        so_far: Pass = NOTHING_YET,
        keep: Callable[[Pass], None] = lambda _: None,
    ) -> float:
        """Train on a day's rows in the seed's order, or on the rest after `so_far`; return the mean loss.

        Between two blocks, `keep` is called with the progress, from which the pass can be resumed.
        """
        self.model.train()
        seed = self._settings.seed
        loss = so_far.loss
        for number, positions in enumerate(blocks(len(rows), self._settings.shuffle_rows, seed, day)):
            if number < so_far.blocks:
                advance(len(positions))
                continue
            if number > so_far.blocks:
                keep(Pass(number, loss))
            loss += self._block(rows, texts, day, positions, generator_of(seed, day, number), advance)
        return loss / max(len(rows), 1)

    def _block(
        self,
        rows: Rows,
        texts: TextLookup,
        day: date,
        positions: Tensor,
        generator: torch.Generator,
        advance: Callable[[int], None],
    ) -> float:
        """Train on the rows at these positions in an order of the generator's; return the sum of their losses.

        Of several processes each trains on its part of every batch; remaining rows, fewer than processes, are left out.
        """
        loss = 0.0
        size = rows_of_step(self._settings, len(rows))
        for picks in positions[torch.randperm(len(positions), generator=generator)].split(size):
            draw = draw_chances(len(picks), generator)
            if len(picks) >= processes():
                own = part_of(picks)
                order = by_scene(rows.scene[own])
                batch = self._cold(rows.take(own[order]), part_of(draw)[:, order])
                loss += self._step(batch.to(self.device), texts, day, len(picks)) * len(batch)
            advance(len(picks))
        return float(total(torch.tensor(loss, dtype=torch.float64, device=self.device)))

    def snapshot(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, by name, on the CPU: weights and buffers, averages, optimisers, steps."""
        tensors = {f"model.{name}": weight for name, weight in self.model.state_dict().items()}
        tensors |= {f"average.{index}": weight for index, weight in enumerate(self._average)}
        for name, optimiser in self._optimisers():
            for index, values in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in values.items()}
        return {"steps": torch.tensor(self._steps)} | {name: value.detach().cpu() for name, value in tensors.items()}

    def checksum(self, more: str = "") -> str:
        """Return the checksum of the snapshot and of the text `more`."""
        return checksum(self.snapshot(), more)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the trainer of the same model to a snapshot."""
        self.model.load_state_dict(_under("model", tensors))
        torch._foreach_copy_(self._average, [tensors[f"average.{index}"] for index in range(len(self._average))])
        for name, optimiser in self._optimisers():
            state: dict[int, dict[str, Tensor]] = {}
            for path, value in _under(name, tensors).items():
                index, key = path.split(".")
                state.setdefault(int(index), {})[key] = value
            optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
        self._steps = int(tensors["steps"])

    def _optimisers(self) -> tuple[tuple[str, torch.optim.Optimizer], ...]:
        return ("dense", self._dense), ("sparse", self._sparse)

    @contextmanager
    def averaged(self) -> Iterator[Network]:
        """Yield the model with averaged weights, which predict: they are free of the last steps' noise."""
        steady = [weight.detach().clone() for weight in self._trained]
        self._set(self._average)
        try:
            yield self.model
        finally:
            self._set(steady)

    def finish(self) -> Network:
        """Return the model with averaged weights, permanently."""
        self._set(self._average)
        return self.model.eval()

    @torch.no_grad()
    def _set(self, weights: list[Tensor]) -> None:
        torch._foreach_copy_(list[Tensor](self._trained), weights)

    def _step(self, batch: Rows, texts: TextLookup, day: date, rows: int) -> float:
        """Train on a batch, or on this process's part of one with `rows` rows; return the mean loss of the part."""
        self._steps += 1
        for group in self._dense.param_groups:
            group["lr"] = self._settings.learning_rate * min(1.0, self._steps / WARM_UP_STEPS)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            out = self.model(batch, texts)
        loss = main = _bce(out.logit, batch.label)
        if self.model.variant.content:
            loss = main + AUXILIARY * (_bce(out.backbone, batch.label) + _bce(out.content, batch.label))
        if not torch.isfinite(loss):
            raise TrainingDivergedError(
                f"The loss became {float(loss.detach())} on day {day}, step {self._steps}: nothing was registered. "
                "Next: check the features of that day for extreme values (`ctr quality`), or lower CTR_LEARNING_RATE."
            )
        self._dense.zero_grad()
        self._sparse.zero_grad()
        (loss * (len(batch) / rows)).backward()
        sum_gradients(self._trained, self._tables, -(-rows // processes()))
        self._dense.step()
        self._sparse.step()
        young = (1 + self._steps) / (10 + self._steps) if self.fresh else 1.0  # random weights are soon forgotten
        decay = min(AVERAGE_DECAY, young)
        torch._foreach_lerp_(self._average, [weight.detach() for weight in self._trained], 1 - decay)
        return float(main.detach())


def predict(model: Network, rows: Rows, texts: TextLookup) -> Predicted:
    """Return outputs for rows, without calibration."""
    model.eval()
    chunks = (slice(start, start + PREDICT_BATCH) for start in range(0, len(rows), PREDICT_BATCH))
    parts = [_predict_batch(model, rows.between(chunk).to(model.device.type), texts) for chunk in chunks]
    if not parts:
        return Predicted(*(np.empty(0) for _ in range(4)))
    return Predicted(*(np.concatenate([part[index] for part in parts]) for index in range(4)))


@torch.inference_mode()
def _predict_batch(model: Network, rows: Rows, texts: TextLookup) -> list[Doubles]:
    order = by_scene(rows.scene)
    out: Output = model(rows.take(order), texts)
    back = torch.argsort(order)
    return [values[back].double().cpu().numpy() for values in (out.logit, out.alpha, out.backbone, out.content)]


def curve_point(day: date, rows: Rows, logit: Doubles, train_loss: float, started: float) -> CurvePoint:
    """Return a day's point of the learning curve; `logit [n]` was predicted before the model learned from the day."""
    from sklearn.metrics import log_loss, roc_auc_score  # which a service that predicts alone need not load

    labels = rows.label.numpy()
    both = 0 < labels.sum() < len(labels)
    probability = 1 / (1 + np.exp(-logit))
    return CurvePoint(
        day=str(day),
        rows=len(rows),
        clicks=int(labels.sum()),
        auc=round(float(roc_auc_score(labels, logit)), 5) if both else None,
        log_loss=round(float(log_loss(labels, probability, labels=[0, 1])), 5),
        train_loss=round(train_loss, 5),
        seconds=round(time.monotonic() - started, 2),
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _bce(logit: Tensor, label: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logit.float(), label)
