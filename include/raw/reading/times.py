"""Times as logged → wall-clock times in the zone of the log's days, a whole batch at once.

A zone that a time carries wins over the mapping's. Local times that a change of the clocks repeats or leaves out are counted.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.mapping.mapping import EPOCHS, ISO, Times

if TYPE_CHECKING:
    import pandas as pd

Moments = np.ndarray[Any, np.dtype[np.datetime64]]
MICROSECONDS = "datetime64[us]"
_ZONE = re.compile(r"\s*(Z|[+-]\d\d(?::?\d\d)?|(?<=[\s\d])[A-Za-z][A-Za-z0-9/_+-]*)$")
CARRIES_ZONE = r"[T ]\d\d[\d:.,]*\s*(Z|z|[+-]\d\d(:?\d\d)?|UTC|GMT|[A-Za-z]+/[A-Za-z0-9/_+-]+)$"
"""A time of day that ends in its zone."""


@dataclass
class ParsedTimes:
    """Wall-clock times, NaT where a time has none of the formats, and how many local times were not of one moment."""

    moments: Moments
    repeated: int = 0
    skipped: int = 0


@dataclass
class _Zones:
    """Turns local and absolute times into those of the log's days; counts what a change of the clocks made unclear."""

    times: Times
    repeated: int = 0
    skipped: int = 0
    days_in: ZoneInfo = field(init=False)

    def __post_init__(self) -> None:
        self.days_in = ZoneInfo(self.times.days_in)

    def of_local(self, local: "pd.DatetimeIndex", zone: Any) -> "pd.DatetimeIndex":
        """Return local times of a zone in that of the days: the first of two readings, and after a gap its end."""
        import pandas as pd

        codes, quarters = _quarters(local)
        if not len(quarters):
            return local
        first = quarters.tz_localize(zone, ambiguous=np.ones(len(quarters), bool), nonexistent="shift_forward")
        repeated = quarters.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
        skipped = quarters.tz_localize(zone, ambiguous=np.ones(len(quarters), bool), nonexistent="NaT").isna()
        known = codes[codes >= 0]
        self.repeated += int(np.asarray(repeated)[known].sum())
        self.skipped += int(np.asarray(skipped)[known].sum())
        if str(zone) == self.times.days_in:
            return local  # on the clock that the days have, it is what was written
        shift = self.of_absolute(first).to_numpy() - quarters.to_numpy()
        inside = np.where(skipped, np.timedelta64(0, "ns"), np.timedelta64(1, "ns"))
        moments = local.to_numpy()
        start = quarters.to_numpy()[codes]
        moved = start + shift[codes] + (moments - start) * inside[codes].astype(np.int64)
        return pd.DatetimeIndex(np.where(codes >= 0, moved, np.datetime64("NaT")))

    def of_absolute(self, moments: "pd.DatetimeIndex") -> "pd.DatetimeIndex":
        """Return absolute times in the zone of the days."""
        import pandas as pd

        absolute = moments.tz_convert(UTC).tz_localize(None)
        if self.times.days_in == "UTC":
            return absolute
        codes, quarters = _quarters(absolute)
        if not len(quarters):
            return absolute
        shift = quarters.tz_localize(UTC).tz_convert(self.days_in).tz_localize(None).to_numpy() - quarters.to_numpy()
        moved = absolute.to_numpy() + shift[codes]
        return pd.DatetimeIndex(np.where(codes >= 0, moved, np.datetime64("NaT")))


def _quarters(moments: "pd.DatetimeIndex") -> "tuple[np.ndarray[Any, np.dtype[np.int64]], pd.DatetimeIndex]":
    """Return the distinct quarters of an hour among times, and the place of each time's; clocks change between quarters only."""
    import pandas as pd

    codes, quarters = pd.factorize(moments.floor("15min"))
    return codes.astype(np.int64), pd.DatetimeIndex(quarters)


def parse_times(column: pa.Array, times: Times) -> ParsedTimes:
    """Return the times of a column, of text or of Parquet's and ORC's own types, as `datetime64[us]`."""
    zones = _Zones(times)
    kind = column.type
    if pa.types.is_temporal(kind):
        moments = _typed(column, zones)
    else:
        text = column if pa.types.is_string(kind) else column.cast(pa.string())
        moments = _of_text(pc.utf8_trim_whitespace(text.fill_null("")), times, zones)
    return ParsedTimes(moments.to_numpy().astype(MICROSECONDS), zones.repeated, zones.skipped)


def time_text(moment: np.datetime64) -> str:
    """Return a wall-clock time as raw logs write it: with a fraction only where it has one."""
    return str(moment.astype(MICROSECONDS)).replace("T", " ").removesuffix(".000000")


def is_time(text: str, times: Times) -> bool:
    """Return whether a text is a time in one of the formats."""
    return not bool(np.isnat(parse_times(pa.array([text]), times).moments[0]))


def _typed(column: pa.Array, zones: _Zones) -> "pd.DatetimeIndex":
    import pandas as pd

    zone = getattr(column.type, "tz", None)
    local = pd.DatetimeIndex(column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))
    return zones.of_absolute(local.tz_localize(UTC)) if zone else zones.of_local(local, ZoneInfo(zones.times.zone))


def _of_text(text: pa.Array, times: Times, zones: _Zones) -> "pd.DatetimeIndex":
    import pandas as pd

    moments = np.full(len(text), np.datetime64("NaT", "ns"))
    open_ = np.arange(len(text))
    for pattern in times.formats:
        if not len(open_):
            break
        part = text if len(open_) == len(text) else text.take(pa.array(open_))
        parsed = _by_format(part, pattern, zones).to_numpy()
        found = ~np.isnat(parsed)
        moments[open_[found]] = parsed[found]
        open_ = open_[~found]
    return pd.DatetimeIndex(moments)


def _by_format(text: pa.Array, pattern: str, zones: _Zones) -> "pd.DatetimeIndex":
    import pandas as pd

    if pattern in EPOCHS:
        return zones.of_absolute(_epoch(text, EPOCHS[pattern]))
    if pattern == ISO:
        carries = pc.match_substring_regex(text, CARRIES_ZONE).to_numpy(zero_copy_only=False)
        local = _naive(text, "ISO8601", ~carries)
        found = zones.of_local(local, ZoneInfo(zones.times.zone)).to_numpy().copy()
        if carries.any():
            return _with_zones(text, "ISO8601", zones, found, carries)
        return pd.DatetimeIndex(found)
    if pattern[-2:] in ("%z", "%Z"):
        nothing = np.full(len(text), np.datetime64("NaT", "ns"))
        return _with_zones(text, pattern[:-2].rstrip(), zones, nothing, np.ones(len(text), bool))
    return zones.of_local(_naive(text, pattern, None), ZoneInfo(zones.times.zone))


def _naive(text: pa.Array, pattern: str, chosen: np.ndarray[Any, np.dtype[np.bool_]] | None) -> "pd.DatetimeIndex":
    import pandas as pd

    values = text.to_pandas()
    if chosen is not None:
        values = values.where(chosen)
    parsed = pd.to_datetime(values, format=pattern, errors="coerce")
    if parsed.dtype.kind != "M" or getattr(parsed.dtype, "tz", None):  # ISO8601 of a text with a zone of its own
        parsed = pd.to_datetime(values, format=pattern, errors="coerce", utc=True).dt.tz_localize(None)
    return pd.DatetimeIndex(parsed)


def _with_zones(
    text: pa.Array, pattern: str, zones: _Zones, found: Moments, chosen: np.ndarray[Any, np.dtype[np.bool_]]
) -> "pd.DatetimeIndex":
    """Parse the chosen texts, each of which ends in a zone; one whose zone is not known stays NaT."""
    import pandas as pd

    split = [(_ZONE.search(value) if pick else None) for value, pick in zip(text.to_pylist(), chosen, strict=True)]
    bare = pa.array(
        [value[: m.start()] if m else "" for value, m in zip(text.to_pylist(), split, strict=True)], pa.string()
    )
    local = _naive(bare, pattern, None)
    names = np.array([m[1] if m else "" for m in split], dtype=object)
    for name in {*names} - {""}:
        places = np.flatnonzero(names == name)
        if zone := _zone(name):
            there = local[places]
            found[places] = zones.of_local(there, zone).to_numpy()
    return pd.DatetimeIndex(found)


@lru_cache(maxsize=1024)
def _zone(name: str) -> Any:
    """Return the zone of a suffix: an offset, UTC, a name such as Asia/Shanghai; None for one such as CST, which is several."""
    if name.upper() in ("Z", "UTC", "GMT"):
        return UTC
    if name[0] in "+-":
        return datetime.strptime(name if len(name) > 3 else name + "00", "%z").tzinfo
    try:
        return ZoneInfo(name) if "/" in name else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _epoch(text: pa.Array, power: int) -> "pd.DatetimeIndex":
    """Return times from seconds, or parts of seconds, since 1970; a fraction or an exponent is allowed."""
    import pandas as pd

    whole = pc.match_substring_regex(text, r"^[+-]?\d{1,18}$").to_numpy(zero_copy_only=False)
    numbers = np.full(len(text), np.datetime64("NaT", "ns"))
    if whole.any():
        digits = text.filter(pa.array(whole)).cast(pa.int64()).to_numpy()
        unit = {0: "s", 3: "ms", 6: "us", 9: "ns"}[power]
        numbers[whole] = _in_nanoseconds(digits.astype(f"datetime64[{unit}]"))
    for place in np.flatnonzero(~whole):
        try:
            seconds = float(text[place].as_py()) / 10**power
            numbers[place] = _in_nanoseconds(np.array([round(seconds * 1e6)]).astype(MICROSECONDS))[0]
        except (ValueError, OverflowError):
            continue
    return pd.DatetimeIndex(numbers).tz_localize(UTC)


def _in_nanoseconds(moments: Moments) -> Moments:
    """Return times in nanoseconds, NaT outside the years 1678 to 2261, which these can count."""
    years = moments.astype("datetime64[Y]").astype(np.int64) + 1970
    inside = (years >= 1678) & (years <= 2261)
    return np.where(
        inside, np.where(inside, moments, np.datetime64(0, "s")).astype("datetime64[ns]"), np.datetime64("NaT")
    )
