"""The mapping of a delimited log, in YAML: which column is what, how times are written, what scenes are called.

`include/raw/csv_import.py` imports a log by it.
"""

import codecs
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from include.errors import InvalidInputError, MissingDataError
from include.schemas import OPTIONAL_RAW_COLUMNS, RAW_COLUMNS
from include.setting_groups import PROJECT

BUNDLED = PROJECT / "include/raw/mappings"
_ISO = "%Y-%m-%d %H:%M:%S"
_EPOCHS = {"epoch_seconds": 1, "epoch_milliseconds": 1000}
M = TypeVar("M", bound=BaseModel)


class Constant(BaseModel):
    """A value that is the same in every row."""

    model_config = ConfigDict(extra="forbid")
    constant: str


class Times(BaseModel):
    """How `log_time` is written: Python's format codes, tried in order, and the zone of times that carry none."""

    model_config = ConfigDict(extra="forbid")
    formats: list[str] = Field(min_length=1)
    zone: str = "UTC"

    @field_validator("formats")
    @classmethod
    def _formats(cls, formats: list[str]) -> list[str]:
        for text in formats:
            if text not in _EPOCHS and "%" not in text:
                raise ValueError(
                    f"'{text}' is none of Python's formats: write '%Y-%m-%d %H:%M:%S', or one of {', '.join(_EPOCHS)}"
                )
        return formats

    @field_validator("zone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"'{zone}' is no time zone: write one such as UTC or Asia/Shanghai") from None
        return zone


class Mapping(BaseModel):
    """What a mapping file says; see `include/raw/mappings/antm2c.yaml` for one with comments."""

    model_config = ConfigDict(extra="forbid")

    description: str = ""
    columns: dict[str, str | Constant]
    time: Times
    names: list[str] = Field(default_factory=list)
    header: Literal["auto", "true", "false"] = "auto"
    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', max_length=1)
    encoding: str = "utf-8"
    scenes: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, delimiter: str) -> str:
        return "\t" if delimiter in ("\\t", "tab") else delimiter

    @field_validator("encoding")
    @classmethod
    def _codec(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"'{encoding}' is no encoding: write one such as utf-8 or gb18030") from None
        # A byte order mark is not part of the first name.
        return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding

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
        return self

    def sources(self) -> list[str]:
        """Return the names of the file's columns that are used."""
        return [source for source in self.columns.values() if isinstance(source, str)]


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
    return read_model(file, Mapping, f"compare it with {bundled.parent.name}/antm2c.yaml, which has comments")


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


def time_parser(times: Times) -> Callable[[str], str | None]:
    """Return a function from a time as logged to `YYYY-MM-DD HH:MM:SS` in UTC, or None where it fits no format."""
    zone = ZoneInfo(times.zone)

    @lru_cache(maxsize=1 << 18)
    def parse(text: str) -> str | None:
        for pattern in times.formats:
            try:
                moment = _moment(text.strip(), pattern, zone).astimezone(UTC)
            except (ValueError, OverflowError, OSError):
                continue
            return moment.replace(tzinfo=None).isoformat(" ", "seconds")
        return None

    return parse


def _moment(text: str, pattern: str, zone: ZoneInfo) -> datetime:
    if pattern in _EPOCHS:
        return datetime.fromtimestamp(float(text) / _EPOCHS[pattern], UTC)
    # Much faster than strptime, and the same for the commonest format.
    is_iso = pattern == _ISO and len(text) == 19 and text[10] == " "
    moment = datetime.fromisoformat(text) if is_iso else datetime.strptime(text, pattern)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
