"""One settings object, from environment variables with the prefix `CTR_`, else `{home}/settings.env`, else `.env`.

`CTR_ENV_FILE` names another file in the place of `.env`; empty, none is read.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from include.errors import SettingError
from include.mapping.mapping import find_mapping, read_mapping
from include.schemas import RAW_COLUMNS
from include.setting_groups import (
    OUTSIDE_DIGEST,
    PROJECT,
    Checks,
    Evaluation,
    Features,
    Logs,
    Models,
    Nights,
    Places,
    Serving,
    Shapes,
    Spark,
)
from include.stages import column_names

_ONCE_A_DAY = re.compile(r"@daily|@midnight|[0-5]?\d\s+([01]?\d|2[0-3])(\s+\*){3}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def python_path() -> str:
    """Return `PYTHONPATH` for a process that runs code of this project: the project's folder before what is set."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(PROJECT), *filter(None, others)]))


def list_text(values: Iterable[object]) -> str:
    """Return a list as it is set: comma separated, a value with a comma in double quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


class Settings(Nights, Serving, Evaluation, Models, Checks, Features, Logs, Spark, Places, BaseSettings):
    """Everything that differs between a laptop and a cluster, and every threshold that a team may want to move."""

    model_config = SettingsConfigDict(env_prefix="CTR_", extra="ignore", frozen=True, allow_inf_nan=False)

    @field_validator("scenes", "sensitive_columns", "empty_days", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split a list as CSV does: a value with a comma is in double quotes."""
        if not isinstance(value, str):
            return value
        parts = next(csv.reader([value], skipinitialspace=True), [])
        return tuple(part.strip() for part in parts if part.strip())

    @field_validator("scenes", "sensitive_columns", "empty_days")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if twice := [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]:
            raise ValueError(f"expected each value once, found {', '.join(twice)} more than once")
        return values

    @field_validator("sensitive_columns")
    @classmethod
    def _columns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse unknown columns: a misspelt one would be shown unmasked."""
        known = {*RAW_COLUMNS, *column_names()}
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"expected columns of the raw logs or of a table, {', '.join(unknown)} is none")
        return names

    @field_validator("lake", "raw")
    @classmethod
    def _with_scheme(cls, url: str) -> str:
        """Refuse a URL without a scheme: Python would read local files, Spark those of Hadoop's default."""
        if url and "://" not in url:
            raise ValueError("expected a URL with its scheme, such as file:///data/lake or hdfs://namenode:8020/lake")
        return url

    @field_validator("schedule")
    @classmethod
    def _daily(cls, cron: str) -> str:
        """Refuse another pace than once a day: a day's log would run twice, or never."""
        if not _ONCE_A_DAY.fullmatch(cron):
            raise ValueError("expected a cron expression that comes once a day: MINUTE HOUR * * *, such as 0 0 * * *")
        return cron

    @model_validator(mode="after")
    def _moved_before_shifted(self) -> "Settings":
        if self.psi_moved > self.psi_shifted:
            raise ValueError(
                f"expected CTR_PSI_MOVED at most CTR_PSI_SHIFTED, found {self.psi_moved} above {self.psi_shifted}"
            )
        return self

    @field_validator("notice_webhook")
    @classmethod
    def _protected(cls, value: SecretStr) -> SecretStr:
        """Refuse an unencrypted URL: the address is a password in itself, and notices describe the data."""
        text = value.get_secret_value().strip()
        url = urlsplit(text)
        if text and not (
            url.hostname and (url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK))
        ):
            raise ValueError("expected an https:// URL, or an http:// URL of this machine (127.0.0.1)")
        return SecretStr(text)

    @property
    def lake_url(self) -> str:
        """URL of the lake."""
        return self.lake or f"file://{self.home.resolve()}/lake"

    @property
    def raw_url(self) -> str:
        """URL of the raw logs, `date=YYYY-MM-DD` folders of CSV files."""
        return self.raw or f"file://{self.home.resolve()}/raw"

    @property
    def registry_uri(self) -> str:
        """MLflow tracking and registry URI."""
        return self.mlflow_uri or f"sqlite:///{self.home.resolve()}/mlflow.db"

    @property
    def artifact_root(self) -> str:
        """Root of MLflow's artifacts."""
        return self.mlflow_artifacts or f"file://{self.home.resolve()}/mlflow"

    def values(self, *names: str) -> dict[str, Any]:
        """Return the named settings as JSON values."""
        return self.model_dump(mode="json", include=set(names))

    def digest(self, *names: str) -> str:
        """Return a short hash of the named settings; by default of all that shape data and models.

        Settings of where things lie, how they are served and who is notified are left out of the default.
        """
        text = json.dumps(self.values(*(names or self._in_digest())), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def recorded(self) -> dict[str, Any]:
        """Return the settings that are kept with a model: those of the digest, without paths of this machine."""
        return self.values(*(name for name in self._in_digest() if not isinstance(getattr(self, name), Path)))

    def _in_digest(self) -> list[str]:
        return [name for name, field in type(self).model_fields.items() if OUTSIDE_DIGEST not in field.metadata]


def _with_scenes_of_mapping(settings: Settings) -> Settings:
    """Return settings with the scenes that the mapping of the raw logs lists, not marked as set, unless they are."""
    if "scenes" in settings.model_fields_set:
        return settings
    path = find_mapping(settings.raw_mapping, settings.home)
    scenes = read_mapping(str(path or settings.raw_mapping)).all_scenes()
    if not scenes:
        return settings
    found = settings.model_copy(update={"scenes": scenes})
    found.model_fields_set.discard("scenes")
    return found


def shaping(stage: str) -> tuple[str, ...]:
    """Return the names of the settings by which the rows of a stage's tables are made."""
    return tuple(
        name
        for name, field in Settings.model_fields.items()
        if any(isinstance(mark, Shapes) and stage in mark.stages for mark in field.metadata)
    )


def _printable(name: int | str, value: object) -> str:
    """Return a setting's value as an error message may show it."""
    field = Settings.model_fields.get(str(name))
    return "a secret value" if field and field.annotation is SecretStr else repr(value)


def _fault_line(fault: ErrorDetails) -> str:
    """Return a validation fault as one line; a fault of several settings names them itself."""
    if not fault["loc"]:
        return f"- {fault['msg']}"
    name = fault["loc"][0]
    return f"- CTR_{str(name).upper()}: {fault['msg']}, found {_printable(name, fault['input'])}"


@lru_cache
def get_settings() -> Settings:
    """Return the process's settings, read once; raises `SettingError` that names every setting out of its range."""
    env_file = os.environ.get("CTR_ENV_FILE", ".env")
    try:
        home = Settings(_env_file=env_file).home  # type: ignore[call-arg]
        settings = Settings(_env_file=(env_file, home / "settings.env"))  # type: ignore[call-arg]
        return _with_scenes_of_mapping(settings)
    except ValidationError as error:
        faults = "\n".join(_fault_line(fault) for fault in error.errors())
    except SettingsError as error:
        faults = f"- {error}: {error.__cause__}"
    raise SettingError(
        f"Invalid settings:\n{faults}\nNext: correct them in the environment, in settings.env of CTR_HOME or in .env."
    )
