"""Whether the champion may be compared with the day's candidate. Light: the gate imports it without a model's libraries."""

from datetime import date
from typing import Literal

from include.records import ChampionStatus
from include.registry.model_version import ModelVersion

NOTES = {
    "unseen": "has not seen this day",
    "same": "is the candidate itself: this day was run before",
    "seen": "was trained on this day or by a later run, so an honest comparison is not possible",
}
"""By status, the end of a sentence that begins with the champion."""


def champion_status(
    champion: ModelVersion | None, candidate: ModelVersion, day: date
) -> ChampionStatus | Literal["none"]:
    """Return `none`, `same` (as the candidate), `seen` (it knows the day, so it must not be compared on it) or `unseen`."""
    if champion is None:
        return "none"
    if champion.version == candidate.version or champion.content_hash == candidate.content_hash:
        return "same"
    return "seen" if champion.trained_through >= day or champion.log_day >= day else "unseen"
