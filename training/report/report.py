"""The report of a day: one self-contained HTML page, from whatever records the day has, also for a day that failed."""

import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from include.days.day_states import State, describe_wait
from include.lake.lake import Lake, report_path
from include.lake.model_records import records_of_day, records_of_version
from include.records import Decision, EmbedCold, EmbedTexts, Evaluation, Monitor, Train, Wait
from include.registry import registry
from include.schemas import LEVELS
from include.settings import Settings
from include.stages import STAGES
from training import charts
from training.report.tables import write_tables

RECORDS = (Wait, EmbedTexts, EmbedCold, Train, Evaluation, Monitor, Decision)
"""Kinds of records, in the order in which a night writes them."""
MOST_DRIFTED = 15
"""Features in the section on drift."""
FIGURES = {
    "auc": "AUC, all rows",
    "log_loss": "Log loss",
    "pcoc": "PCOC",
    "ece": "ECE",
    "scene_mean_auc": "Per-scene mean AUC",
    "scene_mean_gauc": "Per-scene mean GAUC",
}
"""Figures of the headline, with the names that people read."""


def run(day: date, settings: Settings) -> dict[str, Any]:
    """Write the day's report, store it and its tables with the candidate, and return where it is."""
    lake = Lake(settings.lake_url)
    data = gather(lake, day)
    page = render(data)
    train: Train | None = data["records"]["train"]
    version = train.version if train else None
    if version is not None:
        lake.write_bytes(report_path(day, version), page.encode())
        _attach(version, page, data["records"]["evaluation"])
    lake.write_bytes(report_path(day), page.encode())
    return {"day": str(day), "report": lake.uri(report_path(day)), "version": version}


def _attach(version: int, page: str, evaluation: Evaluation | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "report.html").write_text(page)
        if evaluation:
            write_tables(folder, evaluation)
        registry.log_artifacts(version, folder)


def gather(lake: Lake, day: date) -> dict[str, Any]:
    """Return everything that the lake has of a day; None where it has nothing."""
    manifests = {stage: lake.manifest(stage, day) for stage in STAGES}
    of_model = records_of_day(lake, day)
    return {
        "day": str(day),
        "quality": {stage: lake.quality(stage, day) for stage in STAGES},
        "records": {kind.kind: lake.record(kind, day) for kind in RECORDS} | vars(of_model),
        "manifests": {stage: asdict(manifest) if manifest else None for stage, manifest in manifests.items()},
        "promoted_by": _promoted_by(of_model.train),
        **_served(lake, of_model.decision),
    }


def _served(lake: Lake, decision: Decision | None) -> dict[str, Any]:
    """Return the measurements of the trial services of the candidate, and of the champion before it."""
    if decision is None:
        return {"served": None, "champion_served": None}
    champion = next((version for version in registry.versions() if version.version == decision.champion), None)
    before = records_of_version(lake, champion.log_day, champion.version).decision if champion else None
    return {"served": decision.served, "champion_served": before.served if before else None}


def _promoted_by(train: Train | None) -> str | None:
    """Return who promoted the day's candidate, by the gate's decision or against it."""
    versions = [version for version in registry.versions() if train and version.version == train.version]
    return versions[0].promoted_by if versions else None


def render(data: dict[str, Any]) -> str:
    """Return the page of the data of `gather`."""
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"fixed": _fixed, "signed": _signed, "percent": _percent, "count": _count, "heat": _heat}
    evaluation: Evaluation | None = data["records"]["evaluation"]
    train: Train | None = data["records"]["train"]
    curves = evaluation.calibration if evaluation else {}
    learning = train.learning_curve if train else []
    return environment.get_template("report.html.j2").render(
        **data,
        **data["records"],
        banner=banner(data),
        next_step=next_step(data["records"]["decision"], data["promoted_by"]),
        figures=FIGURES,
        levels=LEVELS,
        cells=evaluation.cells if evaluation else {},
        most_drifted=MOST_DRIFTED,
        times=times(data),
        calibration_svg=Markup(charts.calibration(curves)) if curves else None,  # noqa: S704, our own drawing
        learning_svg=Markup(charts.learning_curve(learning)) if learning else None,  # noqa: S704
    )


@dataclass(frozen=True)
class Banner:
    """The headline of the page; `kind` is a verdict or `none`, `failed` whether a data-quality check failed."""

    kind: str
    title: str
    reasons: list[str]
    failed: bool = False


def banner(data: dict[str, Any]) -> Banner:
    """Return the headline: a failed check first, else a log that never came, else the decision, else where the run ended."""
    failed = [stage for stage, quality in data["quality"].items() if quality and quality.status == "fail"]
    decision: Decision | None = data["records"]["decision"]
    if failed:
        reasons = [f"{check}." for check in data["quality"][failed[0]].checks if check.status == "fail"]
        return Banner("reject", f"Data quality failed in {failed[0]}", reasons, failed=True)
    wait = data["records"]["wait"]
    if wait and wait.gave_up_at and not data["manifests"]["logs"]:
        return Banner("none", State.NO_LOG.capitalize(), [describe_wait(wait)])
    if not decision:
        missing = next((kind for kind in ("train", "evaluation", "decision") if not data["records"][kind]), "decision")
        return Banner("none", "No decision", [f"The run has no record '{missing}': it ended earlier."])
    titles = {"promote": "Promote", "hold": "Hold for a person", "reject": "Reject"}
    return Banner(decision.verdict, titles[decision.verdict], decision.reasons)


def next_step(decision: Decision | None, promoted_by: str | None) -> str | None:
    """Return what a person may do about the decision, in words; None where there is nothing to do."""
    if not decision or promoted_by:
        return None
    command = f"`ctr promote {decision.candidate}`"
    if decision.verdict == "promote" and decision.may_promote:
        return f"The DAG promotes it; without the DAG, run {command}."
    if decision.verdict == "reject":
        return f"The champion stays. The reasons say where to look; {command} overrules the gate."
    if decision.verdict == "hold" and decision.may_promote and decision.promoted is None:
        return f"Answer under Required Actions in Airflow. Without one the champion stays; {command} promotes it later."
    return f"The champion stays; {command} promotes this candidate."


def times(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows and seconds of every stage and training task that has a record."""
    lines = []
    for stage, quality in data["quality"].items():
        if quality:
            lines.append(
                {
                    "task": stage,
                    "rows": quality.rows,
                    "seconds": sum(quality.seconds.values()) if quality.seconds else None,
                    "detail": ", ".join(f"{name} {value:.1f}" for name, value in (quality.seconds or {}).items()),
                }
            )
    for kind, record in data["records"].items():
        if isinstance(record, EmbedTexts | EmbedCold):
            lines.append({"task": kind, "rows": record.encoded, "seconds": record.seconds, "detail": _texts(record)})
        elif isinstance(record, Train | Evaluation | Monitor):
            lines.append({"task": kind, "rows": record.rows, "seconds": record.seconds, "detail": ""})
    return lines


def _texts(record: EmbedTexts | EmbedCold) -> str:
    """Return what an embedding task encoded, skipped, or could not read."""
    parts = [f"texts encoded of {record.texts:,}", f"{record.cached:,} cached"]
    parts += [f"{record.skipped:,} left out"] if record.skipped else []
    if isinstance(record, EmbedCold) and record.share is not None:
        parts.append(f"{record.share:.1%} of the day's texts")
    if isinstance(record, EmbedTexts) and record.unknown_share is not None:
        parts.append(f"{record.unknown_share:.1%} of tokens unknown")
    return ", ".join(parts)


def _fixed(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{int(value):,}"


def _heat(value: float | None, low: float = 0.5, high: float = 0.9) -> int:
    """Return the percentage of the accent colour for a value between `low` and `high`."""
    return 0 if value is None else round(100 * min(1.0, max(0.0, (value - low) / (high - low))))
