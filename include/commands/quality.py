"""`ctr quality` and `ctr quarantine`: which checks a day passed, and which raw rows were rejected."""

from collections import Counter
from typing import Annotated, Any

import typer
from rich.text import Text

from include.calendar import parse_day
from include.console import JsonFlag, out, show_json, show_rows


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    cli.command("quality")(quality)
    cli.command("quarantine")(quarantine)


def quality(
    day: Annotated[str, typer.Option(help="Log day, YYYY-MM-DD.")],
    failed: Annotated[bool, typer.Option("--failed", help="Only checks that did not pass.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The data-quality checks of a day, of the latest attempt of each stage, with samples of failing rows."""
    from include.errors import MissingDataError
    from include.lake import lake
    from include.schemas import STAGES

    log_day = parse_day(day)
    records = [record for stage in STAGES if (record := lake().record(f"quality/{stage}", log_day))]
    if not records:
        raise MissingDataError(f"No quality record of {day} in {lake().url}: its Spark jobs have not run (`ctr days`).")
    checks = [
        {"stage": record["stage"], **check}
        for record in records
        for check in record["checks"]
        if check["status"] != "pass" or not failed
    ]
    if as_json:
        show_json(checks)
        return
    shown = ("stage", "table", "name", "column", "severity", "status", "expected", "observed")
    rows = [{name: check[name] for name in shown} for check in checks]
    show_rows(rows, title=f"Checks of {day}", as_json=False, empty=f"Every check of {day} passed.")
    for check in checks:
        if check.get("sample"):
            out.print(Text(f"Failing rows: {check['table']} {check['name']} {check['column'] or ''}", style="bold"))
            show_rows(check["sample"], title="", as_json=False, empty="")


def quarantine(
    day: Annotated[str, typer.Option(help="Log day, YYYY-MM-DD.")],
    reason: Annotated[str | None, typer.Option(help="Only rows rejected for this reason.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show of each reason.")] = 3,
    as_json: JsonFlag = False,
) -> None:
    """Rejected raw rows of a day: how many by reason, and some of them; of staged data first, where a day waits for its check."""
    from include.privacy import shown_raw

    found = rejected_rows(parse_day(day), reason)
    counts = Counter(each for row in found for each in row["reasons"] if reason in (None, each))
    files = Counter(row["source_file"] for row in found)
    samples = [row for each in sorted(counts) for row in [row for row in found if each in row["reasons"]][:rows]]
    for row in samples:
        row["raw"] = shown_raw(row["raw"])
    if as_json:
        show_json({"day": day, "rows": len(found), "reasons": counts, "files": files, "samples": samples})
        return
    empty = f"No row of {day} was rejected" + (f" for {reason}." if reason else ".")
    reasons = [{"reason": name, "meaning": _meaning(name), "rows": number} for name, number in counts.most_common()]
    show_rows(reasons, title=f"Rejected rows of {day}", as_json=False, empty=empty)
    if samples:
        told = [{**row, "reasons": ", ".join(row["reasons"])} for row in samples]
        show_rows(told, title="Samples", as_json=False, empty="")


def rejected_rows(day: Any, reason: str | None) -> list[dict[str, Any]]:
    """Rows of `quarantine` of a day, of what is staged if something is, else of what is published."""
    from pyarrow import orc

    from include.lake import lake

    store = lake()
    if store.staged("logs", day):
        folder = store.path(f"{store.staging('logs', day)}/quarantine")
    else:
        folder = store.table_path("quarantine", day, "ctr quarantine")
    found: list[dict[str, Any]] = []
    for name in sorted(store.fs.find(folder)):
        if name.endswith(".orc"):
            with store.fs.open(name, "rb") as file:
                found += orc.ORCFile(file).read().to_pylist()
    return [row for row in found if reason is None or reason in row["reasons"]]


def _meaning(reason: str) -> str:
    from include.row_rules import MEANINGS

    return MEANINGS.get(reason, "")
