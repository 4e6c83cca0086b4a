"""A backfill that `ctr backfill` requested: stored in the home until it has ended, so that it can be left and resumed."""

from datetime import date, datetime
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from include.airflow_control.nightly_runs import Outcome
from include.calendar import days_between
from include.days.day_states import states
from include.days.runs import Run
from include.lake.lake import Lake
from include.lake.model_records import records_of_day
from include.registry import registry
from include.settings import get_settings
from include.stages import STAGES


class Request(BaseModel):
    """The log days `first` to `last` and the parameters of their runs; `began` is when Airflow accepted it.

    `builds` (of each `stage/day` that was published) and `champion` are as they were before.
    """

    first: date
    last: date
    conf: dict[str, Any]
    began: datetime | None = None
    builds: dict[str, str]
    champion: int | None

    @classmethod
    def of(cls, lake: Lake, first: date, last: date, conf: dict[str, Any]) -> Self:
        """Return the stored request, if it is for the same days and parameters; else a new one."""
        stored = _stored()
        if stored and (stored.first, stored.last, stored.conf) == (first, last, conf):
            return cls(**stored.model_dump())
        champion = registry.champion()
        builds = {
            f"{stage}/{day}": manifest.build
            for day in days_between(first, last)
            for stage in STAGES
            if (manifest := lake.manifest(stage, day))
        }
        return cls(first=first, last=last, conf=conf, builds=builds, champion=champion.version if champion else None)

    @property
    def days(self) -> list[date]:
        """Its log days, ascending."""
        return list(days_between(self.first, self.last))

    def keep(self, began: datetime) -> None:
        """Store the request as accepted by Airflow, so that the same command resumes it where this one is stopped."""
        self.began = began
        _path().write_text(self.model_dump_json())

    def settle(self) -> None:
        """Remove the stored request: its runs have ended."""
        _path().unlink(missing_ok=True)

    def changes(
        self, lake: Lake, outcomes: dict[date, Outcome], runs: dict[date, Run], plan: Any
    ) -> list[dict[str, Any]]:
        """Return a row for each day: its run, the tables that were published again, its candidate and state."""
        day_states = states(lake, self.days, runs, plan)
        return [
            {
                "day": str(day),
                "run": outcomes[day].state,
                "seconds": round(outcomes[day].seconds),
                "published": ", ".join(self._published(lake, day)) or None,
                **_candidate(lake, day),
                "state": day_states[day].words,
            }
            for day in self.days
        ]

    def _published(self, lake: Lake, day: date) -> list[str]:
        """Return the stages whose published build has changed."""
        manifests = {stage: lake.manifest(stage, day) for stage in STAGES}
        return [stage for stage, now in manifests.items() if now and now.build != self.builds.get(f"{stage}/{day}")]


def _candidate(lake: Lake, day: date) -> dict[str, Any]:
    records = records_of_day(lake, day)
    return {
        "candidate": records.train and records.train.version,
        "from": records.train and records.train.base_version,
        "verdict": records.decision and records.decision.verdict,
        "promoted": records.decision and records.decision.promoted,
    }


def _path() -> Any:
    return get_settings().home / "backfill.json"


def _stored() -> Request | None:
    try:
        return Request.model_validate_json(_path().read_text())
    except (FileNotFoundError, ValidationError):
        return None
