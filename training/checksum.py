"""One number for many tensors, to detect whether any of them has changed."""

from collections.abc import Mapping

import xxhash
from torch import Tensor


def checksum(tensors: Mapping[str, Tensor], more: str = "") -> str:
    """Return a 128-bit hash, in hex, of the names and values of contiguous CPU tensors and of the text `more`."""
    digest = xxhash.xxh3_128(more.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
