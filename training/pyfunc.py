"""A version as an MLflow model of the kind *python function*: `mlflow.pyfunc.load_model("models:/ctr@champion").predict(rows)`.

It needs this project installed and the lake's text caches, as `training.learn.artifact.load` does; nothing is unpickled.
MLflow keeps the name of this module with every version: it stays where it is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import yaml

from training.learn.artifact import Predictor, load


def describe(folder: Path) -> None:
    """Write the file `MLmodel`, by which MLflow loads the model in a folder."""
    flavor = {"loader_module": __name__, "data": "."}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))


class Scorer:
    """The object that MLflow wraps: click probabilities of a frame of rows."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> npt.NDArray[np.float64]:  # noqa: ARG002, MLflow's form
        """Return calibrated probabilities `[n]` of rows with the columns of `training`."""
        return self._predictor.predict(pa.Table.from_pandas(rows, preserve_index=False)).probability


def _load_pyfunc(path: str) -> Scorer:
    """MLflow's entry point."""
    return Scorer(load(Path(path)))
