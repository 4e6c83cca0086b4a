"""The champion's metrics on a day that it had not seen, and whether they are worse than on the days before."""

from collections.abc import Iterator, Sequence

from include.metrics_records import Estimates, FigureChange, FigureChanges, Figures, Interval
from include.records import Evaluation

BETTER = {"auc": 1, "gauc": 1, "scene_mean_auc": 1, "scene_mean_gauc": 1, "log_loss": -1, "ece": -1, "pcoc": 0}
"""Metrics that are watched: 1 where higher is better, -1 where lower is, 0 where nearer to 1 is."""

MIN_DAYS = 3
"""Earlier days that must have a figure before one is called worse: intervals do not cover differences between days."""


def figures(evaluation: Evaluation | None) -> tuple[Figures | None, str | None]:
    """Return the champion's figures in a record `evaluation`, or None and why there are no honest ones."""
    if evaluation is None:
        return None, "the day was not evaluated"
    champion = evaluation.champion
    if champion is None:
        return None, "there was no champion yet when the day was evaluated"
    if champion.status != "unseen":
        return None, f"champion version {champion.version} {champion.note}"
    whole = evaluation.headline.champion
    if whole is None:
        wrong = evaluation.unusable["champion"]
        return None, f"{wrong} predictions of champion version {champion.version} are not numbers in [0, 1]"
    scenes = {scene: _watched(group.champion or {}) for scene, group in evaluation.scenes.items()}
    return Figures(all=_watched(whole), scenes=scenes), None


def _watched(estimates: Estimates) -> Estimates:
    return {metric: estimates[metric] for metric in BETTER if metric in estimates}


def changes(now: Figures, earlier: Sequence[Figures]) -> FigureChanges:
    """Return each figure against those of earlier days; a figure that either lacks is left out.

    One is worse where `MIN_DAYS` earlier days have it, and it is outside all that these and their intervals covered.
    """
    return FigureChanges(
        all=_changes(now.all, [day.all for day in earlier]),
        scenes={
            scene: _changes(of_scene, [day.scenes.get(scene, {}) for day in earlier])
            for scene, of_scene in now.scenes.items()
        },
    )


def worse(change: FigureChanges) -> Iterator[tuple[str | None, str, FigureChange]]:
    """Yield the worse figures of `changes`: scene (None for all rows), metric, and its change."""
    for scene, of_scene in ((None, change.all), *change.scenes.items()):
        yield from ((scene, metric, entry) for metric, entry in of_scene.items() if entry.worse)


def _changes(now: Estimates, earlier: Sequence[Estimates]) -> dict[str, FigureChange]:
    result = {}
    for metric, estimate in now.items():
        intervals = [interval for day in earlier if metric in day and (interval := day[metric].interval)]
        if intervals and estimate.value is not None:
            result[metric] = _change(metric, estimate.value, intervals)
    return result


def _change(metric: str, value: float, earlier: Sequence[Interval]) -> FigureChange:
    mean = sum(day.value for day in earlier) / len(earlier)
    # The interval of an ECE, from which chance is taken off, may lie below its figure.
    low = min(min(day.low, day.value) for day in earlier)
    high = max(max(day.high, day.value) for day in earlier)
    below = value < low
    above = value > high
    return FigureChange(
        days=len(earlier),
        mean=round(mean, 6),
        change=round(value - mean, 6),
        low=low,
        high=high,
        worse=len(earlier) >= MIN_DAYS and {1: below, -1: above, 0: below or above}[BETTER[metric]],
    )
