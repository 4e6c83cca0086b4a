"""The formats of a column's times."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from include.mapping.mapping import EPOCHS, ISO, Times
from include.raw.reading.times import CARRIES_ZONE, parse_times

_EARLIEST = np.datetime64("2000-01-01", "us")
_VALUES = 2_000
_DIGITS = {10: "epoch_seconds", 13: "epoch_milliseconds", 16: "epoch_microseconds", 19: "epoch_nanoseconds"}
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_HOURS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")
_OTHERS = (
    "%d/%b/%Y:%H:%M:%S %z",
    "%d %b %Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%a %b %d %H:%M:%S %Y",
    "%b %d, %Y %H:%M:%S",
    "%b %d, %Y %I:%M:%S %p",
    "%Y.%m.%d %H:%M:%S",
    "%Y_%m_%d %H:%M:%S",
    "%Y%m%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S %Z",
    "%Y-%m-%d %H:%M:%S,%f",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日 %H时%M分%S秒",
    "%Y年%m月%d日",
)


@dataclass
class TimeGuess:
    """Formats that read a column's times, the share that they read, and whether day and month may be the other way round."""

    formats: list[str] = field(default_factory=list)
    share: float = 0.0
    swapped: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    has_zone: bool = False
    is_coarse: bool = False


def guess_times(values: list[str]) -> TimeGuess:
    """Return the formats that read a column's values; none where they are no times."""
    counts = Counter(value.strip() for value in values[: 10 * _VALUES])
    texts = [text for text, _ in counts.most_common(_VALUES)]
    guess = TimeGuess()
    if not texts or not _may_be_times(texts):
        return guess
    left = texts
    while left:
        found = {form: _read(left, form) for form in _candidates(left)}
        form = max(found, key=lambda name: found[name].sum(), default="")
        if not form or not found[form].sum():
            break
        guess.formats.append(form)
        swapped = form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
        # A day above 12 would tell.
        if form[:2] in ("%d", "%m") and "%b" not in form and (found.get(swapped, np.zeros(1)) >= found[form]).all():
            guess.swapped.append(swapped)
        left = [text for text, read in zip(left, found[form], strict=True) if not read]
    total = sum(counts[text] for text in texts)
    guess.unread = left
    guess.share = 1 - sum(counts[text] for text in left) / total
    guess.has_zone = any(form in EPOCHS or form.endswith(("%z", "%Z")) for form in guess.formats) or (
        ISO in guess.formats and any(re.search(CARRIES_ZONE, text) for text in texts)
    )
    moments = parse_times(pa.array(texts), Times(formats=guess.formats or [ISO])).moments
    known = moments[~np.isnat(moments)]
    guess.is_coarse = bool(len(known)) and bool((known == known.astype("datetime64[m]")).all())
    return guess


def _may_be_times(texts: list[str]) -> bool:
    head = texts[:200]
    return sum(bool(re.search(r"\d.*\d.*\d.*\d.*\d.*\d", text)) and len(text) <= 40 for text in head) > len(head) / 2


def _candidates(texts: list[str]) -> list[str]:
    """Return the formats that could read some of the texts, by their form."""
    head = texts[:50]
    formats: list[str] = []
    lengths = {len(text) for text in head if text.isdigit()}
    formats += [form for length, form in _COMPACT.items() if length in lengths]
    formats += [form for length, form in _DIGITS.items() if length in lengths]
    if any(re.fullmatch(r"\d{10}\.\d+|1\.\d+[eE]\+?0?9", text) for text in head):
        formats.append("epoch_seconds")
    if any(re.fullmatch(r"\d{13}\.0*|1\.\d+[eE]\+?12", text) for text in head):
        formats.append("epoch_milliseconds")
    if any(re.match(r"\d{4}[-/T]\d", text) or re.match(r"\d{8}T", text) for text in head):
        formats.append(ISO)
    if match := next(
        (m for text in head if (m := re.match(r"\d{1,2}([./-])\d{1,2}[./-](\d{4}|\d\d)([ T]+|$)(.*)", text))), None
    ):
        mark, year = match[1], "%Y" if len(match[2]) == 4 else "%y"
        hours = [f"{match[3]}{hours}" for hours in _HOURS] if match[4] else [""]
        formats += [f"{a}{mark}{b}{mark}{year}{hour}" for a, b in (("%d", "%m"), ("%m", "%d")) for hour in hours]
    if any(re.search(r"[A-Za-z年._,]|\d{8} ", text) for text in head):
        formats += _OTHERS
    return list(dict.fromkeys(formats))


def _read(texts: list[str], form: str) -> np.ndarray:
    """Return which texts the format reads as times between 2000 and next year."""
    moments = parse_times(pa.array(texts), Times(formats=[form])).moments
    latest = np.datetime64((datetime.now(UTC) + timedelta(days=366)).date(), "us")
    inside = ~np.isnat(moments)
    inside[inside] = (moments[inside] < latest) & (moments[inside] >= _EARLIEST)
    return inside
