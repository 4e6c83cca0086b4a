"""One settings object, from environment variables with the prefix `CTR_`, else `{home}/settings.env`, else `.env`.

`CTR_ENV_FILE` names another file in the place of `.env`; empty, none is read.
"""

import hashlib
import json
import os
import re
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from include.errors import SettingError

PROJECT = Path(__file__).resolve().parent.parent
_ONCE_A_DAY = re.compile(r"@daily|@midnight|[0-5]?\d\s+([01]?\d|2[0-3])(\s+\*){3}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def python_path() -> str:
    """`PYTHONPATH` of a process that runs code of this project: the project's folder before what is there."""
    return os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))


def _ascending(band: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= band[0] < band[1]:
        raise ValueError("expected two numbers, the lower one first and not negative, such as [0.5, 2]")
    return band


Band = Annotated[tuple[float, float], AfterValidator(_ascending)]


class Settings(BaseSettings):
    """Everything that differs between a laptop and a cluster, and every threshold that a team may want to move."""

    model_config = SettingsConfigDict(env_prefix="CTR_", extra="ignore", frozen=True, allow_inf_nan=False)

    home: Path = Field(PROJECT / ".ctr", description="Folder of everything local: lake, raw logs, registry, Airflow.")
    lake: str = Field("", description="URL of the lake; default `file://{home}/lake`.")
    raw: str = Field("", description="URL of the raw logs; default `file://{home}/raw`.")
    mlflow_uri: str = Field("", description="MLflow tracking and registry; default SQLite in `home`.")
    mlflow_artifacts: str = Field("", description="Where MLflow keeps artifacts; default `{home}/mlflow`.")
    model_name: str = Field("ctr", pattern=r"\S", description="Name of the registered model.")
    airflow_database: SecretStr = Field(
        SecretStr(""),
        exclude=True,
        description="URL of the metadata database of the Airflow that `ctr` starts (`postgresql+psycopg2://…`); default a "
        "PostgreSQL of its own in `home`; kept out of records and versions.",
    )

    scenes: Annotated[tuple[str, ...], NoDecode] = Field(
        ("0", "1", "2", "3", "4"),
        min_length=1,
        description="Scenes of the log, comma separated; a row of another is quarantined.",
    )
    entity_separators: str = Field(
        "|;,；，、", min_length=1, description="Characters that separate entities in the sequence columns."
    )

    airflow_url: str = Field("", description="An Airflow that runs elsewhere, for `ctr demo`; default one of its own.")
    airflow_password: SecretStr = Field(
        SecretStr(""), exclude=True, description="Password of that Airflow's `admin`; kept out of records and versions."
    )
    spark_master: str = Field(
        "local[2]", description="Master of Spark jobs that `ctr` starts; Airflow uses its connection."
    )
    spark_driver_memory: str = Field("3g", pattern=r"^\d+[kmgtKMGT]$", description="Driver memory of the Spark jobs.")
    spark_shuffle_partitions: int = Field(4, ge=1, description="Shuffle partitions (`spark.sql.shuffle.partitions`).")

    user_few_impressions: int = Field(5, ge=1, description="A user with 1 to this many impressions so far is 'few'.")
    item_few_impressions: int = Field(20, ge=1, description="An item with 1 to this many impressions so far is 'few'.")
    ctr_smoothing: float = Field(
        20.0, gt=0, description="Weight of a prior CTR, in impressions, where there is too little data to estimate it."
    )
    retention_days: int = Field(
        400, ge=7, description="A user or item unseen for this many days is forgotten, and is new when it returns."
    )
    max_field_bytes: int = Field(1_000_000, ge=1, description="A raw row with a longer field is quarantined.")
    late_events: Literal["quarantine", "route"] = Field(
        "quarantine", description="Rows of an earlier day: reject them, or keep them for a rerun of their own day."
    )
    late_days: int = Field(7, ge=0, le=31, description="How many days back an event may be and still count as late.")
    empty_days: Annotated[tuple[date, ...], NoDecode] = Field(
        (), description="Days known to have no log, comma separated: without raw files they are published empty."
    )

    max_quarantine_rate: float = Field(0.02, ge=0, le=1, description="Critical above this share of rejected rows.")
    volume_band: Band = Field((0.3, 3.0), description="Rows of a day over the trailing mean: critical outside.")
    ctr_band: Band = Field((0.5, 2.0), description="CTR of a day over the trailing CTR: critical outside.")
    leak_auc: float = Field(
        0.95, gt=0.5, le=1, description="Critical when one column alone reaches this AUC in a scene."
    )
    leak_margin: float = Field(
        0.05,
        ge=0,
        description="Critical when a column's AUC is above that of recent days by more than this and chance.",
    )
    sensitive_columns: Annotated[tuple[str, ...], NoDecode] = Field(
        ("user_id",), description="Columns masked in samples of failing rows."
    )

    model: str = Field(
        "ple-alpha-llm", description="Rung of the ladder to train: dnn, mmoe, … (`training/models/ladder.py`)."
    )
    text_encoder: str = Field("", description="Hugging Face model or folder; default the bundled MiniLM.")
    text_space: Literal["whitened", "pca", "encoder"] = Field(
        "pca", description="How a model reads text vectors: principal components, whitened, or as encoded."
    )
    llm: str = Field(
        "", description="Hugging Face causal model, folder or GGUF file; default the bundled SmolLM2-135M."
    )
    warm_index: str = Field(
        "Flat", description="FAISS index over more than 20,000 warm items: Flat (exact), HNSW32, IVF1024,Flat, …"
    )
    llm_max_texts: int = Field(2000, ge=0, description="Most texts that one run sends to the language model.")
    llm_lookback_days: int = Field(3, ge=1, description="Cold items of this many days up to the run's are embedded.")
    train_days: int = Field(28, ge=1, description="Most days of training rows that one training run reads.")
    batch_size: int = Field(256, ge=1, description="Rows in a training step.")
    shard_rows: int = Field(250_000, ge=1, description="Most rows of a day that are decoded in memory at a time.")
    shuffle_rows: int = Field(1_000_000, ge=1, description="A day with more rows is shuffled in blocks of this many.")
    train_threads: int = Field(1, ge=1, description="Threads of a training step on a CPU.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the dense parameters.")
    seed: int = Field(17, description="Seed of training and bootstrap.")

    keep_versions: int = Field(
        60,
        ge=2,
        description="Newest model versions that keep their files; the champion's, its predecessor's and the anchor's stay too.",
    )
    baseline_rows: int = Field(
        200_000,
        ge=0,
        description="Most rows of the week before that the night's baseline is fitted on; 0: no baseline.",
    )
    gate_policy: Path = Field(PROJECT / "include/policies/gate.yaml", description="Rules of the promotion gate.")
    bootstrap_resamples: int = Field(1000, ge=100, description="Resamples of every bootstrap.")

    outdated_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="A version is outdated where more than this share of the rows, or of the clicks, of a day that it learnt was "
        "replaced since.",
    )

    psi_moved: float = Field(0.1, gt=0, description="From this PSI on, a feature is reported as moved (monitor).")
    psi_shifted: float = Field(0.25, gt=0, description="Above this PSI, a feature is reported as shifted (monitor).")

    serve_token: SecretStr = Field(
        SecretStr(""), exclude=True, description="Bearer token of `ctr serve`; kept out of records and versions."
    )
    serve_reload_seconds: float = Field(10.0, gt=0, description="`ctr serve` looks for a new champion this often.")
    serve_max_rows: int = Field(1000, ge=1, description="Most rows of a scoring request.")
    serve_max_bytes: int = Field(8 << 20, ge=1, description="Largest body of a scoring request.")

    notice_webhook: SecretStr = Field(
        SecretStr(""),
        exclude=True,
        description="URL that gets a notice of every failure as Slack's JSON; kept out of logs, records and versions.",
    )
    notice_callback: str = Field(
        "",
        pattern=r"^([\w.]+:[\w.]+)?$",
        description="`package.module:function` that is called with the `include.alerts.Notice` of every failure.",
    )

    kubernetes_pods: Path | None = Field(
        None,
        description="Folder of gpu.yaml and spark.yaml, as include/kubernetes/pods: what such tasks' pods have of their own.",
    )
    raw_wait_seconds: int = Field(6 * 3600, ge=0, description="How long a run waits for its raw day before it skips.")
    raw_due_seconds: int = Field(
        2 * 3600,
        ge=0,
        description="How long after a day's end its log is expected; after that a notice says it is missing.",
    )
    approval_seconds: int = Field(8 * 3600, ge=1, description="How long a held candidate waits for a person.")
    schedule: str = Field(
        "0 0 * * *", description="Cron of `ctr_daily`, once a day; midnight UTC makes interval = log day."
    )

    @field_validator("scenes", "sensitive_columns", "empty_days", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("scenes", "sensitive_columns", "empty_days")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if twice := [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]:
            raise ValueError(f"expected each value once, found {', '.join(twice)} more than once")
        return values

    @field_validator("sensitive_columns")
    @classmethod
    def _columns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """A misspelt column would be shown unmasked."""
        if unknown := [name for name in names if name not in _column_names()]:
            raise ValueError(f"expected columns of the raw logs or of a table, {', '.join(unknown)} is none")
        return names

    @field_validator("lake", "raw")
    @classmethod
    def _with_scheme(cls, url: str) -> str:
        """Without one, Python means this machine's files and Spark those of Hadoop's default."""
        if url and "://" not in url:
            raise ValueError("expected a URL with its scheme, such as file:///data/lake or hdfs://namenode:8020/lake")
        return url

    @field_validator("schedule")
    @classmethod
    def _daily(cls, cron: str) -> str:
        """Another pace would run a day's log twice, or never."""
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
        """The address is a password in itself, and a notice names what is wrong with the data: nobody may listen."""
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
        """The named settings as JSON holds them."""
        return self.model_dump(mode="json", include=set(names))

    def digest(self, *names: str) -> str:
        """Short hash of the named settings; by default of all that shape data and models (not of where things lie, how they
        are served, or who is told)."""
        places = {"home", "lake", "raw", "raw_due_seconds", "kubernetes_pods"}
        elsewhere = ("airflow_", "mlflow_", "notice_", "serve_", "spark_driver_", "spark_master")
        places |= {name for name in type(self).model_fields if name.startswith(elsewhere)}
        chosen = self.values(*names) if names else self.model_dump(mode="json", exclude=places)
        text = json.dumps(chosen, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache
def _column_names() -> frozenset[str]:
    """Columns of the raw logs and of every table."""
    import include.features  # noqa: F401, completes the tables
    from include.schemas import RAW_COLUMNS, TABLES

    declared = ", ".join(ddl for tables in TABLES.values() for ddl in tables.values())
    return frozenset({*RAW_COLUMNS, *(column.split()[0] for column in declared.split(", "))})


def _shown(name: int | str, value: object) -> str:
    """A setting's value as an error message may tell it."""
    field = Settings.model_fields.get(str(name))
    return "a secret value" if field and field.annotation is SecretStr else repr(value)


def _told(fault: ErrorDetails) -> str:
    """A fault of validation in a line; one of several settings together names them itself."""
    if not fault["loc"]:
        return f"- {fault['msg']}"
    name = fault["loc"][0]
    return f"- CTR_{str(name).upper()}: {fault['msg']}, found {_shown(name, fault['input'])}"


@lru_cache
def settings() -> Settings:
    """The process's settings, read once; raises `InvalidInputError` that names every setting out of its range."""
    env_file = os.environ.get("CTR_ENV_FILE", ".env")
    try:
        home = Settings(_env_file=env_file).home  # type: ignore[call-arg]
        return Settings(_env_file=(env_file, home / "settings.env"))  # type: ignore[call-arg]
    except ValidationError as error:
        faults = "\n".join(_told(fault) for fault in error.errors())
    except SettingsError as error:
        faults = f"- {error}: {error.__cause__}"
    raise SettingError(
        f"Settings that cannot be used:\n{faults}\nNext: correct them in the environment, in settings.env of CTR_HOME or in .env."
    )
