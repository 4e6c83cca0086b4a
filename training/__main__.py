"""The command line of what runs on a GPU or CPU: `python -m training COMMAND --day 2023-07-17`."""

import atexit
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from include.calendar import parse_day
from include.console import JsonFlag, Verbose, err, exit_clearly, set_up_logging, show_json
from include.settings import get_settings

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Day = Annotated[str, typer.Option("--day", help="Log day, YYYY-MM-DD.")]
Version = Annotated[int, typer.Option("--version", help="Number of the version, as `ctr models` shows it.")]


@cli.callback()
def options(verbose: Verbose = False) -> None:
    """Embed texts, train, evaluate and gate the model of a log day."""
    set_up_logging(verbose)


@cli.command("embed-texts")
def embed_texts(day: Day) -> None:
    """Embed every distinct text of the training window with the encoder (cached)."""
    from training.embed import embed_texts as job

    show_json(job.run(parse_day(day), get_settings()))


@cli.command("embed-cold")
def embed_cold(day: Day) -> None:
    """Embed the texts of cold and few-shot items and users with the language model (cached)."""
    from training.embed import embed_cold as job

    show_json(job.run(parse_day(day), get_settings()))


@cli.command()
def train(
    day: Day,
    scratch: Annotated[
        bool, typer.Option("--scratch/--no-scratch", help="Start from scratch instead of the promoted version.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model variant, from `dnn` to `ple-alpha-llm`; default CTR_MODEL."),
    ] = None,
) -> None:
    """Train the day's candidate on the days before it and register it."""
    from training.distributed import is_first_process, process_group
    from training.learn import train as job

    chosen = get_settings().model_copy(update={"model": model} if model else {})
    with process_group():
        record = job.run(parse_day(day), chosen, scratch=scratch)
        if is_first_process():
            show_json(record)


@cli.command()
def evaluate(day: Day, as_json: JsonFlag = False) -> None:
    """Evaluate candidate and champion on the day's rows, which neither has seen."""
    from training.evaluate import evaluation as job
    from training.report.summary import show_evaluation

    record = job.run(parse_day(day), get_settings())
    show_json(record) if as_json else show_evaluation(record)


@cli.command()
def monitor(day: Day) -> None:
    """Record the champion's metrics on the day, the drift since the days before, and the age of tables and model."""
    from training.monitor import monitor as job

    show_json(job.run(parse_day(day), get_settings()))


@cli.command()
def gate(
    day: Day,
    may_promote: Annotated[
        bool, typer.Option("--may-promote/--no-may-promote", help="Whether this run may promote.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Decide whether the candidate is promoted, held for a person, or rejected."""
    from training.gate import gate as job
    from training.report.report import next_step
    from training.report.summary import show_decision

    record = job.run(parse_day(day), may_promote, get_settings())
    show_json(record) if as_json else show_decision(record, next_step(record, None))


@cli.command()
def report(day: Day) -> None:
    """Write the day's report."""
    from training.report import report as job

    show_json(job.run(parse_day(day), get_settings()))


@cli.command()
def score(
    day: Day,
    listed: Annotated[
        str | None, typer.Option("--list", help="Folder of a list in the lake, instead of the day's log.")
    ] = None,
) -> None:
    """Write the champion's click probabilities of the day's impressions, or of a list, to the lake."""
    from training.serve import scoring as job

    show_json(job.run(parse_day(day), listed))


@cli.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; put TLS in front of any but loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
    version: Annotated[int | None, typer.Option("--version", help="Serve this version; default the champion.")] = None,
) -> None:
    """Answer scoring requests over HTTP with the champion, until it is stopped; needs CTR_SERVE_TOKEN."""
    from training.serve import serving as job

    job.run(host, port, version)


@cli.command()
def verify(version: Version, as_json: JsonFlag = False) -> None:  # noqa: ARG001, errors are printed as JSON
    """Serve a version on a free port and request the rows of its probe, as before every promotion."""
    from training.serve import trial as job

    show_json(job.verify(version))


@cli.command()
def reproduce(
    version: Annotated[int, typer.Argument(help="Number of the version, as `ctr models` shows it.")],
    as_json: JsonFlag = False,  # noqa: ARG001, errors are printed as JSON
) -> None:
    """Train a version again from the lake, register nothing, and report whether the weights are the same."""
    from training.learn import reproduce as job

    show_json(job.run(version))


@cli.command("leak-demo")
def leak_demo(
    day: Annotated[
        str | None, typer.Option("--day", help="Day to evaluate on, YYYY-MM-DD; default the last published.")
    ] = None,
    days: Annotated[int, typer.Option(min=2, help="Train on the published days among this many before it.")] = 14,
    rows: Annotated[
        int, typer.Option(min=100, help="Most rows read of a day; of a larger day a sample of whole users.")
    ] = 200_000,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of users, model, split and bootstrap; default CTR_SEED.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Score one model on the published logs, honestly and with features that contain the label; write nothing."""
    from training.leak_demo import job

    with err.status("") as status:
        result = job.run(
            parse_day(day) if day else None, get_settings(), days=days, rows=rows, seed=seed, progress=status.update
        )
    show_json(result) if as_json else job.show(result)


def main(program: str = "python -m training") -> None:
    """Run a command; its usage names the program."""
    with exit_clearly():
        cli(prog_name=program)


def _end(status: int) -> NoReturn:
    """End the process without Python's own teardown, which takes a second or two where torch is loaded."""
    logging.shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        _end(end.code or 0)
