"""Homes of `benchmarks.quality.compare`: separate lakes, made by the project's commands and reused; or the lake of this
process's settings, which is only read.

A home made by older code is not updated: delete it after a change of the features or of `ctr sample`.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from benchmarks.quality.rows import NEEDED_FOR
from benchmarks.raw_days import days_from
from include.airflow_control.demo import FIRST_DAY
from include.calendar import parse_day
from include.errors import CtrError
from include.lake.lake import Lake
from include.raw.deliveries import day_folder
from include.raw.mind import MIND_SCENES
from include.records import EmbedCold, EmbedTexts
from include.setting_groups import PROJECT
from include.settings import Settings, get_settings

Data = Literal["generated", "mind", "lake"]
Tell = Callable[[str], None]
"""Prints a line of progress."""

DEVELOPED_ON = {
    "generated": "seed 17 is the world that the features and the model were developed on, so its figures flatter them",
    "mind": "the README has figures of these days that were measured before the last features were added",
}
DEVELOPMENT_SEED = 17
SAMPLE_SCENES: tuple[str, ...] = Settings.model_fields["scenes"].default
MIND_HISTORY = 2
"""Days before the first evaluation day of MIND: peers stop early on one, and need another to learn from."""


@dataclass(frozen=True)
class Home:
    """A data set in a folder: models of each of the `seeds` predict the last `days`, `evaluated`.

    For `lake` the folder holds only predictions: data and settings are those of this process.
    """

    data: Data
    folder: Path
    scenes: tuple[str, ...]
    seeds: tuple[int, ...]
    llm_texts: int
    days: tuple[date, ...]
    evaluated: tuple[date, ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def in_development(self) -> bool:
        """Whether the project was developed looking at this data."""
        return self.data == "mind" or (self.data == "generated" and DEVELOPMENT_SEED in self.seeds)

    def environment(self, seed: int) -> dict[str, str]:
        """Return the environment of a command that works in this home."""
        if self.data == "lake":
            return os.environ | {"CTR_SEED": str(seed)}
        return os.environ | {
            "CTR_HOME": str(self.folder.resolve()),
            "CTR_LAKE": "",
            "CTR_RAW": "",
            "CTR_MLFLOW_URI": "",
            "CTR_SCENES": ",".join(self.scenes),
            "CTR_SEED": str(seed),
            "CTR_LLM_MAX_TEXTS": str(self.llm_texts),
        }

    def settings(self, seed: int) -> Settings:
        """Return the settings of `environment` for use in this process."""
        if self.data == "lake":
            return get_settings().model_copy(update={"seed": seed})
        values = {"lake": "", "raw": "", "mlflow_uri": "", "scenes": self.scenes, "llm_max_texts": self.llm_texts}
        return Settings(home=self.folder.resolve(), seed=seed, **values)  # type: ignore[arg-type]

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return Lake(self.settings(self.seeds[0]).lake_url)


def generated(
    root: Path, seed: int, rows: int, history: int, days: int, llm_texts: int, *, llm: bool, tell: Tell
) -> Home:
    """Return a home with a world of `ctr sample`; its seed is also that of the models."""
    all_days = tuple(days_from(FIRST_DAY, history + days))
    folder = root / f"generated-{seed}-{rows}x{len(all_days)}"
    home = Home("generated", folder, SAMPLE_SCENES, (seed,), llm_texts, all_days, all_days[history:])
    if not all(_raw(home, day).exists() for day in all_days):
        tell(f"{home.name}: generating {len(all_days)} days of {rows:,} rows")
        sample = ["sample", "--from", str(all_days[0]), "--days", str(len(all_days))]
        _ctr(home, *sample, "--rows-per-day", str(rows), "--seed", str(seed))
    _load(home, llm=llm, tell=tell)
    return home


def mind(
    root: Path, behaviors: Path, news: Path, seeds: Sequence[int], llm_texts: int, *, llm: bool, tell: Tell
) -> Home:
    """Return a home with a MIND-layout log; the seeds are those of the models."""
    folder = root / "mind"
    empty = Home("mind", folder, MIND_SCENES, tuple(seeds), llm_texts, (), ())
    if not (folder / "raw" / "_imports").exists():
        tell("mind: importing")
        _ctr(empty, "import", "mind", "--behaviors", str(behaviors), "--news", str(news))
    names = (path.name.removeprefix("date=") for path in sorted((folder / "raw").glob("date=*")))
    days = tuple(parse_day(name) for name in names)
    home = Home("mind", folder, MIND_SCENES, tuple(seeds), llm_texts, days, days[MIND_HISTORY:])
    _load(home, llm=llm, tell=tell)
    return home


def own_lake(root: Path, seeds: Sequence[int], history: int, days: int) -> Home:
    """Return the newest published days of the settings' lake; raises `CtrError` where there are too few."""
    lake = Lake(get_settings().lake_url)
    published = tuple(sorted(lake.days("training"))[-(history + days) :])
    if len(published) < history + days:
        raise CtrError(
            f"{lake.url}: expected {history + days} published days of training rows (--history {history}, --days {days}), "
            f"found {len(published)}. Next: publish more (`ctr history`), or choose fewer."
        )
    settings = get_settings()
    return Home(
        "lake", root / "lake", settings.scenes, tuple(seeds), settings.llm_max_texts, published, published[history:]
    )


def about(home: Home) -> dict[str, Any]:
    """Return the contents of a home, for the record."""
    lake = home.lake
    days = {
        str(day): {
            "rows": lake.require("training", day, NEEDED_FOR).tables["training"].rows,
            "build": lake.require("training", day, NEEDED_FOR).build,
            "llm_texts_read": cold.encoded if cold else None,
            "llm_texts_left_out": cold.skipped if cold else None,
        }
        for day in home.days
        for cold in [lake.record(EmbedCold, day)]
    }
    return {
        "data": home.data,
        "seeds": list(home.seeds),
        "in_development": home.in_development,
        "scenes": list(home.scenes),
        "evaluated": [str(day) for day in home.evaluated],
        "days": days,
    }


def _load(home: Home, *, llm: bool, tell: Tell) -> None:
    """Load missing history and vectors: all days at once, then the language model night by night."""
    lake = home.lake
    published = lake.days("training")
    if missing := [day for day in home.days if day not in published]:
        tell(f"{home.name}: {len(missing)} days through Spark")
        _ctr(home, "history", "--from", str(missing[0]), "--to", str(missing[-1]))
    if lake.record(EmbedTexts, home.days[-1]) is None:
        tell(f"{home.name}: embedding texts")
        _training(home, "embed-texts", home.days[-1])
    for day in home.days if llm else ():
        if lake.record(EmbedCold, day) is None:
            tell(f"{home.name}: the language model reads cold texts of {day}, at most {home.llm_texts}")
            _training(home, "embed-cold", day)


def _raw(home: Home, day: date) -> Path:
    return home.folder / "raw" / day_folder(day)


def _ctr(home: Home, *arguments: str) -> None:
    run(home, home.seeds[0], "-c", "from include.cli.app import app; app()", *arguments)


def _training(home: Home, command: str, day: date) -> None:
    run(home, home.seeds[0], "-m", "training", command, "--day", str(day))


def run(home: Home, seed: int, *arguments: str) -> str:
    """Run Python with these arguments in a home and return its output; raises `CtrError` with the end of it on failure."""
    home.folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=home.environment(seed),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        output = (done.stderr or done.stdout)[-3000:]
        raise CtrError(
            f"`python {' '.join(arguments)}` in {home.folder} ended with status {done.returncode}:\n{output}"
        )
    return done.stdout
