"""`ctr records`: the kinds of JSON records in the lake, a record of a day, and the reference that is generated from them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer
from pydantic.fields import FieldInfo

from include.calendar import parse_day
from include.console import JsonFlag, show_json, show_rows
from include.errors import InvalidInputError, MissingDataError
from include.json_model import JsonModel
from include.records import KINDS, Quality, Record
from include.stages import CHECKED


def register(cli: typer.Typer) -> None:
    """Add `ctr records`."""
    cli.command("records")(records)


def records(
    kind: Annotated[str, typer.Option(help="Kind of the record, such as `evaluation` or `quality/logs`.")] = "",
    day: Annotated[str, typer.Option(help="Log day, YYYY-MM-DD, of the record to print as JSON; needs --kind.")] = "",
    version: Annotated[int | None, typer.Option(help="The record about this version, not the day's newest.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print what docs/records.md holds.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what the nights record in the lake; with --kind and --day, print that record as JSON."""
    from include.lake.lake import get_lake

    if markdown:
        typer.echo(records_markdown(), nl=False)
        return
    if bool(kind) != bool(day):
        raise InvalidInputError("A record is found by both: --kind KIND --day DAY.")
    folders = {
        folder: of_kind
        for name, of_kind in KINDS.items()
        for folder in ([f"{name}/{stage}" for stage in CHECKED] if of_kind is Quality else [name])
    }
    if not kind:
        rows = [
            {"kind": folder, "days": len(days), "last": max(days, default=None), "holds": _first_line(of_kind)}
            for folder, of_kind in folders.items()
            for days in [get_lake().record_stamps(folder)]
        ]
        show_rows(rows, title=f"Records in {get_lake().url}", as_json=as_json, empty="")
        return
    if kind not in folders:
        raise InvalidInputError(f"Expected one of {', '.join(folders)} as --kind, found '{kind}'.")
    log_day = parse_day(day)
    stage = next((stage for stage in CHECKED if kind == f"{Quality.kind}/{stage}"), None)
    record = get_lake().quality(stage, log_day) if stage else get_lake().record(folders[kind], log_day, version)
    if record is None:
        about = "" if version is None else f" about version {version}"
        raise MissingDataError(
            f"There is no record '{kind}' of {day}{about} in {get_lake().url}. "
            "Next: `ctr records` lists the kinds, `ctr status` the days."
        )
    show_json(record)


def records_markdown() -> str:
    """Return `docs/records.md`: a table of the fields of each kind of record."""
    lines = [
        "# Records",
        "",
        "Made by `ctr records --markdown` from `include/records.py` and `include/metrics_records.py`. The lake keeps them as",
        "JSON in `_records/{kind}/dt={day}.json`; those about a model version also in",
        "`_records/{kind}/dt={day}/version={version}.json`, so that running a day again does not replace them.",
        "`ctr records --kind KIND --day DAY` prints one. A field that is not *always* there may be missing in records of earlier",
        "versions. Moments are ISO 8601 in UTC, durations are seconds.",
    ]
    for name, of_kind in KINDS.items():
        lines += _section(f"`{name}`" if of_kind is not Quality else f"`{name}/{{stage}}`", of_kind)
    lines += ["", "# Parts of records"]
    for part in dict.fromkeys(part for of_kind in KINDS.values() for part in _parts_of(of_kind)):
        lines += _section(part.__name__, part)
    return "\n".join(lines) + "\n"


def _parts_of(model: type[Any]) -> Iterator[type[Any]]:
    """Yield the models and dataclasses of which the fields consist, each before its own parts."""
    pending: list[Any] = [field.annotation for _, field in _fields_of(model)]
    for annotation in pending:
        pending += get_args(annotation)
        if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, JsonModel)):
            yield annotation
            yield from _parts_of(annotation)


def _section(title: str, model: type[Any]) -> list[str]:
    text = re.sub(r"\n +", "\n", str(model.__doc__)).strip()
    lines = ["", f"## {title}", "", text, "", "| field | type | always | meaning |", "|---|---|---|---|"]
    return lines + [_row(name, field) for name, field in _fields_of(model)]


def _fields_of(model: type[Any]) -> Iterable[tuple[str, FieldInfo]]:
    if is_dataclass(model):
        return [(name, FieldInfo.from_annotation(hint)) for name, hint in get_type_hints(model).items()]
    return cast(type[JsonModel], model).model_fields.items()


def _row(name: str, field: FieldInfo) -> str:
    written = str(field.annotation).removeprefix("<class '").removesuffix("'>")
    plain = re.sub(r"\b[a-z_]+\.(?=\w)", "", written).replace("|", "\\|")
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {plain} | {'yes' if field.is_required() else ''} | {meaning} |"


def _first_line(kind: type[Record]) -> str:
    return str(kind.__doc__).split("\n", 1)[0]
