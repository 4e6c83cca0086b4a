"""Using the model: the champion as a Python object, and its click probabilities of a day's impressions in the lake.

from training.serve.scoring import load_champion
champion = load_champion()
champion.predict(frame).probability     # a pandas or Arrow table with the columns of `training`
"""

from dataclasses import dataclass
from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import get_lake
from include.raw.score_list import rows_path
from include.records import Score
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import get_settings
from training.evaluate.evaluation import predict_known_scenes
from training.learn import artifact
from training.tables import read_orc, shards_of_day, shards_of_table, write_orc
from training.text.text_table import BAGS

NEEDED_FOR = "Scoring"
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("scene", pa.string()),
        ("probability", pa.float64()),
    ]
)
"""`probability` is calibrated; it is null in a scene that the model was not trained for."""


@dataclass(frozen=True)
class Champion:
    """The version that serves, and its model."""

    version: ModelVersion
    predictor: artifact.Predictor

    @property
    def columns(self) -> list[str]:
        """The columns that `predict` reads."""
        return self.predictor.columns

    def predict(self, rows: pd.DataFrame | pa.Table) -> artifact.Predictions:
        """Return predictions of rows `[n]`, in their order, with `columns()`; text vectors come from the lake's caches.

        Raises `InvalidInputError` that names the columns that are missing, or a scene or level that is unknown.
        """
        table = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
        missing = [name for name in self.columns if name not in table.column_names]
        if missing:
            raise InvalidInputError(
                f"Version {self.version.version} predicts rows with the columns of 'training'; {len(missing)} of "
                f"{len(self.columns)} are missing: {', '.join(missing)}. spark_jobs/training_table.py makes them, "
                "and docs/features.md describes them."
            )
        if "title_key" in self.columns and not pa.types.is_integer(table["title_key"].type):
            raise InvalidInputError(
                f"'title_key' is of type {table['title_key'].type}: expected 64-bit integers, which floats cannot hold. Use "
                "pandas' nullable Int64, or an Arrow table."
            )
        for name in set(BAGS) & set(self.columns):  # of lists that are all empty pandas knows no type
            index = table.column_names.index(name)
            table = table.set_column(index, name, table[name].cast(pa.list_(pa.int64())))
        return self.predictor.predict(table)


def load_champion() -> Champion:
    """Return the champion of the registry; raises `MissingDataError` where no version was promoted yet."""
    version = registry.champion()
    if version is None:
        raise MissingDataError("No model version is champion yet: run the DAG ctr_daily, or `ctr promote VERSION`.")
    return Champion(version, artifact.load(registry.download(version.version)))


def run(day: date, listed: str | None = None) -> Score:
    """Write the champion's scores of the day's published rows to the lake, and return the record that it writes.

    They equal those of `evaluate` for the same version, bit for bit. `seen` says that the model was trained on the day.
    `listed` is the folder of a list (`include/raw/score_list.py`) whose rows have their features: they are scored
    instead, in the order of the list, and the record is not kept.
    """
    lake = get_lake()
    champion = load_champion()
    size = get_settings().shard_rows
    if listed:
        shards = shards_of_table(read_orc(lake, rows_path(listed, day)), size)
    else:
        shards = shards_of_day(lake, "training", day, NEEDED_FOR, size)
    probability = predict_known_scenes(champion.predictor, shards, lake, day)
    rows = pa.concat_tables(shards(SCHEMA.names[:-1]))
    scores = rows.append_column("probability", pa.array(probability, pa.float64(), from_pandas=True)).sort_by(
        "event_id"
    )
    name = f"version={champion.version.version}.orc"
    path = f"{listed}/scores/dt={day}/{name}" if listed else f"_scores/dt={day}/{name}"
    write_orc(lake, path, scores.cast(SCHEMA))
    record = Score(
        day=day,
        version=champion.version.version,
        seen=champion.version.trained_through >= day,
        rows=len(scores),
        unknown_scenes=scores["probability"].null_count,
        mean=pc.mean(scores["probability"]).as_py(),
        path=lake.uri(path),
    )
    if not listed:
        lake.write_record(record)
    return record
