"""Applying the gate's decision: the candidate is promoted, or a refusal is recorded, with who decided and when."""

from datetime import UTC, date, datetime
from typing import Any

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import get_lake
from include.orchestration.training_process import verify
from include.records import Decision
from include.registry import registry


def apply_decision(day: date, by: str) -> Decision:
    """Promote the candidate of the day's decision and return the record, with `promoted`, `decided_by` and `served` added.

    A held candidate may be promoted (`by` is then the person who approved it), a rejected one may not, nor one of a run
    that was not allowed to promote (a backfill): `InvalidInputError`; nor one that cannot be served, or predicts its probe
    otherwise than when it was saved: `CtrError`. Applying it twice changes nothing, not even when
    the version was rolled back in between.
    """
    record = _decision(day)
    if record.promoted:
        return record
    if record.verdict == "reject":
        raise InvalidInputError(
            f"The gate rejected version {record.candidate} of {day}: {'; '.join(record.reasons)}. "
            f"To overrule it: `ctr promote {record.candidate}`."
        )
    if not record.may_promote:
        raise InvalidInputError(
            f"The run of {day} may not promote (a backfill without 'promote'). "
            f"To put its candidate in use: `ctr promote {record.candidate}`."
        )
    served = verify(record.candidate)
    registry.promote(record.candidate, reason="; ".join(record.reasons), by=by, replacing=record.champion)
    return _settle(record, by, promoted=True, served=served)


def record_refusal(day: date, by: str, reason: str) -> Decision:
    """Record that the day's candidate was not promoted (refused, or not answered in time), and return the record."""
    return _settle(_decision(day), by, promoted=False, refusal=reason)


def next_step(day: date) -> str:
    """Return the DAG's next task after the gate: `promote`, `ask_a_person` or `keep_champion`."""
    record = _decision(day)
    if not record.may_promote:
        return "keep_champion"
    return {"promote": "promote", "hold": "ask_a_person"}.get(record.verdict, "keep_champion")


def why_kept(day: date) -> str:
    """Return why the champion stays."""
    record = _decision(day)
    if record.verdict == "promote":
        return "the run was not allowed to promote"
    if record.verdict == "hold":
        return "held by the gate, and not approved by a person" if record.may_promote else "held by the gate"
    return "rejected by the gate: " + "; ".join(record.reasons)


def describe(day: date) -> str:
    """Return the decision and its evidence in Markdown, for the person who decides."""
    record = _decision(day)
    lines = [
        f"**{record.verdict}**: version {record.candidate} against version {record.champion or 'none'}",
        "",
    ]
    lines += [f"- {reason}" for reason in record.reasons]
    lines += ["", "| rule | verdict | evidence |", "|---|---|---|"]
    lines += [f"| {rule.name} | {rule.verdict} | {rule.sentence} |" for rule in record.rules]
    return "\n".join(lines)


def _decision(day: date) -> Decision:
    record = get_lake().record(Decision, day)
    if record is None:
        raise MissingDataError(f"There is no decision for {day}: run `python -m training gate --day {day}` first.")
    return record


def _settle(record: Decision, by: str, *, promoted: bool, **outcome: Any) -> Decision:
    if record.promoted == promoted:
        return record
    now = datetime.now(UTC).isoformat(timespec="seconds")
    settled = record.model_copy(update={"promoted": promoted, **outcome, "decided_by": by, "decided_at": now})
    get_lake().write_record(settled)
    return settled
