"""The results of evaluation and gate, in a few lines for a terminal."""

from collections.abc import Mapping
from typing import Any

from include.console import out, show_rows
from include.records import Decision, Evaluation

_FIGURES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "scaled_log_loss": "log loss, scaled to the day's clicks",
    "pcoc": "PCOC",
    "ece": "ECE",
}


def show_evaluation(record: Evaluation) -> None:
    """Print the overall figures of candidate and champion with 95 % intervals, a line each."""
    headline = record.headline
    champion = record.champion
    lines = [
        {
            "all rows": title,
            "candidate": _estimate((headline["candidate"] or {}).get(name)),
            "champion": _estimate((headline["champion"] or {}).get(name)),
            "change": _estimate((headline["change"] or {}).get(name), signed=True),
            "baseline": _value((headline["baseline"] or {}).get(name)),
        }
        for name, title in _FIGURES.items()
    ]
    against = f"champion version {champion.version}, which {champion.note}" if champion else "no champion"
    title = (
        f"Version {record.candidate.version} on {record.day} ({record.rows:,} rows, {record.clicks:,} clicks), "
        f"beside {against}"
    )
    show_rows(lines, title=title, as_json=False, empty="")
    for model, wrong in record.unusable.items():
        if wrong:
            out.print(f"{wrong:,} predictions of the {model} are not numbers in [0, 1].", highlight=False)


def show_decision(record: Decision, next_step: str | None) -> None:
    """Print the verdict, its reasons and what a person may do."""
    against = f"against champion {record.champion}" if record.champion else "the first model"
    out.print(f"{record.verdict}: version {record.candidate} of {record.day}, {against}", highlight=False)
    for reason in record.reasons:
        out.print(f"- {reason}", highlight=False, markup=False)
    if next_step:
        out.print(f"Next: {next_step}", highlight=False, markup=False)


def _value(estimate: Mapping[str, Any] | None) -> float | None:
    return estimate["value"] if estimate else None


def _estimate(estimate: Mapping[str, Any] | None, *, signed: bool = False) -> str | None:
    if not estimate or estimate["value"] is None:
        return None
    form = "+.4f" if signed else ".4f"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}} to {estimate['high']:{form}})"
