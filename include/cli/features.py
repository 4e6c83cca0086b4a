"""`ctr features`: the declared features of the model."""

from typing import Annotated

import typer

from include.console import JsonFlag, show_rows


def register(cli: typer.Typer) -> None:
    """Add `ctr features`."""
    cli.command("features")(features)


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
