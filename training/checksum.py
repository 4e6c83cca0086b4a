"""One number for many tensors, to tell whether they are still what they were."""

from collections.abc import Mapping

import xxhash
from torch import Tensor


def checksum(tensors: Mapping[str, Tensor], more: str = "") -> str:
    """Of the names and the values of contiguous tensors on the CPU, and of some text."""
    digest = xxhash.xxh3_128(more.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
