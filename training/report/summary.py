"""The results of evaluation and gate, in a few lines for a terminal."""

from include.console import out, show_rows
from include.metrics_records import Estimates, value_of
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
            "candidate": _estimate(headline.candidate, name),
            "champion": _estimate(headline.champion, name),
            "change": _estimate(headline.change, name, signed=True),
            "baseline": value_of(headline.baseline, name),
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


def _estimate(estimates: Estimates | None, metric: str, *, signed: bool = False) -> str | None:
    estimate = estimates.get(metric) if estimates else None
    if not estimate or not estimate.interval:
        return None
    form = "+.4f" if signed else ".4f"
    value, low, high = (format(figure, form) for figure in estimate.interval)
    return f"{value} ({low} to {high})"
