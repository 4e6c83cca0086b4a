"""A day of a lake that is ready to be evaluated: a published training table, a candidate, and models made of numbers."""

import io
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from pyarrow import orc
from sample_records import train
from scored_days import Day

from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import get_settings
from training.data.id_memory import Memory
from training.data.vocabulary import Vocabulary
from training.tables import Shards

DAY = date(2023, 7, 17)


def publish(day: Day, on: date = DAY) -> Lake:
    """Publishes the day's rows as the training table (the columns that evaluation reads)."""
    count = len(day.label)
    table = pa.table(
        {
            "event_id": [f"part.csv#{n}" for n in range(count)],
            "label": pa.array(day.label, pa.int8()),
            "scene": day.scene.tolist(),
            "user_id": [f"u{user}" for user in day.user],
            "item_id": [f"i{n % 50}" for n in range(count)],
            "user_level": day.user_level.tolist(),
            "item_level": day.item_level.tolist(),
        }
    )
    sink = io.BytesIO()
    orc.write_table(table, sink)
    lake, path = get_lake(), f"training/dt={on}/build=b"
    lake.write_bytes(f"{path}/part-0.orc", sink.getvalue())
    version = TableVersion(path, count, len(sink.getvalue()), "schema")
    manifest = Manifest("training", str(on), "b", {"training": version}, count, {"logs/day": "l"}, "code", "settings")
    lake.write_json(f"_manifests/training/dt={on}.json", vars(manifest) | {"tables": {"training": vars(version)}})
    return lake


def register(home: Path, name: str, *, on: date = DAY, base: int | None = None) -> ModelVersion:
    """A version whose content is a name that `NamedModels` knows."""
    folder = home / "built" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name.txt").write_text(name)
    through = on.replace(day=on.day - 1)
    return registry.register(
        folder,
        log_day=on,
        trained_from=through,
        trained_through=through,
        base_version=base,
        builds={},
        content_hash=name,
        metrics={},
        params={},
    )


def trained(version: ModelVersion, on: date = DAY) -> None:
    """Writes the record `train`."""
    record = train(on, version.version, rows=100, seconds=1.5, content_hash=version.content_hash)
    get_lake().write_record(record)


class NamedModels:
    """Stands in for `training.learn.artifact`: the folder's name picks an array of predictions in the order of `make_day`."""

    def __init__(self, **predictions: np.ndarray) -> None:
        self.predictions = predictions

    def trained_days(self, folder: Path) -> list[date]:
        """No days."""
        return []

    def load(self, folder: Path) -> SimpleNamespace:
        values = self.predictions[(folder / "name.txt").read_text()]

        def predict(shards: Shards, lake: Lake, llm_through: date | None) -> SimpleNamespace:
            events = (event for shard in shards(["event_id"]) for event in shard["event_id"].to_pylist())
            at = [int(event.split("#")[1]) for event in events]
            return SimpleNamespace(probability=values[at], alpha=np.full(len(at), 0.25))

        nobody, nothing = Vocabulary.empty(), Memory.empty(1, 1, 1, 1)
        config = SimpleNamespace(scenes=get_settings().scenes)
        state = SimpleNamespace(config=config, users=nobody, items=nobody, memory=nothing)
        return SimpleNamespace(predict_shards=predict, state=state)
