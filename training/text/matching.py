"""How an item's texts fit a sequence of intents, without weights to learn: a small histogram of similarities.

For each entity of the intent, its nearest among the item's title and entities counts; the histogram is soft, with
Gaussian kernels as in K-NRM (Xiong et al., SIGIR 2017), so that "one entity is the same" differs from "all are somewhat
alike".
"""

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

CENTRES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
WIDTH = 0.1
MATCH_WIDTH = len(CENTRES) + 2
"""The kernels, the mean and the best."""
CHUNK = 4096


def match(unit: Floats, item: Indices, intent: Indices) -> Floats:
    """Return similarities `[n, MATCH_WIDTH] float32` of items' texts `[n, a]` to intents `[n, b]`, rows of `unit
    [texts, dim]`.

    Row 0 of `unit` is no text; a row without intents or without texts is zero.
    """
    table = torch.from_numpy(unit)
    chunks = range(0, len(item), CHUNK)
    parts = [
        _match(table, torch.from_numpy(item[start : start + CHUNK]), torch.from_numpy(intent[start : start + CHUNK]))
        for start in chunks
    ]
    return torch.cat(parts).numpy() if parts else np.zeros((0, MATCH_WIDTH), np.float32)


def _match(unit: torch.Tensor, item: torch.Tensor, intent: torch.Tensor) -> torch.Tensor:
    cosines = torch.bmm(unit[intent], unit[item].transpose(1, 2))  # [n, b, a]
    nearest = cosines.masked_fill((item == 0)[:, None, :], -1.0).amax(dim=2)  # [n, b]
    present = ((intent > 0) & (item > 0).any(dim=1, keepdim=True)).float()
    count = present.sum(dim=1, keepdim=True).clamp(min=1)
    kernels = torch.exp(-((nearest[:, :, None] - torch.tensor(CENTRES)) ** 2) / (2 * WIDTH**2))
    histogram = (kernels * present[:, :, None]).sum(dim=1) / count
    mean = (nearest * present).sum(dim=1, keepdim=True) / count
    best = nearest.masked_fill(present == 0, -1.0).amax(dim=1, keepdim=True) * present.amax(dim=1, keepdim=True)
    return torch.cat([histogram, mean, best], dim=1)
