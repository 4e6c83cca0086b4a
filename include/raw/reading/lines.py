"""Text as blocks of UTF-8 lines, whatever its encoding and line ends; every line is counted as it arrives."""

from collections.abc import Iterator
from typing import IO

from include.errors import InvalidInputError
from include.raw.reading.records import FileCounts
from include.raw.reading.streams import UNDECODABLE, blocks, decoder
from include.raw.reading.tokens import MAX_RECORD_CHARACTERS

BOM = "\ufeff".encode()


def is_utf8(encoding: str) -> bool:
    """Return whether an encoding is UTF-8 by one of its names."""
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")


def decode_block(block: bytes, encoding: str) -> str:
    """Return the text of a block of `utf8_blocks`; bytes that are none of the encoding are lone surrogates."""
    return block.decode("utf-8", UNDECODABLE if is_utf8(encoding) else "surrogatepass")


def utf8_blocks(stream: IO[bytes], encoding: str, counts: FileCounts) -> Iterator[bytes]:
    """Yield text as UTF-8 with `\\n` or `\\r\\n` at line ends, without byte order marks; counts its lines.

    Bytes that are none of another encoding come as UTF-8 of lone surrogates, which no decoder takes for text.
    """
    decode = None if is_utf8(encoding) else decoder(encoding)
    only_returns: bool | None = None
    last = b"\n"
    for raw in blocks(stream):
        block = decode.decode(raw).encode("utf-8", "surrogatepass") if decode else raw
        if only_returns is None:
            block = block.removeprefix(BOM)
            only_returns = b"\n" not in block and b"\r" in block
        if only_returns:
            block = block.replace(b"\r", b"\n")
        if block:
            counts.lines += block.count(b"\n")
            last = block[-1:]
            yield block
    if decode and (end := decode.decode(b"", final=True).encode("utf-8", "surrogatepass")):
        last = end[-1:]
        yield end
    counts.lines += last != b"\n"


def refuse_endless_line(rest: bytes, label: str, line: int) -> None:
    """Raise `InvalidInputError` for the beginning of a line that is too long to be one of a log."""
    if len(rest) > 4 * MAX_RECORD_CHARACTERS:
        raise InvalidInputError(
            f"{label}, line {line:,}: expected lines of text, found one of more than {len(rest):,} bytes. "
            "Is it the right file? Correct 'format', 'encoding' or 'files' in the mapping."
        )
