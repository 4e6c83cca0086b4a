"""Geometry of a line over days with bounds, drawn by the templates as SVG without a style or script of its own."""

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
    """A day's number: where it is drawn, where its interval ends, and the point that it was made of."""

    x: float
    y: float
    low: float | None
    high: float | None
    point: Any


@dataclass(frozen=True)
class Chart:
    """Drawn in a box of `WIDTH` × `HEIGHT`; `line`, `low` and `high` are `points` of polylines, one for each unbroken part."""

    dots: list[Dot]
    line: list[str]
    low: list[str]
    high: list[str]
    ticks: list[tuple[float, str]]
    first: date
    last: date


def chart(points: Sequence[Dated]) -> Chart | None:
    """None where fewer than two points, ascending by day, have a number; one without a number breaks the lines."""
    numbers = [number for each in points for number in (each.value, each.low, each.high) if number is not None]
    if sum(each.value is not None for each in points) < 2:
        return None
    least, most = min(numbers), max(numbers)
    pad = (most - least) * 0.06 or abs(most) * 0.06 or 1.0
    least, most = (0.0 if least >= 0 and least < pad else least - pad), most + pad

    def at(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (most - value) / (most - least), 1)

    first, span = points[0].day, max((points[-1].day - points[0].day).days, 1)
    placed = [(round(LEFT + (WIDTH - LEFT - RIGHT) * (point.day - first).days / span, 1), point) for point in points]

    def lines(name: Literal["value", "low", "high"]) -> list[str]:
        parts: list[list[str]] = [[]]
        for x, point in placed:
            value = getattr(point, name)
            if value is None:
                parts.append([])
            else:
                parts[-1].append(f"{x},{at(value)}")
        return [" ".join(part) for part in parts if len(part) > 1]

    return Chart(
        dots=[
            Dot(x, at(point.value), _end(point.low, at), _end(point.high, at), point)
            for x, point in placed
            if point.value is not None
        ],
        line=lines("value"),
        low=lines("low"),
        high=lines("high"),
        ticks=[(at(value), _label(value)) for value in (least + (most - least) * part for part in (0.08, 0.5, 0.92))],
        first=points[0].day,
        last=points[-1].day,
    )


def _end(value: float | None, at: Callable[[float], float]) -> float | None:
    return None if value is None else at(value)


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
