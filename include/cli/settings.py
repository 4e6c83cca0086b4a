"""`ctr settings` and `ctr features`: what the code declares, and the files that are generated from it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from include.console import JsonFlag, show_rows
from include.setting_groups import OUTSIDE_DIGEST, PROJECT, Shapes
from include.settings import Settings, get_settings, list_text


def register(cli: typer.Typer) -> None:
    """Add `ctr settings` and `ctr features`."""
    cli.command("settings")(settings)
    cli.command("features")(features)


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print what docs/settings.md holds.")] = False,
    env: Annotated[bool, typer.Option("--env", help="Print what .env.example holds.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Every setting with its value now, its default and its meaning; secrets are masked."""
    if markdown or env:
        typer.echo(settings_markdown() if markdown else env_example(), nl=False)
        return
    values = get_settings()
    rows = [
        {
            "setting": _variable(name),
            "value": _written(getattr(values, name), relative=False),
            "default": _written(field.default),
            "meaning": field.description,
        }
        for _, fields in groups()
        for name, field in fields.items()
    ]
    show_rows(rows, title="Settings", as_json=as_json, empty="")


def features(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print what docs/features.md holds.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the declared features: key, window, and value for a key never seen."""
    from dataclasses import asdict

    from include.features import FEATURES, features_markdown

    if markdown:
        typer.echo(features_markdown(), nl=False)
        return
    show_rows([asdict(feature) for feature in FEATURES], title="Features", as_json=as_json, empty="")


def groups() -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """Yield each group's heading and its fields by name, in the order of their declaration."""
    for group in reversed(Settings.__mro__):
        if group.__module__ == "include.setting_groups":
            yield str(group.__doc__), {name: Settings.model_fields[name] for name in group.__annotations__}


def settings_markdown() -> str:
    """Return `docs/settings.md`: a table for each group of settings."""
    lines = [
        "# Settings",
        "",
        "Made by `ctr settings --markdown` from `include/setting_groups.py`. Set them as environment variables, in",
        "`settings.env` of `CTR_HOME`, or in `.env` (or the file that `CTR_ENV_FILE` names); the first that has one wins.",
        "`ctr settings` shows the values in use. A list is written with commas. *Redo*: the stages whose days are stale",
        "where it has changed (`ctr backfill-plan`). *Recorded*: part of the settings digest kept with every model version.",
    ]
    for heading, fields in groups():
        lines += [
            "",
            f"## {heading.rstrip('.')}",
            "",
            "| setting | default | redo | recorded | meaning |",
            "|---" * 5 + "|",
        ]
        for name, field in fields.items():
            redo = ", ".join(stage for mark in field.metadata if isinstance(mark, Shapes) for stage in mark.stages)
            recorded = "" if OUTSIDE_DIGEST in field.metadata else "yes"
            default = _written(field.default).replace("|", "\\|")
            meaning = str(field.description).replace("|", "\\|")
            lines.append(
                f"| `{_variable(name)}` | {f'`{default}`' if default else ''} | {redo} | {recorded} | {meaning} |"
            )
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """Return `.env.example`: every setting, commented out, at its default."""
    lines = ["# Copy to .env, or to settings.env of CTR_HOME, and uncomment what differs. docs/settings.md says more."]
    for heading, fields in groups():
        lines += ["", f"# {heading}"]
        for name, field in fields.items():
            lines += [f"# {field.description}", f"#{_variable(name)}={_written(field.default)}"]
    return "\n".join(lines) + "\n"


def _variable(name: str) -> str:
    return f"CTR_{name.upper()}"


def _written(value: Any, *, relative: bool = True) -> str:
    """Return a value as it is set; a path inside the project `relative` to it."""
    if value is None or isinstance(value, SecretStr):
        return str(value or "")
    if isinstance(value, Path):
        return str(value.relative_to(PROJECT)) if relative and value.is_relative_to(PROJECT) else str(value)
    if isinstance(value, tuple) and all(isinstance(part, float) for part in value) and value:
        return json.dumps(value)
    if isinstance(value, tuple):
        return list_text(to_jsonable_python(part) for part in value)
    return str(value)
