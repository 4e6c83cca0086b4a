"""What a team's log looks like, in YAML: its files, its format, which column is what, how values are written.

The nightly run reads the raw logs by the mapping of the settings (`raw_mapping.py`), `ctr import log` any file by any mapping.
`include/mapping/bundled/antm2c.yaml` is the default, `docs/raw-logs.md` explains every key.
"""

import codecs
import hashlib
import os
import re
from pathlib import Path
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from include.errors import InvalidInputError, MissingDataError
from include.mapping.file_pattern import FilePattern
from include.schemas import OPTIONAL_RAW_COLUMNS, RAW_COLUMNS
from include.setting_groups import PROJECT

DEFAULT_MAPPING = "antm2c"
BUNDLED = PROJECT / "include/mapping/bundled"
EPOCHS = {"epoch_seconds": 0, "epoch_milliseconds": 3, "epoch_microseconds": 6, "epoch_nanoseconds": 9}
"""Formats of a time as a number, and the power of ten of a second that it counts."""
ISO = "iso8601"
M = TypeVar("M", bound=BaseModel)


class Constant(BaseModel):
    """A value that is the same in every row."""

    model_config = ConfigDict(extra="forbid")
    constant: str


class Times(BaseModel):
    """How `log_time` is written, and the zone of the log's days.

    `formats` are Python's codes, `iso8601` or an epoch, tried in order; a column that holds times and not text needs none.
    `zone` is that of times that carry none; `day_zone`, by default the same, that in which days and hours are cut.
    """

    model_config = ConfigDict(extra="forbid")
    formats: list[str] = Field(default=[ISO], min_length=1)
    zone: str = "UTC"
    day_zone: str = ""

    @field_validator("formats")
    @classmethod
    def _formats(cls, formats: list[str]) -> list[str]:
        for text in formats:
            if text not in (ISO, *EPOCHS) and "%" not in text:
                raise ValueError(
                    f"'{text}' is none of Python's formats: write '%Y-%m-%d %H:%M:%S', {ISO}, or one of {', '.join(EPOCHS)}"
                )
            if re.search(r"%[zZ].", text):
                raise ValueError(f"'{text}': the zone of a time (%z or %Z) must stand at its end")
        return formats

    @field_validator("zone", "day_zone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"'{zone}' is no time zone: write one such as UTC or Asia/Shanghai") from None
        return zone

    @property
    def days_in(self) -> str:
        """The zone in which days and hours are cut."""
        return self.day_zone or self.zone


class Mapping(BaseModel):
    """What a mapping file says; every key is explained in `docs/raw-logs.md`."""

    model_config = ConfigDict(extra="forbid")

    description: str = ""
    files: FilePattern = FilePattern("date={yyyy-MM-dd}/**")
    format: Literal["csv", "json", "parquet", "orc"] = "csv"
    columns: dict[str, str | Constant]
    unmapped: Literal["ignore", "error"] = "ignore"
    time: Times = Field(default_factory=lambda: Times())
    names: list[str] = Field(default_factory=list)
    header: Literal["auto", "true", "false"] = "auto"
    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', max_length=1)
    escape: str = ""
    encoding: str = "utf-8"
    nulls: list[str] = Field(default_factory=list)
    ids: Literal["text", "integer"] = "text"
    decimal: str = Field(".", min_length=1, max_length=1)
    thousands: str = Field("", max_length=1)
    scenes: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    duplicates: Literal["auto", "reject", "keep"] = "auto"
    event_id: str = ""

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, delimiter: str) -> str:
        return "\t" if delimiter in ("\\t", "tab") else delimiter

    @field_validator("scenes", mode="before")
    @classmethod
    def _listed(cls, scenes: object) -> object:
        """Take a list for scenes that keep their names."""
        if not isinstance(scenes, list):
            return scenes
        if twice := {str(scene) for scene in scenes if scenes.count(scene) > 1}:
            raise ValueError(f"expected each scene once, found {', '.join(sorted(twice))} more than once")
        return {scene: scene for scene in scenes}

    @field_validator("scenes")
    @classmethod
    def _named(cls, scenes: dict[str, str]) -> dict[str, str]:
        if any(not scene or scene != scene.strip() for scene in scenes.values()):
            raise ValueError("expected names of scenes, without blanks around them")
        return scenes

    @field_validator("encoding")
    @classmethod
    def _codec(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"'{encoding}' is no encoding: write one such as utf-8 or gb18030") from None
        return encoding

    @model_validator(mode="after")
    def _complete(self) -> "Mapping":
        unknown = [name for name in self.columns if name not in RAW_COLUMNS]
        if unknown:
            raise ValueError(
                f"columns: {', '.join(unknown)} is no column of the raw logs; there are: {', '.join(RAW_COLUMNS[:10])}, …"
            )
        missing = [name for name in RAW_COLUMNS if name not in self.columns and name not in OPTIONAL_RAW_COLUMNS]
        if missing:
            raise ValueError(
                f"columns: {', '.join(missing)} must be mapped, to a column of the file or to {{constant: value}}"
            )
        if self.header == "false" and not self.names:
            raise ValueError("names: must list the columns in order, for a file without a header")
        absent = sorted(set(self.sources()) - set(self.names)) if self.header == "false" else []
        if absent:
            raise ValueError(f"names: {', '.join(absent)} is mapped but not listed")
        if len(self.escape) > 1 and self.escape != "quote":
            raise ValueError(
                f"escape: expected one character, or `quote` where only quotes are escaped, by a backslash; found '{self.escape}'"
            )
        if self.escape == "quote" and not self.quote:
            raise ValueError("escape: `quote` needs a quote")
        marks = [mark for mark in (self.delimiter, self.quote, self.escape.replace("quote", "\\")) if mark]
        if len({*marks}) < len(marks) or {*marks} & {"\n", "\r"}:
            raise ValueError("delimiter, quote and escape must be different characters, and no line end")
        return self

    def sources(self) -> list[str]:
        """Return the names of the file's columns that are used, each once."""
        used = [source for source in self.columns.values() if isinstance(source, str)]
        return list(dict.fromkeys([*used, *([self.event_id] if self.event_id else [])]))

    def absent(self) -> tuple[str, ...]:
        """Return the raw columns that the log does not have: those that the mapping leaves out or gives an empty constant."""
        return tuple(
            name for name in RAW_COLUMNS if self.columns.get(name, Constant(constant="")) == Constant(constant="")
        )

    def all_scenes(self) -> tuple[str, ...]:
        """Return the scenes of the log, in the order of the mapping; none where it does not say."""
        scene = self.columns["scene"]
        if not self.scenes and isinstance(scene, Constant):
            return (scene.constant.strip(),) if scene.constant.strip() else ()
        return tuple(dict.fromkeys(self.scenes.values()))

    def digest(self) -> str:
        """Return a short hash of what the mapping makes of a row: not where files lie, or which scenes are listed."""
        renamed = {value: scene for value, scene in self.scenes.items() if value != scene}
        text = self.model_copy(update={"scenes": renamed}).model_dump_json(exclude={"description", "files"})
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_mapping(name: str, home: Path) -> Path | None:
    """Return the file of a mapping that is set by its path, or None: a relative one lies beside the settings or the project."""
    env_file = Path(os.environ.get("CTR_ENV_FILE", ".env"))
    folders = (Path.cwd(), env_file.resolve().parent, home, PROJECT)
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def read_mapping(path: str) -> Mapping:
    """Return a mapping from a YAML file, or a bundled one by its name; raises an error that names the field."""
    file = Path(path)
    bundled = BUNDLED / f"{path}.yaml"
    if not file.is_file():
        file = bundled if re.fullmatch(r"\w+", path) else file
    if not file.is_file():
        names = ", ".join(sorted(bundle.stem for bundle in BUNDLED.glob("*.yaml")))
        raise MissingDataError(
            f"There is no mapping {path}: expected a YAML file, or the name of a bundled mapping: {names}."
        )
    return read_model(file, Mapping, "`ctr map FILE` writes a mapping for a file; docs/raw-logs.md explains every key")


def read_model(file: Path, model: type[M], next_step: str) -> M:
    """Return a YAML file as a pydantic model; raises `InvalidInputError` that names every wrong field and the next step."""
    try:
        # Every scalar stays as it is written: 007 and true are values of a log.
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
        return model.model_validate(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file}: expected YAML in UTF-8, found: {error}") from None
    except ValidationError as error:
        name = model.__name__.lower()
        faults = "\n".join(f"- {'.'.join(map(str, e['loc'])) or name}: {e['msg']}" for e in error.errors())
        raise InvalidInputError(f"{file} is no valid {name}:\n{faults}\nNext: {next_step}.") from None
