"""Geometry of a line chart over days with bounds, which the templates draw as SVG without inline styles or scripts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 210, 112, 12, 12, 26


class Dated(Protocol):
    """A number of a day; `low` and `high` are bounds, or the ends of an interval."""

    day: date
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Dot:
    """The position of a day's value and of the ends of its interval, with the point itself."""

    x: float
    y: float
    low: float | None
    high: float | None
    point: Any


@dataclass(frozen=True)
class Chart:
    """A chart in a box of `WIDTH` × `HEIGHT`; `line`, `low` and `high` are `points` of polylines, one for each unbroken part."""

    dots: list[Dot]
    line: list[str]
    low: list[str]
    high: list[str]
    ticks: list[tuple[float, str]]
    first: date
    last: date


def chart(points: Sequence[Dated]) -> Chart | None:
    """Return the chart of points ascending by day, or None where fewer than two have a value.

    A point without a value breaks the lines.
    """
    numbers = [number for point in points for number in (point.value, point.low, point.high) if number is not None]
    if sum(point.value is not None for point in points) < 2:
        return None
    low, high = min(numbers), max(numbers)
    pad = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    bottom = 0.0 if 0 <= low < pad else low - pad
    top = high + pad

    def y_of(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom), 1)

    first = points[0].day
    span = max((points[-1].day - first).days, 1)
    positions = [(round(LEFT + (WIDTH - LEFT - RIGHT) * (point.day - first).days / span, 1), point) for point in points]

    def lines(name: Literal["value", "low", "high"]) -> list[str]:
        parts: list[list[str]] = [[]]
        for x, point in positions:
            value = getattr(point, name)
            if value is None:
                parts.append([])
            else:
                parts[-1].append(f"{x},{y_of(value)}")
        return [" ".join(part) for part in parts if len(part) > 1]

    return Chart(
        dots=[
            Dot(x, y_of(point.value), _end(point.low, y_of), _end(point.high, y_of), point)
            for x, point in positions
            if point.value is not None
        ],
        line=lines("value"),
        low=lines("low"),
        high=lines("high"),
        ticks=[
            (y_of(value), _label(value)) for value in (bottom + (top - bottom) * part for part in (0.08, 0.5, 0.92))
        ],
        first=points[0].day,
        last=points[-1].day,
    )


def _end(value: float | None, y_of: Callable[[float], float]) -> float | None:
    return None if value is None else y_of(value)


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
