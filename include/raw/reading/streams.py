"""The bytes of an input: decompressed by what they are, whatever the file is called, and decoded without losing any."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

from include.errors import InvalidInputError

BLOCK_BYTES = 2 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
_ARCHIVES = {b"PK\x03\x04": ("zip", "unzip"), b"7z\xbc\xaf": ("7z", "7z x"), b"Rar!": ("rar", "unrar x")}
_TAR = slice(257, 262)
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
"""What reading a truncated or damaged file raises."""
UNDECODABLE = "undecodable"
"""Name of the codec error handler that turns bytes which are none of the encoding into lone surrogates."""


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(UNDECODABLE, _keep_bytes)


def is_undecodable(text: str) -> bool:
    """Return whether a text holds bytes that were none of its file's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def printable(text: str) -> str:
    """Return a text in which bytes that were none of the encoding are written as `\\xhh`."""
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC00 <= ord(c) <= 0xDFFF else c for c in text)


@contextmanager
def decompressed(file: IO[bytes], label: str) -> Iterator[IO[bytes]]:
    """Give the content of a seekable file, decompressed where its first bytes say so; raises for an archive of files."""
    head = _peek(file)
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
    opened: Any = file
    if kind == "gzip":
        opened = gzip.GzipFile(fileobj=file)
    elif kind == "bzip2":
        opened = bz2.BZ2File(file)
    elif kind == "xz":
        opened = lzma.LZMAFile(file)  # noqa: SIM115
    elif kind == "zstd":
        opened = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    start = opened.read(512) if kind else head
    for magic, (archive, command) in _ARCHIVES.items():
        if start.startswith(magic):
            _refuse_archive(label, archive, command)
    if start[_TAR] == b"ustar":
        _refuse_archive(label, "tar", "tar -xf")
    yield cast(IO[bytes], _Rest(start, opened) if kind else file)


def _refuse_archive(label: str, kind: str, command: str) -> None:
    raise InvalidInputError(
        f"{label}: expected one file of a log, found a {kind} archive, which may hold several. "
        f"Unpack it first (`{command}`), and give the files that were in it. Nothing was read."
    )


def _peek(file: IO[bytes]) -> bytes:
    head = file.read(512)
    file.seek(0)
    return head


class _Rest(io.RawIOBase):
    """A stream of which the beginning was read already."""

    def __init__(self, start: bytes, stream: Any) -> None:
        self._start = start
        self._stream = stream

    def readable(self) -> bool:
        """Return whether it can be read: always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, all for -1."""
        if not self._start:
            return cast(bytes, self._stream.read(size) if size >= 0 else self._stream.read())
        if size < 0:
            start, self._start = self._start, b""
            return start + cast(bytes, self._stream.read())
        start, self._start = self._start[:size], self._start[size:]
        return start


def blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a stream in blocks, the last one included."""
    while block := stream.read(BLOCK_BYTES):
        yield block


def decoder(encoding: str) -> codecs.IncrementalDecoder:
    """Return a decoder that keeps the bytes which it cannot decode, as lone surrogates."""
    return codecs.getincrementaldecoder(encoding)(errors=UNDECODABLE)
