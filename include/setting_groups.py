"""Every setting, in groups, with its default and what it means; `include/settings.py` reads them."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr
from pydantic_settings import NoDecode

from include.completeness_rules import parse_rules

PROJECT = Path(__file__).resolve().parent.parent
"""The folder of this checkout, or of the installed packages."""
HOME = (PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()) / ".ctr"


def _ascending(band: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= band[0] < band[1]:
        raise ValueError("expected two numbers, the lower one first and not negative, such as [0.5, 2]")
    return band


def _rules(text: str) -> str:
    parse_rules(text)
    return text


Band = Annotated[tuple[float, float], AfterValidator(_ascending)]


@dataclass(frozen=True)
class Shapes:
    """Marks a setting by which the rows of these stages' tables are made: where it has changed, their days are stale.

    Rules of what is accepted (scenes, late events) do not shape `logs`: a change of them holds for what arrives from then on.
    """

    stages: tuple[str, ...]


OUTSIDE_DIGEST = object()
"""Marks a setting that shapes neither data nor models: where things lie, how they are served, who is notified."""


class Places(BaseModel):
    """Where things lie."""

    home: Annotated[Path, OUTSIDE_DIGEST] = Field(
        HOME, description="Folder of everything local: lake, raw logs, registry, Airflow."
    )
    lake: Annotated[str, OUTSIDE_DIGEST] = Field("", description="URL of the lake; default `file://{home}/lake`.")
    raw: Annotated[str, OUTSIDE_DIGEST] = Field("", description="URL of the raw logs; default `file://{home}/raw`.")
    mlflow_uri: Annotated[str, OUTSIDE_DIGEST] = Field(
        "", description="MLflow tracking and registry; default SQLite in `home`."
    )
    mlflow_artifacts: Annotated[str, OUTSIDE_DIGEST] = Field(
        "", description="Where MLflow keeps artifacts; default `{home}/mlflow`."
    )
    model_name: str = Field("ctr", pattern=r"\S", description="Name of the registered model.")
    airflow_database: Annotated[SecretStr, OUTSIDE_DIGEST] = Field(
        SecretStr(""),
        exclude=True,
        description="URL of the metadata database of the Airflow that `ctr` starts (`postgresql+psycopg2://…`); default a "
        "PostgreSQL of its own in `home`; kept out of records and versions.",
    )
    airflow_url: Annotated[str, OUTSIDE_DIGEST] = Field(
        "", description="An Airflow that runs elsewhere, for `ctr demo`; default one of its own."
    )
    airflow_password: Annotated[SecretStr, OUTSIDE_DIGEST] = Field(
        SecretStr(""), exclude=True, description="Password of that Airflow's `admin`; kept out of records and versions."
    )


class Spark(BaseModel):
    """How Spark jobs run."""

    spark_master: Annotated[str, OUTSIDE_DIGEST] = Field(
        "local[2]", description="Master of Spark jobs that `ctr` starts; Airflow uses its connection."
    )
    spark_driver_memory: Annotated[str, OUTSIDE_DIGEST] = Field(
        "3g", pattern=r"^\d+[kmgtKMGT]$", description="Driver memory of the Spark jobs."
    )
    spark_shuffle_partitions: int = Field(4, ge=1, description="Shuffle partitions (`spark.sql.shuffle.partitions`).")
    kubernetes_pods: Annotated[Path | None, OUTSIDE_DIGEST] = Field(
        None,
        description="Folder of gpu.yaml and spark.yaml, as include/kubernetes/pods: what such tasks' pods have of their own.",
    )


class Logs(BaseModel):
    """What a raw log is, and what is accepted of it."""

    raw_mapping: Annotated[str, OUTSIDE_DIGEST] = Field(
        "antm2c",
        description="Mapping of the raw logs: a YAML file (a relative path: in the working folder, beside `CTR_ENV_FILE`, or in "
        "`CTR_HOME`), or the name of a bundled one (docs/raw-logs.md). A change of what it says makes published days stale.",
    )
    scenes: Annotated[tuple[str, ...], NoDecode, Shapes(("features", "training"))] = Field(
        ("0", "1", "2", "3", "4"),
        min_length=1,
        description="Scenes of the log, comma separated (one with a comma in double quotes); a row of another is quarantined. "
        "Where it is not set, those that the mapping lists, if it lists any.",
    )
    entity_separators: Annotated[str, Shapes(("logs",))] = Field(
        "|;,；，、", min_length=1, description="Characters that separate entities in the sequence columns."
    )
    max_field_bytes: Annotated[int, Shapes(("logs",))] = Field(
        1_000_000, ge=1, description="A raw row with a longer field is quarantined."
    )
    late_events: Literal["quarantine", "route"] = Field(
        "quarantine", description="Rows of an earlier day: reject them, or keep them for a rerun of their own day."
    )
    late_days: int = Field(7, ge=0, le=31, description="How many days back an event may be and still count as late.")
    earliest_day: Annotated[date, OUTSIDE_DIGEST] = Field(
        date(2000, 1, 1),
        description="A row of an earlier day is rejected, and one of more than a day ahead of the clock.",
    )
    raw_complete: Annotated[str, OUTSIDE_DIGEST, AfterValidator(_rules)] = Field(
        "marker or quiet:5",
        description="When a day's raw files are complete: `marker[:NAME]`, `manifest:NAME`, `quiet:MINUTES`, `files:NUMBER`; "
        "rules separated by commas must all hold, of those joined by `or` one (docs/operations.md).",
    )
    empty_days: Annotated[tuple[date, ...], NoDecode] = Field(
        (), description="Days known to have no log, comma separated: without raw files they are published empty."
    )


class Features(BaseModel):
    """How features are counted."""

    user_few_impressions: Annotated[int, Shapes(("training",))] = Field(
        5, ge=1, description="A user with 1 to this many impressions so far is 'few'."
    )
    item_few_impressions: Annotated[int, Shapes(("training",))] = Field(
        20, ge=1, description="An item with 1 to this many impressions so far is 'few'."
    )
    ctr_smoothing: Annotated[float, Shapes(("features",))] = Field(
        20.0, gt=0, description="Weight of a prior CTR, in impressions, where there is too little data to estimate it."
    )
    retention_days: Annotated[int, Shapes(("features",))] = Field(
        400, ge=7, description="A user or item unseen for this many days is forgotten, and is new when it returns."
    )


class Checks(BaseModel):
    """What a day is held to before it is published."""

    max_quarantine_rate: float = Field(0.02, ge=0, le=1, description="Critical above this share of rejected rows.")
    volume_band: Band = Field((0.3, 3.0), description="Rows of a day over the trailing mean: critical outside.")
    ctr_band: Band = Field((0.5, 2.0), description="CTR of a day over the trailing CTR: critical outside.")
    max_user_share: float = Field(
        0.05, gt=0, le=1, description="Warning above this share of a day's rows for one user."
    )
    max_item_share: float = Field(0.5, gt=0, le=1, description="Warning above this share of a day's rows for one item.")
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


class Models(BaseModel):
    """What is trained, and how."""

    model: str = Field(
        "ple-alpha-llm", description="Model variant to train: dnn, mmoe, … (`training/model_variants.py`)."
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
    batch_size: int = Field(
        0, ge=0, description="Rows in a training step; 0: by the rows of the day, from 256 to 4,096."
    )
    shard_rows: int = Field(250_000, ge=1, description="Most rows of a day that are decoded in memory at a time.")
    shuffle_rows: int = Field(1_000_000, ge=1, description="A day with more rows is shuffled in blocks of this many.")
    train_threads: int = Field(
        0, ge=0, description="Threads of a training step on a CPU; 0: two for steps of 1,024 rows or more, else one."
    )
    train_precision: Literal["auto", "float32"] = Field(
        "auto",
        description="auto: the widest products of steps of 1,024 rows or more in bfloat16, on a CPU that has it.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the dense parameters.")
    seed: int = Field(17, description="Seed of training and bootstrap.")
    keep_versions: int = Field(
        60,
        ge=2,
        description="Newest model versions that keep their files; the champion's, its predecessor's and the anchor's stay too.",
    )


class Evaluation(BaseModel):
    """How a candidate is judged, and a champion watched."""

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
        description="A version is outdated where more than this share of the rows, or of the clicks, of a day that it was "
        "trained on was replaced since.",
    )
    psi_moved: float = Field(0.1, gt=0, description="From this PSI on, a feature is reported as moved (monitor).")
    psi_shifted: float = Field(0.25, gt=0, description="Above this PSI, a feature is reported as shifted (monitor).")


class Serving(BaseModel):
    """The scoring service, and lists to be scored."""

    serve_token: Annotated[SecretStr, OUTSIDE_DIGEST] = Field(
        SecretStr(""), exclude=True, description="Bearer token of `ctr serve`; kept out of records and versions."
    )
    serve_reload_seconds: Annotated[float, OUTSIDE_DIGEST] = Field(
        10.0, gt=0, description="`ctr serve` looks for a new champion this often."
    )
    serve_max_rows: Annotated[int, OUTSIDE_DIGEST] = Field(1000, ge=1, description="Most rows of a scoring request.")
    serve_max_bytes: Annotated[int, OUTSIDE_DIGEST] = Field(
        8 << 20, ge=1, description="Largest body of a scoring request."
    )
    max_unknown_ids: Annotated[float, OUTSIDE_DIGEST] = Field(
        0.5,
        ge=0,
        le=1,
        description="`ctr score --list` refuses a list with unknown users, or unknown items, in more than this share of rows.",
    )


class Nights(BaseModel):
    """When nights run, what they wait for, and who is notified."""

    schedule: str = Field(
        "0 0 * * *", description="Cron of `ctr_daily`, once a day; midnight UTC makes interval = log day."
    )
    raw_wait_seconds: int = Field(6 * 3600, ge=0, description="How long a run waits for its raw day before it skips.")
    raw_due_seconds: Annotated[int, OUTSIDE_DIGEST] = Field(
        2 * 3600,
        ge=0,
        description="How long after a day's end its log is expected; after that a notice says it is missing.",
    )
    approval_seconds: int = Field(8 * 3600, ge=1, description="How long a held candidate waits for a person.")
    notice_webhook: Annotated[SecretStr, OUTSIDE_DIGEST] = Field(
        SecretStr(""),
        exclude=True,
        description="URL that gets a notice of every failure as Slack's JSON; kept out of logs, records and versions.",
    )
    notice_callback: Annotated[str, OUTSIDE_DIGEST] = Field(
        "",
        pattern=r"^([\w.]+:[\w.]+)?$",
        description="`package.module:function` that is called with the `include.orchestration.notice.Notice` of every failure.",
    )
