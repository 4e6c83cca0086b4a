"""A notice: what people are told of a failure, whatever the channel."""

from dataclasses import dataclass
from datetime import date

from include.checks import Check


@dataclass(frozen=True)
class Notice:
    """What has happened (`title`, `text`), what to do about it (`advice`) and where to look (`link`, named `link_text`).

    `failed` says whether a task has failed: `checks` are then the records of the checks that failed (include/checks.py), none
    for any other failure. `day` is None where the run has no log day.
    """

    dag: str
    run: str
    day: date | None
    task: str
    title: str
    text: str
    advice: str
    link: str
    link_text: str
    checks: tuple[Check, ...] = ()
    failed: bool = True
