"""`ctr demo` and `ctr ui`: the whole pipeline on this machine, and Airflow's pages on its results."""

import os
import time
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from include.console import JsonFlag, err, out, show_json, show_rows
from include.errors import CtrError, InvalidInputError
from include.plural import counted
from include.settings import get_settings, list_text


class Data(StrEnum):
    """Where the demo's logs come from."""

    sample = "sample"
    mind = "mind"


DataOption = Annotated[Data, typer.Option(help="Generated logs, or a MIND-layout log of your own.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command()(demo)
    cli.command()(ui)


def demo(
    data: DataOption = Data.sample,
    behaviors: Annotated[Path | None, typer.Option(help="MIND behaviors.tsv[.gz], with --data mind.")] = None,
    news: Annotated[Path | None, typer.Option(help="MIND news.tsv[.gz], with --data mind.")] = None,
    bad_day: Annotated[bool, typer.Option(help="Run one more day whose log is damaged.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the pipeline: logs, a history load and three days in a real Airflow; a second call resumes where the first stopped."""
    from include.airflow_control import demo as demo_module

    began = time.monotonic()
    if bad_day:
        run_bad_day(data, as_json)
        return
    choose_home(data)
    err.print(
        "Logs, a history load in Spark, then three nights in Airflow of one or two minutes each on two cores; every step is shown"
    )
    days = generated_days() if data is Data.sample else imported_days(behaviors, news)
    nightly = days[-demo_module.NIGHTLY_DAYS :]
    failed = run_nightly(nightly, after=days[: -demo_module.NIGHTLY_DAYS])
    show_results(data, nightly, as_json, time.monotonic() - began)
    if failed:
        raise CtrError(failed)


def ui(
    data: DataOption = Data.sample,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Loopback port of the pages.")] = 8080,
) -> None:
    """Serve Airflow's UI, scheduler included, on this machine until Ctrl-C; print its address if it runs already."""
    from include.airflow_control import airflow_environment, airflow_local

    choose_home(data)
    if embedded := airflow_local.instance():
        state = "runs already" if embedded.ready else "is being started"
        out.print(Text(f"Airflow {state} at {embedded.url} ({embedded.holder}), {airflow_environment.login()}"))
        return
    with airflow_local.running(port) as airflow:
        out.print(Text(f"Airflow: {airflow.url}, {airflow_environment.login()}. Ctrl-C stops it."))
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            out.print("Stopping.")


def choose_home(data: Data) -> None:
    """Switch to the data source's own home and write its settings, which every later command reads."""
    from include.airflow_control import demo as demo_module

    if data is Data.mind:
        from include.raw.mind import MIND_SCENES

        os.environ["CTR_HOME"] = str(get_settings().home / "mind")
        get_settings.cache_clear()
        demo_module.use_small_log_settings({"CTR_SCENES": list_text(MIND_SCENES)})
    else:
        demo_module.use_small_log_settings({})


def demo_days() -> list[date]:
    """Return the days of the demo's generated logs."""
    from include.airflow_control import demo as demo_module

    return [demo_module.FIRST_DAY + timedelta(days=n) for n in range(demo_module.DAYS)]


def generated_days() -> list[date]:
    """Return the demo's days; generate those that are missing."""
    from include.airflow_control import demo as demo_module
    from include.raw.deliveries import Raw

    days = demo_days()
    if not all(Raw().day_files(day) for day in days):
        rows = str(demo_module.ROWS_PER_DAY)
        demo_module.ctr("sample", "--from", str(days[0]), "--days", str(len(days)), "--rows-per-day", rows)
    return days


def imported_days(behaviors: Path | None, news: Path | None) -> list[date]:
    """Return the days of a MIND-layout log; import it unless that is done."""
    from include.airflow_control import demo as demo_module
    from include.raw.deliveries import Raw

    if not Raw().days():
        if behaviors is None or news is None:
            raise InvalidInputError(
                "DATA=mind needs the log's two files: make demo DATA=mind BEHAVIORS=path/behaviors.tsv.gz NEWS=path/news.tsv.gz"
            )
        demo_module.ctr("import", "mind", "--behaviors", str(behaviors), "--news", str(news))
    days = Raw().days()
    if len(days) <= demo_module.NIGHTLY_DAYS:
        raise InvalidInputError(
            f"The log has {counted(len(days), 'day')}: the demo needs some history before "
            f"its {demo_module.NIGHTLY_DAYS} nightly runs."
        )
    return days


def run_nightly(days: list[date], after: list[date]) -> str:
    """Run the days that are not finished, after a history of the days before; return what failed, or an empty text."""
    from include.airflow_control import airflow_local
    from include.airflow_control import demo as demo_module
    from include.airflow_control.nightly_runs import failure_text
    from include.cli.progress import nightly_progress
    from include.lake.lake import get_lake
    from include.records import Run

    open_days = [day for day in days if not demo_module.finished(get_lake(), day)]
    if not open_days:
        out.print("Every nightly run is finished already.")
        return ""
    with airflow_local.connected():  # first: the history is loaded in the JVM that the nights find warm
        demo_module.load_history(after)
        with nightly_progress() as show:
            outcomes = demo_module.nightly(open_days, on_progress=show)
    for day, outcome in outcomes.items():
        get_lake().write_record(Run(day=day, state=outcome.state, seconds=round(outcome.seconds)))
    return failure_text(outcomes)


def show_results(data: Data, days: list[date], as_json: bool, seconds: float) -> None:
    """Print the final table, and where the results are."""
    from include.airflow_control import airflow_environment
    from include.airflow_control.demo import result
    from include.lake.lake import get_lake, report_path

    show_rows([result(get_lake(), day) for day in days], title="Nightly runs", as_json=as_json, empty="No day was run.")
    if as_json:
        return
    home = "" if "CTR_HOME" not in os.environ else f"CTR_HOME={os.environ['CTR_HOME']} "
    out.print(Text(f"Report      {get_lake().uri(report_path(days[-1]))}"))
    out.print(Text(f"Model       {home}ctr models   (registry {get_settings().registry_uri})"))
    out.print(Text(f"Days        {home}ctr status   {home}ctr quality --day {days[-1]}"))
    if not get_settings().airflow_url:
        option = "" if data is Data.sample else f" DATA={data}"
        out.print(Text(f"Airflow UI  make ui{option}   ({airflow_environment.login()})"))
    out.print(Text(f"Took        {int(seconds) // 60} min {int(seconds) % 60} s"))


def run_bad_day(data: Data, as_json: bool) -> None:
    """Run one more day, damaged as by a real upstream fault, and check: a check fails, nothing is published, same champion.

    Raises `InvalidInputError` before anything is written where the demo's own nights have not ended.
    """
    from include.airflow_control import demo as demo_module
    from include.cli.progress import nightly_progress
    from include.lake.lake import get_lake
    from include.registry import registry

    if data is not Data.sample:
        raise InvalidInputError("--bad-day damages generated logs: run it without DATA=mind.")
    days = demo_days()
    if not demo_module.finished(get_lake(), days[-1]):
        raise InvalidInputError(
            f"The bad day comes after the demo's last night: expected a decision on {days[-1]} in {get_lake().url}, found none. "
            "Next: `make demo`, then `make demo-bad-day`."
        )
    day = demo_module.next_raw_day(days)
    before = registry.champion()
    rows = str(demo_module.ROWS_PER_DAY)
    demo_module.ctr("sample", "--from", str(day), "--days", "1", "--rows-per-day", rows, "--bad-day")
    with nightly_progress() as show:
        outcome = demo_module.nightly([day], on_progress=show)[day]
    after = registry.champion()
    published = get_lake().manifest("logs", day) is not None
    unchanged = (before.version if before else None) == (after.version if after else None)
    failed = sorted(outcome.failures)
    if as_json:
        show_json({"day": str(day), "failed_tasks": failed, "published": published, "champion_unchanged": unchanged})
    else:
        _show_bad_day(day, outcome.failures, published, after.version if after else None, unchanged)
    if failed != ["check_logs"] or published or not unchanged:
        raise CtrError(f"Expected check_logs alone to fail, nothing published and the same champion; failed: {failed}.")


def _show_bad_day(day: date, failures: dict[str, str], published: bool, champion: int | None, unchanged: bool) -> None:
    from include.lake.lake import get_lake

    record = get_lake().quality("logs", day)
    rows = [
        {
            "check": check.name,
            "column": check.column,
            "expected": check.expected,
            "observed": check.observed,
        }
        for check in (record.checks if record else [])
        if check.status == "fail"
    ]
    show_rows(rows, title=f"Critical checks that failed on {day}", as_json=False, empty="No critical check failed.")
    out.print(Text(f"Red in Airflow    {', '.join(sorted(failures)) or 'nothing'}"))
    out.print(Text(f"Published         {'yes' if published else 'nothing of the day'}"))
    out.print(Text(f"Champion          version {champion}, {'unchanged' if unchanged else 'CHANGED'}"))
    err.print(Text(f"Rows and reasons  ctr quality --day {day} --failed;  ctr quarantine --day {day}", style="dim"))
