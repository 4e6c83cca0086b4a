"""The probe of a version: some rows with its predictions from before it was saved, which it must repeat before it may serve."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import CtrError
from include.lake.lake import Lake
from include.registry import registry
from training.learn.artifact import Predictor, content_hash, load
from training.tables import NEEDED_FOR, read_shards

PROBE = "probe.parquet"
ROWS = 256
TOLERANCE = 1e-5
"""Of a probability: another processor may round otherwise."""


def write(folder: Path, predictor: Predictor, lake: Lake, day: date) -> None:
    """Write the first rows of a published day that the model was trained on, with its probabilities."""
    rows = next(read_shards(lake, "training", day, NEEDED_FOR, ROWS))
    probability = predictor.predict(rows, lake).probability
    pq.write_table(rows.append_column("probability", pa.array(probability)), folder / PROBE)


def load_verified(version: int) -> Predictor:
    """Return a version that predicts its probe as before it was saved.

    Raises `CtrError` where a file of the model or a probability has changed, and the errors of `artifact.load`.
    """
    folder = registry.download(version)
    registered = registry.get(version)
    if (actual := content_hash(folder)) != registered.content_hash:
        raise CtrError(
            f"The files of version {version} in {folder} are not those that were registered: expected content "
            f"{registered.content_hash[:12]}, found {actual[:12]}. Next: restore them from a backup, or retrain its day."
        )
    predictor = load(folder)
    probe = pq.read_table(folder / PROBE) if (folder / PROBE).is_file() else None
    if probe is None:  # a version from before probes existed
        return predictor
    again = predictor.predict(probe.drop_columns(["probability"])).probability
    largest = float(np.abs(again - probe["probability"].to_numpy()).max())
    if not largest <= TOLERANCE:
        raise CtrError(
            f"Version {version} predicts its probe of {len(probe)} rows differently than before it was saved: probabilities "
            f"differ by up to {largest:.2g}, expected at most {TOLERANCE:g}. Next: check whether the lake's text caches or the "
            "code changed."
        )
    return predictor
