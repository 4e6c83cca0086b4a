"""The key under which a text's vectors are cached: Spark's `xxhash64(text)`, computed here without Spark."""

import xxhash


def text_key(text: str) -> int:
    """Return the signed 64-bit xxHash of the UTF-8 bytes with seed 42, equal to Spark SQL's `xxhash64` of a string."""
    unsigned = xxhash.xxh64_intdigest(text.encode(), seed=42)
    return unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned
