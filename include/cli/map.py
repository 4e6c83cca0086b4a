"""`ctr map`: a draft of a mapping for a log, and what a mapping makes of its files."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from include.console import JsonFlag, err, out, show_json, show_rows
from include.plural import counted

if TYPE_CHECKING:
    from include.mapping.mapping import Mapping
    from include.raw.draft_mapping import Draft
    from include.raw.drafting.check import MappingCheck

_MOST_SHOWN = 40
_LONGEST = 60


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("map")(map_files)


def map_files(
    files: Annotated[list[str], typer.Argument(help="Files or URLs of one log, plain or compressed.")],
    check: Annotated[
        str | None, typer.Option(help="A mapping: show what it makes of the files, instead of drafting one.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", help="Write the draft to this file, which must not exist; else it is printed."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Draft a mapping for any log from its first records; with --check, show what a mapping makes of files.

    The draft is commented YAML; what the files do not tell is marked in it, and refused until it is filled in. With --check:
    first rows, days, scenes, labels, and what would be rejected and why. Nothing but --out is written.
    """
    from include.errors import InvalidInputError
    from include.mapping.mapping import DEFAULT_MAPPING
    from include.settings import get_settings

    # The mapping that is set may be the one that is made here, and not be there yet.
    os.environ["CTR_RAW_MAPPING"] = check or DEFAULT_MAPPING
    get_settings.cache_clear()
    if check is not None:
        if output is not None:
            raise InvalidInputError("--out is for a draft: give it without --check.")
        _check(files, check, as_json)
        return
    if output is not None and output.exists():
        raise InvalidInputError(f"{output} exists: choose another name for the draft, or move it away.")
    _draft(files, output, as_json)


def _draft(files: list[str], output: Path | None, as_json: bool) -> None:
    from include.raw.draft_mapping import draft_mapping
    from include.raw.drafting.document import draft_text

    draft = draft_mapping(files)
    text = draft_text(draft)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        data = {"draft": text, "undecided": draft.undecided, "notes": draft.notes}
        show_json(data | {"raw": draft.place.root if draft.place else None, "file": str(output) if output else None})
        return
    if output is None:
        typer.echo(text, nl=False)
    _next_steps(draft, files, output)


def _next_steps(draft: "Draft", files: list[str], output: Path | None) -> None:
    from include.settings import list_text

    name = str(output or "my-log.yaml")
    lines = []
    if output is None:
        lines.append("Save it, for example with --out my-log.yaml.")
    else:
        lines.append(f"Written: {output}.")
    if draft.undecided:
        lines.append(f"Fill in first, at the marked lines: {', '.join(draft.undecided)}.")
    some = " ".join(map(shlex.quote, files[:3])) + (" …" if len(files) > 3 else "")
    lines.append(f"Next: ctr map --check {shlex.quote(name)} {some}")
    if draft.place:
        path = shlex.quote(str(Path(name).resolve()))
        lines.append(f"Then, for the nightly run, set CTR_RAW_MAPPING={path} CTR_RAW={shlex.quote(draft.place.root)}.")
    else:
        scenes = draft.scenes()
        setting = f"CTR_SCENES={shlex.quote(list_text(scenes))}" if scenes else "CTR_SCENES to the scenes of the log"
        lines.append(f"Then set {setting}, and: ctr import log --mapping {shlex.quote(name)} {some}")
        lines.append(
            "For the nightly run to read such files itself, set CTR_RAW_MAPPING, CTR_RAW and `files` in the mapping."
        )
    err.print(Text("\n".join(lines)), soft_wrap=True)


def _check(files: list[str], mapping: str, as_json: bool) -> None:
    from include.cli.progress import bar
    from include.mapping.mapping import read_mapping
    from include.raw.drafting.check import check_mapping

    rule = read_mapping(mapping)
    with bar("Reading", total=1, as_json=as_json) as progress:
        found = check_mapping(files, rule, progress=progress)
    if as_json:
        show_json(_as_json(found))
        return
    _show(found, rule)


def _files(check: "MappingCheck") -> list[dict[str, Any]]:
    return [
        {
            "file": file.file,
            "lines": file.counts.lines or None,
            "header_lines": file.counts.header,
            "blank_lines": file.counts.blank,
            "records": file.counts.records,
            "rejected": file.rejected,
            "read": "all" if file.is_whole else "its beginning",
        }
        for file in check.files
    ]


def _as_json(check: "MappingCheck") -> dict[str, Any]:
    return {
        "files": _files(check),
        "rows": check.rows,
        "days": dict(sorted(check.days.items())),
        "scenes": _scenes(check),
        "new_scenes": check.new_scenes(),
        "labels": dict(check.labels),
        "rejections": {name: vars(found) for name, found in check.rejections.items()},
        "columns_without_values": check.empty,
        "local_times_repeated": check.repeated,
        "local_times_skipped": check.skipped,
        "times_have_seconds": check.seconds,
    }


def _scenes(check: "MappingCheck") -> list[dict[str, Any]]:
    new = {*check.new_scenes()}
    return [
        {
            "scene": name,
            "rows": scene.rows,
            "clicks": scene.clicks,
            "ctr": scene.clicks / scene.rows,
            "is_listed": name not in new,
        }
        for name, scene in sorted(check.scenes.items(), key=lambda entry: -entry[1].rows)
    ]


def _show(check: "MappingCheck", mapping: "Mapping") -> None:
    from include.raw.row_rules import MEANINGS

    if check.rows:
        filled = [name for name in check.rows[0] if any(row[name] for row in check.rows)]
        rows = [{name: _cut(row[name]) for name in filled} for row in check.rows]
        show_rows(rows, title="First rows, as they come in", as_json=False, empty="")
    show_rows(_files(check), title="Files", as_json=False, empty="")
    days = [{"day": day, "rows": rows} for day, rows in sorted(check.days.items())]
    show_rows(
        days[:_MOST_SHOWN], title=f"Days (zone {mapping.time.days_in})", as_json=False, empty="No row belongs to a day."
    )
    if len(days) > _MOST_SHOWN:
        out.print(f"… and {len(days) - _MOST_SHOWN:,} more days.")
    show_rows(_scenes(check)[:_MOST_SHOWN], title="Scenes", as_json=False, empty="No scenes.")
    rejections = [
        {"reason": name, "records": found.records, "meaning": MEANINGS.get(name, ""), "first": _cut(found.example, 120)}
        for name, found in sorted(check.rejections.items(), key=lambda entry: -entry[1].records)
    ]
    show_rows(rejections, title="Would be rejected", as_json=False, empty="Nothing would be rejected.")
    out.print(Text("\n".join(_remarks(check, mapping))), soft_wrap=True)


def _remarks(check: "MappingCheck", mapping: "Mapping") -> list[str]:
    from include.raw.drafting.check import CHECKED_ROWS
    from include.raw.raw_mapping import scenes_line

    rows = sum(check.days.values())
    clicks = check.labels["1"]
    lines = [f"{counted(rows, 'row')}, {counted(clicks, 'click')}" + (f", CTR {clicks / rows:.4f}." if rows else ".")]
    if rows and clicks in (0, rows):
        lines.append("All labels are the same: is `label` the right column?")
    if any(not file.is_whole for file in check.files):
        lines.append(f"Of larger files, the first {CHECKED_ROWS:,} records or a little more were read.")
    if check.empty:
        lines.append(f"Columns without any value: {', '.join(check.empty)}.")
    if check.repeated or check.skipped:
        lines.append(
            f"Local times at a change of the clocks: {check.repeated:,} come twice (taken as the first), "
            f"{check.skipped:,} do not exist."
        )
    if len(check.days) > 1:
        day, most = check.days.most_common(1)[0]
        lines.append(
            f"{check.days.total() - most:,} rows are not of {day}. A night rejects rows that are not of its day: if these should "
            "be, the days are of another zone (`time.zone`, `time.day_zone`)."
        )
    if not check.seconds and rows:
        lines.append("No time has seconds: with `duplicates: auto`, equal rows are kept.")
    if new := check.new_scenes():
        named = [name for name in new if name]
        line = f" To take them: {scenes_line(mapping, named)}" if named else ""
        lines.append(
            f"Not listed, so rejected as unknown_scene: {', '.join(name or 'no scene' for name in new[:_MOST_SHOWN])}.{line}"
        )
    return lines


def _cut(text: str, longest: int = _LONGEST) -> str:
    printable = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text[: longest + 1]
    )
    return printable if len(text) <= longest else f"{printable[:longest]}…"
