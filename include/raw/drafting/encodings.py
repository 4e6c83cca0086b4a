"""The encoding of a text, from its first bytes."""

import codecs
import re
from dataclasses import dataclass

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PAIR = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")
_LEVEL_ONE = re.compile(rb"^[\xb0-\xd7][\xa1-\xfe]$")
_LONE_HIGH = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_MOST_BROKEN = 0.02


@dataclass(frozen=True)
class Encoding:
    """A guessed encoding, empty where there is none, and why it was guessed."""

    name: str
    why: str


def guess_encoding(data: bytes) -> Encoding:
    """Return the encoding of a text by its byte order mark, its NULs, and what decodes it strictly."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return Encoding(name, "a byte order mark" if name != "utf-8" else "UTF-8 with a byte order mark")
    if wide := _wide(data):
        return Encoding(wide, "every second byte is NUL")
    if _decodes(data, "utf-8"):
        return Encoding("utf-8", "ASCII alone" if data.isascii() else "every byte is UTF-8")
    lines = data.split(b"\n")
    broken = sum(not _decodes(line, "utf-8") for line in lines[:-1] or lines)
    whole = sum(not line.isascii() for line in lines) - broken
    if broken <= max(1, _MOST_BROKEN * len(lines)) and whole > broken:
        return Encoding("utf-8", f"UTF-8 but for {broken:,} of {len(lines):,} lines, which will be rejected")
    pairs = [match[0] for match in _PAIR.finditer(re.sub(rb"[\x00-\x7f]+(?=[\x00-\x7f])", b" ", data))]
    common = sum(bool(_LEVEL_ONE.match(pair)) for pair in pairs)
    if pairs and common > len(pairs) / 2 and _decodes(data, "gb18030"):
        return Encoding(
            "gb18030", f"no UTF-8; as GB18030, {common / len(pairs):.0%} of its characters are common Chinese ones"
        )
    high = len(re.findall(rb"[\x80-\xff]", data))
    if high and len(_LONE_HIGH.findall(data)) > 0.8 * high:
        return Encoding("cp1252", "no UTF-8; single accented letters between ASCII, as Windows-1252 has them")
    return Encoding("", "neither UTF-8, UTF-16 nor GB18030")


def _wide(data: bytes) -> str:
    """Return UTF-16's name where every second byte of the first lines is NUL, as in ASCII text."""
    head = data[: min(len(data), 4096) // 2 * 2]
    if len(head) < 4:
        return ""
    even, odd = head[::2].count(0) / (len(head) / 2), head[1::2].count(0) / (len(head) / 2)
    if odd > 0.5 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.5 and odd < 0.1 else ""


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        # The sample may end inside a character.
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
