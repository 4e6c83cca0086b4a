"""`ctr reproduce`, `ctr serve` and `ctr leak-demo`: commands of `python -m training`, which declares their options."""

import typer

from include.orchestration.training_process import exec_training

COMMANDS = {
    "reproduce": "Train a version again from the lake, without registering it, and report whether the weights are the same.",
    "serve": "Answer scoring requests over HTTP with the champion, until stopped; needs CTR_SERVE_TOKEN.",
    "leak-demo": "Show on your own logs what features that contain the label do to AUC, fault by fault; write nothing.",
}


def register(cli: typer.Typer) -> None:
    """Add the commands, `--help` included."""
    as_they_are = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    for name, text in COMMANDS.items():
        cli.command(name, help=text, add_help_option=False, context_settings=as_they_are)(_forward)


def _forward(context: typer.Context) -> None:
    options = ["--verbose"] if context.parent and context.parent.params["verbose"] else []
    exec_training(*options, str(context.info_name), *context.args)
