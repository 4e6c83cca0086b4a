"""`ctr models`, `promote`, `rollback`, `score`, `serve` and `reproduce`: the versions of the model and their use."""

import getpass
from dataclasses import asdict
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.calendar import parse_day, previous
from include.console import JsonFlag, err, out, show_json, show_rows
from include.errors import InvalidInputError
from include.plural import counted

if TYPE_CHECKING:
    from include.registry.model_version import ModelVersion
    from include.registry.outdated import ReplacedDays

Version = Annotated[int, typer.Argument(help="Number of the version, as `ctr models` shows it.")]
Reason = Annotated[str, typer.Option(help="Recorded with the version.")]


class Unknown(StrEnum):
    """What most rows of a list may have that the lake does not know."""

    users = "users"
    items = "items"


def register(cli: typer.Typer) -> None:
    """Add the commands of the registry."""
    cli.command("models")(models)
    cli.command("promote")(promote)
    cli.command("rollback")(rollback)
    cli.command("score")(score)


def models(
    last: Annotated[int, typer.Option(min=1, help="How many of the newest versions.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the model versions: training days, metrics, which one is champion, which are outdated."""
    from include.lake.lake import get_lake
    from include.registry import registry
    from include.registry.outdated import outdated_versions

    versions = registry.versions()
    outdated = outdated_versions(get_lake(), versions)
    rows = [
        _row(version, registry.metrics(version.version), outdated.get(version.version, {}))
        for version in versions[:last]
    ]
    if not as_json:
        rows = [_short(row) for row in rows]
    show_rows(rows, title="Models", as_json=as_json, empty="No model yet: run `make demo`, or the DAG ctr_daily.")


def promote(
    version: Version,
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Make a version the champion, whatever the gate's verdict."""
    from include.lake.lake import get_lake
    from include.lake.model_records import records_of_version
    from include.orchestration.training_process import verify, write_report
    from include.registry import registry

    chosen = registry.get(version)
    current = registry.champion()
    if current is not None and chosen.log_day < current.log_day:
        raise InvalidInputError(
            f"Version {version} is of {chosen.log_day}, older than champion {current.version} of {current.log_day}. "
            f"To return to it, so that later runs start from it too: `ctr rollback --to {version}`."
        )
    verify(version)
    decision = records_of_version(get_lake(), chosen.log_day, version).decision
    if decision and decision.verdict != "promote":
        header = f"The gate's verdict on version {version} is {decision.verdict}, which this overrules:"
        err.print("\n- ".join([header, *decision.reasons]), markup=False, highlight=False)
    champion = registry.promote(version, reason=reason, by=getpass.getuser())
    if decision:
        write_report(chosen.log_day)
    _say(champion, as_json)


def rollback(
    to: Annotated[
        int | None, typer.Option(help="A version that was champion before; default the previous one.")
    ] = None,
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Return to the previous champion; the next run starts from it."""
    from include.registry import registry

    _say(registry.rollback(to, reason=reason, by=getpass.getuser()), as_json)


def score(
    day: Annotated[str, typer.Option("--day", help="Log day, YYYY-MM-DD.")],
    path: Annotated[
        Path | None,
        typer.Option(
            "--list", help="File of user_id, item_id, scene, … to score instead of the log, read as raw logs are."
        ),
    ] = None,
    allow_unknown: Annotated[
        list[Unknown] | None,
        typer.Option(
            "--allow-unknown", help="Score a list most of whose users, or items, are unknown; may be repeated."
        ),
    ] = None,
) -> None:
    """Write the champion's click probabilities of a published day's impressions, or of a list, to the lake; print where.

    A list is scored as if its impressions happened on the day, with the features of the end of the day before.
    """
    from include.orchestration.training_process import training

    listed = _with_features(path, parse_day(day), allow_unknown or []) if path else None
    raise typer.Exit(training("score", "--day", day, *(["--list", listed] if listed else [])))


def _with_features(path: Path, day: date, allow_unknown: list[Unknown]) -> str:
    """Store a list, give its rows the features of the day, say how many ids are known, and return its folder in the lake."""
    from include.lake.lake import get_lake
    from include.orchestration.spark_submit import submit
    from include.raw.score_list import put_list, read_list

    listed = read_list(path, day)
    if listed.ignored:
        err.print(f"{path}: not read: {', '.join(listed.ignored)}.", markup=False, highlight=False, soft_wrap=True)
    folder = put_list(get_lake(), listed.rows)
    options = ["--list", folder, "--name", str(path)]
    for entity in allow_unknown:
        options += ["--allow-unknown", entity]
    with err.status("Features of the list (Spark)"):
        events = list(submit("score_list", day, day, options=options))
    err.print(_known(path, day, events[-1]), markup=False, highlight=False, soft_wrap=True)
    return folder


def _known(path: Path, day: date, event: dict[str, Any]) -> str:
    rows = event["rows"]
    if not event["has_history"]:
        return f"{path}: {counted(rows, 'row')}; nothing was published before {day}, so no user and no item is known."
    users, items = (f"{event[name]:,} ({event[name] / rows:.1%})" for name in ("known_users", "known_items"))
    return f"{path}: {counted(rows, 'row')}; the features of {previous(day)} know the users of {users} and the items of {items}."


def _row(version: "ModelVersion", metrics: dict[str, float], replaced: "ReplacedDays") -> dict[str, Any]:
    return {
        "version": version.version,
        "log_day": str(version.log_day),
        "base_version": version.base_version,
        "trained_through": str(version.trained_through),
        "rows": int(metrics["rows"]) if "rows" in metrics else None,
        "auc": metrics.get("auc"),
        "scene_mean_auc": metrics.get("scene_mean_auc"),
        "verdict": version.verdict,
        "alias": ", ".join(version.aliases) or None,
        "promoted_at": version.promoted_at,
        "promoted_by": version.promoted_by,
        "rolled_back_at": version.rolled_back_at,
        "pruned_at": version.pruned_at,
        "outdated": {str(day): round(share, 4) for day, share in sorted(replaced.items())},
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its history in one column, for a terminal."""
    history = f"{row['promoted_at'][:16]} by {row['promoted_by']}" if row["promoted_at"] else None
    if row["rolled_back_at"]:
        history = f"rolled back {row['rolled_back_at'][:16]}"
    if row["pruned_at"]:
        history = f"{history or 'never'}, pruned"
    narrow = {"base_version": "from", "trained_through": "through", "scene_mean_auc": "scene_auc"}
    columns = {narrow.get(name, name): value for name, value in row.items() if not name.endswith(("_at", "_by"))}
    days = ", ".join(row["outdated"])
    return columns | {"promoted": history and history.replace("T", " "), "outdated": days or None}


def _say(champion: "ModelVersion", as_json: bool) -> None:
    if as_json:
        show_json(asdict(champion))
        return
    trained = f"trained through {champion.trained_through}"
    out.print(f"Champion is version {champion.version} of {champion.log_day}, {trained}.", highlight=False)
