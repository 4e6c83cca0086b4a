"""`ctr quality` and `ctr quarantine`: which checks a day passed, and which raw rows were rejected."""

from collections import Counter
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from include.calendar import parse_day
from include.console import JsonFlag, err, out, show_json, show_rows
from include.plural import counted

if TYPE_CHECKING:
    from include.lake.lake import Lake
    from include.lake.manifest import Manifest
    from include.quality.rejected_values import Values


_MOST_FILES = 40
_NEXT = "`ctr backfill-plan` lists what was made from this day and has to be made again."


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("quality")(quality)
    cli.command("quarantine")(quarantine)


def quality(
    day: Annotated[str, typer.Option(help="Log day, YYYY-MM-DD.")],
    failed: Annotated[bool, typer.Option("--failed", help="Only checks that did not pass.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the data-quality checks of a day, of the latest attempt of each stage, with samples of failing rows."""
    from include.errors import MissingDataError
    from include.lake.lake import get_lake
    from include.stages import CHECKED

    log_day = parse_day(day)
    records = [record for stage in CHECKED if (record := get_lake().quality(stage, log_day))]
    if not records:
        raise MissingDataError(
            f"No quality record of {day} in {get_lake().url}: its Spark jobs have not run (`ctr status`)."
        )
    checks = [
        (record.stage, check) for record in records for check in record.checks if check.status != "pass" or not failed
    ]
    if as_json:
        show_json([{"stage": stage, **check.as_json()} for stage, check in checks])
        return
    columns = ("table", "name", "column", "severity", "status", "expected", "observed", "failing_rows")
    rows = [{"stage": stage, **{name: getattr(check, name) for name in columns}} for stage, check in checks]
    show_rows(rows, title=f"Checks of {day}", as_json=False, empty=f"Every check of {day} passed.")
    for _, check in checks:
        if check.sample:
            out.print(Text(f"Failing rows: {check.table} {check.name} {check.column or ''}", style="bold"))
            show_rows(check.sample, title="", as_json=False, empty="")


def quarantine(
    day: Annotated[str, typer.Option(help="Log day, YYYY-MM-DD.")],
    reason: Annotated[str | None, typer.Option(help="Only rows rejected for this reason.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show of each reason.")] = 3,
    replay: Annotated[
        bool, typer.Option("--replay", help="Ingest the day again after a fix: a repair, or changed settings.")
    ] = False,
    mapping: Annotated[
        str | None, typer.Option(help="With --replay: a YAML repair of the rejected rows' values; kept for later runs.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the rejected raw rows of a day, staged or published: counts by reason and file, and samples.

    With --replay they are ingested again after a fix, each exactly once.
    """
    from include.errors import InvalidInputError
    from include.lake.lake import get_lake
    from include.quality.quarantine import files_read, rejected
    from include.quality.rejected_values import REPAIR_DOCS, repair_entries, values_at_fault
    from include.quality.repairs import masked_rejected
    from include.raw.row_rules import refuse_unknown_reason

    refuse_unknown_reason(reason)
    if mapping and not replay:
        raise InvalidInputError("--mapping repairs rows that are ingested again: add --replay.")
    log_day = parse_day(day)
    if replay:
        _replay(log_day, reason, mapping, as_json)
        return
    lake = get_lake()
    rejections = rejected(lake, log_day, reason, samples=rows)
    values = values_at_fault(lake, log_day, reason) if rejections.rows else {}
    late = _late(lake, log_day)
    samples = masked_rejected(rejections.samples, log_day)
    if as_json:
        data = {
            "reasons": rejections.reasons,
            "files": files_read(lake, log_day, rejections.files),
            "reasons_of_files": rejections.reasons_of_files,
        }
        data |= {"values": {name: asdict(value) for name, value in values.items()}, "repair": repair_entries(values)}
        show_json({"day": day, "rows": rejections.rows, **data, "late": late, "samples": samples})
        return
    empty = f"No row of {day} was rejected" + (f" for {reason}." if reason else ".")
    reasons = [{"reason": name, "meaning": _meaning(name), "rows": n} for name, n in rejections.reasons.most_common()]
    show_rows(reasons, title=f"Rejected rows of {day}", as_json=False, empty=empty)
    _show_values(values)
    _show_files(rejections.reasons_of_files)
    if samples:
        sample_rows = [{**row, "reasons": ", ".join(row["reasons"])} for row in samples]
        show_rows(sample_rows, title="Samples", as_json=False, empty="")
    if entries := repair_entries(values):
        out.print(
            Text(
                f"To repair them, write what the values mean ({REPAIR_DOCS}) and replay the day with it:", style="bold"
            )
        )
        out.print(Text(entries), soft_wrap=True)
        out.print(Text(f"ctr quarantine --day {day} --replay --mapping FIX.yaml"))
    if late:
        late_counts = ", ".join(f"{count:,} of {event_day}" for event_day, count in late.items())
        out.print(Text(f"Routed to their own day as late events: {late_counts}. Rerun those days to include them."))


def _show_values(values: "dict[str, Values]") -> None:
    """Print a line for each value at fault, and one for those that are not listed."""
    lines: list[dict[str, Any]] = []
    for reason, by_reason in values.items():
        lines += [
            {"reason": reason, "column": value.column, "value": value.value or "(blank)", "rows": value.rows}
            for value in by_reason.most
        ]
        if by_reason.others:
            others = f"and {counted(by_reason.others, 'other value')}"
            lines.append({"reason": reason, "column": None, "value": others, "rows": by_reason.other_rows})
    if lines:
        show_rows(lines, title="Values at fault", as_json=False, empty="")


def _show_files(reasons_of_files: dict[str, Counter[str]]) -> None:
    """Print a line for each file and reason, most rows first."""
    counts = [(file, name, number) for file, reasons in reasons_of_files.items() for name, number in reasons.items()]
    counts.sort(key=lambda count: (-count[2], *count[:2]))
    lines = [{"source file": file, "reason": name, "rows": number} for file, name, number in counts]
    if lines:
        more = f" ({len(lines) - _MOST_FILES:,} more: --json)" if len(lines) > _MOST_FILES else ""
        show_rows(lines[:_MOST_FILES], title=f"By file{more}", as_json=False, empty="")


def _late(lake: "Lake", day: date) -> dict[str, int]:
    """Return the number of rows of the day's files that were routed to an earlier day, by that day."""
    manifest = _manifest(lake, day)
    return {event_day: part["rows"] for event_day, part in manifest.profile.get("late", {}).items()} if manifest else {}


def _manifest(lake: "Lake", day: date) -> "Manifest | None":
    """Return the manifest whose rejected rows are shown: the staged one if there is one, else the published one."""
    staged = lake.staged("logs", day)
    return staged[0] if staged else lake.manifest("logs", day)


def _replay(day: date, reason: str | None, mapping: str | None, as_json: bool) -> None:
    """Add the repairs, ingest and publish the day again, and print what became of its rejected rows."""
    from include.lake.lake import get_lake
    from include.orchestration.spark_submit import PUBLISH, submit
    from include.quality.quarantine import rejected
    from include.quality.repairs import read_repair, repair_day

    lake = get_lake()
    repair = read_repair(mapping) if mapping else None
    before = rejected(lake, day, reason)
    waits = _waits(lake, day)
    if not before.rows and not waits:
        _say(f"No row of {day} was rejected{f' for {reason}' if reason else ''}: nothing to replay.", as_json, day)
        return
    result: dict[str, Any] = {"rejected_before": dict(before.reasons), "logs_before": _logs(lake, day)}
    if repair:
        outcome = repair_day(lake, day, repair, Path(str(mapping)).name, reason)
        if not outcome.repaired and not waits:
            beyond = f"; {outcome.malformed:,} are malformed records, which no repair can change" * bool(
                outcome.malformed
            )
            _say(f"{mapping} changes none of the {outcome.rejected:,} rejected rows of {day}{beyond}.", as_json, day)
            return
        result |= {"repaired": outcome.repaired, "malformed": outcome.malformed, "columns": dict(outcome.columns)}
        changed = ", ".join(f"{name} of {count:,}" for name, count in outcome.columns.most_common())
        columns = f": {changed}" * bool(changed)
        err.print(Text(f"{outcome.repaired:,} of {outcome.rejected:,} rejected rows repaired{columns}."))
    if waits:
        err.print(Text(f"An earlier replay of {day} did not finish, or new raw files have come: ingesting all of it."))
    for event in submit("ingest", day, day, options=PUBLISH):
        err.print(Text(f"{event['day']} {event['stage']} {event['state']}"), style="dim")
    after = rejected(lake, day, reason)
    result |= {"rejected_after": dict(after.reasons), "logs_after": _logs(lake, day)}
    if as_json:
        show_json({"day": str(day), **result, "next": _NEXT})
        return
    names = sorted({**before.reasons, **after.reasons}, key=lambda name: -before.reasons[name])
    counts = [{"reason": name, "before": before.reasons[name], "after": after.reasons[name]} for name in names]
    show_rows(counts, title=f"Rejected rows of {day}", as_json=False, empty="")
    logs = (
        f"{result['logs_before']:,} → {result['logs_after']:,}"
        if result["logs_before"] is not None
        else f"{result['logs_after']:,}"
    )
    out.print(Text(f"Rejected rows: {before.rows:,} → {after.rows:,}. Rows of logs: {logs}. Next: {_NEXT}"))


def _waits(lake: "Lake", day: date) -> bool:
    """Return whether a day has changes to publish: a replay was stopped, or its publication refused; or files came."""
    from include.days.backfill_plan import stale_inputs

    published = lake.manifest("logs", day)
    return published is None or lake.staged("logs", day) is not None or f"raw/{day}" in stale_inputs(lake, published)


def _logs(lake: "Lake", day: date) -> int | None:
    manifest = lake.manifest("logs", day)
    return manifest.tables["logs"].rows if manifest else None


def _say(text: str, as_json: bool, day: date) -> None:
    if as_json:
        show_json({"day": str(day), "replayed": False, "why": text})
    else:
        out.print(Text(text))


def _meaning(reason: str) -> str:
    from include.raw.row_rules import MEANINGS

    return MEANINGS.get(reason, "")
