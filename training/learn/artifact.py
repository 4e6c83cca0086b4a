"""A model version as a folder of plain files, never pickle, that loads without Airflow and without Spark.

weights.safetensors       the network; `model.json` has its variant, its shape and the models of its text vectors
vocabulary/*.parquet      ids in the order of their embedding rows
state.safetensors         standardisation, whitening, and the counts of users and items (the neighbours' index)
calibration.json          Platt slope and offset by scene
feature_meta.json, settings.json, manifests.json, learning_curve.csv, learning_curve.svg: for people and audits
"""

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from include.calendar import parse_day
from include.errors import CtrError, InvalidInputError, MissingDataError
from include.lake.lake import Lake, get_lake
from include.settings import get_settings
from training.data.dense import INPUTS, NAMES, columns_of
from training.data.id_memory import Memory
from training.data.item_texts import COLUMNS, ItemTexts
from training.data.rows import build_rows
from training.data.standardiser import Standardiser
from training.data.state import ModelConfig, State
from training.data.vocabulary import Vocabulary
from training.device import device
from training.learn.calibration import Calibration
from training.learn.trainer import predict
from training.model_variants import MODEL_VARIANTS, ModelVariant
from training.models.network import Network, Widths
from training.models.text import TextLookup
from training.tables import Shards, shards_of_table
from training.text.text_table import TEXT_KEYS, TextTable, keys_in
from training.text.topics import Topics
from training.text.vector_cache import Keys, VectorCache
from training.text.whitening import Whitening

HASHED = (
    "weights.safetensors",
    "state.safetensors",
    "vocabulary/users.parquet",
    "vocabulary/items.parquet",
    "calibration.json",
    "model.json",
)
"""The files that predictions depend on, in the order in which they are hashed."""

ROW_COLUMNS = ("user_id", "item_id", "scene", "user_level", "item_level", "scene_ctr_7d")

MEMORY = tuple(field.name for field in fields(Memory))


class OtherArchitectureError(CtrError):
    """A model of code that has since changed the network or its state: it can be neither loaded nor continued."""


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the rows: calibrated `probability [n] float64`, `alpha [n]`, and the logits `backbone
    [n]` and `content [n]`; `missing_texts` is the number of distinct texts without a cached vector, which count as
    no text."""

    probability: npt.NDArray[np.float64]
    alpha: npt.NDArray[np.float64]
    backbone: npt.NDArray[np.float64]
    content: npt.NDArray[np.float64]
    missing_texts: int


@dataclass(frozen=True)
class Predictor:
    """A trained model, ready to predict rows of the `training` table."""

    model: Network
    state: State
    calibration: Calibration

    def predict(self, rows: pa.Table, lake: Lake | None = None) -> Predictions:
        """Return click probabilities of rows with `columns`.

        Text vectors come from the lake's caches. With `log_ts`, the language model's vectors count up to the rows' last
        day only, so that a prediction does not change when later days are run.
        """
        shards = shards_of_table(rows, get_settings().shard_rows)
        return self.predict_shards(shards, lake or get_lake(), _last_day(rows))

    @property
    def columns(self) -> list[str]:
        """The columns of `training` that a prediction reads."""
        text = TEXT_KEYS if self.state.config.variant.text else ()
        return list(dict.fromkeys([*ROW_COLUMNS, *columns_of(), *text]))

    def predict_shards(self, shards: Shards, lake: Lake, llm_through: date | None) -> Predictions:
        """Return the same of the rows of all shards; the language model's vectors count up to the day `llm_through`."""
        parts_of_keys = (keys_in(shard) for shard in shards(TEXT_KEYS)) if self.state.config.variant.text else ()
        keys = reduce(np.union1d, parts_of_keys, np.empty(0, np.int64))
        texts = load_texts(self.state, keys, lake, llm_through)
        lookup = text_lookup(texts, self.model.device.type)
        members = self.state.topics.of(texts)
        item_texts = ItemTexts.of(shards(COLUMNS), self.state, texts)
        parts = []
        for shard in shards(self.columns):
            built = build_rows(shard, self.state, texts, item_texts, members)
            out = predict(self.model, built, lookup)
            probability = self.calibration.apply(out.logit, built.scene.numpy())
            parts.append((probability, out.alpha, out.backbone, out.content))
        probability, alpha, backbone, content = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Predictions(probability, alpha, backbone, content, texts.missing)


def text_keys(rows: pa.Table, variant: ModelVariant) -> Keys:
    """Return the distinct text keys that a model of the variant reads of rows, sorted: none for one without text."""
    return keys_in(rows) if variant.text else np.empty(0, np.int64)


def load_texts(state: State, keys: Keys, lake: Lake, llm_through: date | None) -> TextTable:
    """Return the vectors of text keys in the state's whitened spaces."""
    caches = VectorCache(lake, state.config.encoder), VectorCache(lake, state.config.llm)
    return TextTable.load(keys, caches, (state.whiten_text, state.whiten_llm), llm_through)


def text_lookup(texts: TextTable, device_name: str) -> TextLookup:
    """Return the tables as a module on a device."""
    tensors = [torch.from_numpy(array) for array in (texts.text, texts.llm, texts.has_llm)]
    return TextLookup(*tensors).to(device_name)


def build_model(state: State) -> Network:
    """Return a network of the state's size, with fresh weights."""
    deep = state.memory.habits.shape[1]
    widths = Widths(
        len(state.users), len(state.items), state.standardiser.width, deep, state.whiten_text.dim, state.whiten_llm.dim
    )
    return Network(state.config, widths)


def save(folder: Path, predictor: Predictor, extra: dict[str, Any]) -> str:
    """Write a version and return its content hash; `extra` holds the content of further JSON files, by name."""
    (folder / "vocabulary").mkdir(parents=True, exist_ok=True)
    state = predictor.state
    weights = {name: weight.detach().cpu().contiguous() for name, weight in predictor.model.state_dict().items()}
    save_tensors(weights, folder / "weights.safetensors")
    save_file(_state_arrays(state), folder / "state.safetensors")
    for name, vocabulary in (("users", state.users), ("items", state.items)):
        pq.write_table(pa.table({"id": vocabulary.ids}), folder / f"vocabulary/{name}.parquet")
    content = {
        "calibration": predictor.calibration.as_json(state.config.scenes),
        "model": state.config.as_json(),
        "feature_meta": feature_meta(state),
        **extra,
    }
    for name, data in content.items():
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False, default=str))
    return content_hash(folder)


def load(folder: Path) -> Predictor:
    """Return the version in a folder.

    Raises `MissingDataError` where a file is missing, and `OtherArchitectureError` where this code cannot load it.
    """
    lacking = [name for name in HASHED if not (folder / name).is_file()]
    if lacking:
        raise MissingDataError(
            f"The model folder {folder} lacks {', '.join(lacking)}. Next: retrain its day, or roll back to another version."
        )
    try:
        state = _load_state(folder)
        model = build_model(state)
        model.load_state_dict(load_tensors(folder / "weights.safetensors"))
    except (RuntimeError, TypeError, KeyError, InvalidInputError) as error:  # other shapes, settings, arrays, variants
        raise OtherArchitectureError(
            f"The model in {folder} was trained by code of another architecture: {str(error).splitlines()[0]} "
            "Next: retrain the day (`python -m training train --scratch`), or run the code version in its manifests."
        ) from error
    calibration = Calibration.from_json(_json(folder / "calibration.json"), state.config.scenes)
    return Predictor(model.to(device()).eval(), state, calibration)


def variant_in(folder: Path) -> ModelVariant | None:
    """Return the variant of the version in a folder, without loading it; None for a variant that this code does not have."""
    config = _json(folder / "model.json")
    variant = MODEL_VARIANTS.get(config.get("model", ""))
    return variant.without_text() if variant and not config.get("has_text", True) else variant


def trained_days(folder: Path) -> list[date]:
    """Return the days whose training rows the version in a folder was trained on, by its manifests (without those of
    its base)."""
    return [parse_day(day) for day in _json(folder / "manifests.json")["training"]]


def content_hash(folder: Path) -> str:
    """Return the SHA-256 over the files that predictions depend on."""
    digest = hashlib.sha256()
    for name in HASHED:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()


def feature_meta(state: State) -> list[dict[str, Any]]:
    """Return the name, transform, unit, bounds and standardisation of each dense input, and whether the network reads it."""
    meaning = {feature.name: feature for feature in INPUTS}
    rows = []
    statistics = vars(state.standardiser.with_bounds())
    for index, name in enumerate(NAMES):
        feature = meaning.get(name)
        rows.append(
            {
                "name": name,
                "grain": feature.grain if feature else "row",
                "transform": feature.transform if feature else "identity",
                "unit": feature.unit if feature else "as logged",
                **{statistic: values[index].item() for statistic, values in statistics.items()},
            }
        )
    return rows


def _state_arrays(state: State) -> dict[str, np.ndarray]:
    return {
        **{f"standardiser.{name}": values for name, values in vars(state.standardiser).items()},
        "whiten_text.mean": state.whiten_text.mean,
        "whiten_text.weight": np.ascontiguousarray(state.whiten_text.weight),
        "whiten_text.deviation": state.whiten_text.deviation,
        "whiten_llm.deviation": state.whiten_llm.deviation,
        "whiten_llm.mean": state.whiten_llm.mean,
        "whiten_llm.weight": np.ascontiguousarray(state.whiten_llm.weight),
        "topics.centres": state.topics.centres,
        **{f"memory.{name}": getattr(state.memory, name) for name in MEMORY},
    }


def _load_state(folder: Path) -> State:
    arrays = load_file(folder / "state.safetensors")
    users, items = (
        Vocabulary(pq.read_table(folder / f"vocabulary/{name}.parquet")["id"].combine_chunks())
        for name in ("users", "items")
    )
    return State(
        config=ModelConfig.from_json(_json(folder / "model.json")),
        users=users,
        items=items,
        standardiser=_standardiser(arrays),
        whiten_text=Whitening(*(arrays[f"whiten_text.{name}"] for name in ("mean", "weight", "deviation"))),
        whiten_llm=Whitening(*(arrays[f"whiten_llm.{name}"] for name in ("mean", "weight", "deviation"))),
        topics=Topics(arrays["topics.centres"]),
        memory=Memory(*(arrays[f"memory.{name}"] for name in MEMORY)),
    )


def _standardiser(arrays: dict[str, np.ndarray]) -> Standardiser:
    """Return the standardiser in the arrays of a state; versions saved before there were bounds have only two of them."""
    names = [field.name for field in fields(Standardiser)]
    if "standardiser.low" not in arrays:
        return Standardiser.unbounded(*(arrays[f"standardiser.{name}"] for name in names[:2]))
    return Standardiser(*(arrays[f"standardiser.{name}"] for name in names))


def _last_day(rows: pa.Table) -> date | None:
    if "log_ts" not in rows.column_names or len(rows) == 0:
        return None
    last = pc.max(rows["log_ts"]).as_py()
    return last.date() if last else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
