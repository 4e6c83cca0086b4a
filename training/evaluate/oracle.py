"""The best possible AUC of a generated day: that of the true click probabilities, which no other stage reads."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from include.metrics_records import OracleAuc
from include.settings import Settings
from training.evaluate import metrics
from training.evaluate.predictions import EvaluationRows


def truth(day: date, settings: Settings) -> pa.Table | None:
    """Return `event_id` and true `probability` of a generated day; None for a real one."""
    files = sorted((settings.home / "oracle" / f"date={day}").glob("*.csv.gz"))
    if not files:
        return None
    columns = ["source_file", "source_row", "probability"]
    types = {"source_file": pa.string(), "source_row": pa.string(), "probability": pa.float64()}
    options = csv.ConvertOptions(include_columns=columns, column_types=types)
    table = pa.concat_tables([csv.read_csv(file, convert_options=options) for file in files])
    event_id = pa.compute.binary_join_element_wise(table["source_file"], table["source_row"], "#")
    return pa.table({"event_id": event_id, "probability": table["probability"]})


def best_auc(rows: EvaluationRows, true_probabilities: pa.Table) -> OracleAuc | None:
    """Return the AUC of the true probability; None without one."""
    index = pa.compute.index_in(rows.event_id, value_set=true_probabilities["event_id"].combine_chunks())
    has_truth = np.asarray(index.is_valid())
    if not has_truth.any():
        return None
    probability = true_probabilities["probability"].take(index.drop_null()).to_numpy()
    label = rows.label[has_truth]
    scene = rows.scene[has_truth]
    cold = rows.item_level[has_truth] == "zero"
    scenes = {str(name): _auc(label, probability, scene == name) for name in np.unique(scene)}
    defined = [value for value in scenes.values() if value is not None]
    return OracleAuc(
        rows=int(has_truth.sum()),
        auc=_auc(label, probability, np.ones(len(label), bool)),
        scenes=scenes,
        scene_mean_auc=float(np.mean(defined)) if defined else None,
        zero_items=_auc(label, probability, cold),
    )


def _auc(label: metrics.Integers, probability: metrics.Floats, chosen: np.ndarray) -> float | None:
    value = metrics.auc(label[chosen], probability[chosen])
    return round(value, 6) if np.isfinite(value) else None
