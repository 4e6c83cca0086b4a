"""The evaluated rows of a day: labels, levels and predictions of candidate and champion, in one file of the lake."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.orc as orc

from include.errors import MissingDataError
from include.lake.lake import Lake
from training.evaluate.groups import Names
from training.evaluate.metrics import Floats, Integers
from training.tables import write_orc

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("scene", pa.string()),
        ("user_level", pa.string()),
        ("item_level", pa.string()),
        ("label", pa.int8()),
        ("candidate", pa.float64()),
        ("champion", pa.float64()),
        ("anchor", pa.float64()),
        ("baseline", pa.float64()),
        ("alpha", pa.float64()),
    ]
)
"""`champion`, `anchor` and `baseline` are null where there is none to compare with; `alpha` is the candidate's trust in text."""
MODELS = ("candidate", "champion", "anchor", "baseline")
PREDICTED = (*MODELS, "alpha")
ROW = tuple(name for name in SCHEMA.names if name not in PREDICTED)
"""The columns that come from `training`."""


@dataclass(frozen=True)
class EvaluationRows:
    """`predictions.orc` as arrays `[rows]`; `user` numbers the users from 0."""

    event_id: pa.Array
    user: Integers
    scene: Names
    user_level: Names
    item_level: Names
    label: Integers
    candidate: Floats
    champion: Floats | None
    anchor: Floats | None
    baseline: Floats | None
    alpha: Floats

    @classmethod
    def of(cls, table: pa.Table) -> "EvaluationRows":
        """Return the arrays of a table of `SCHEMA`."""
        return cls(
            event_id=table["event_id"].combine_chunks(),
            user=table["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64),
            scene=_names(table, "scene"),
            user_level=_names(table, "user_level"),
            item_level=_names(table, "item_level"),
            label=table["label"].to_numpy().astype(np.int64),
            candidate=table["candidate"].to_numpy(),
            champion=_predicted(table, "champion"),
            anchor=_predicted(table, "anchor"),
            baseline=_predicted(table, "baseline"),
            alpha=table["alpha"].to_numpy(),
        )


def usable(probability: Floats | None) -> bool:
    """Return whether every prediction is a number in [0, 1]."""
    return probability is not None and bool(
        np.isfinite(probability).all() and ((probability >= 0) & (probability <= 1)).all()
    )


def write(lake: Lake, day: date, table: pa.Table) -> str:
    """Write the day's predictions and return their path under the lake."""
    write_orc(lake, _path(day), table.select(SCHEMA.names).cast(SCHEMA))
    return _path(day)


def read(lake: Lake, day: date) -> EvaluationRows:
    """Return the day's predictions; raises `MissingDataError` where the day was not evaluated."""
    try:
        with lake.fs.open(f"{lake.root}/{_path(day)}", "rb") as file:
            return EvaluationRows.of(orc.read_table(pa.BufferReader(file.read())))
    except FileNotFoundError:
        raise MissingDataError(
            f"There are no predictions for {day} ({lake.uri(_path(day))}): run `python -m training evaluate --day {day}`."
        ) from None


def champion_parts(lake: Lake, day: date) -> Iterator[pa.Table]:
    """Yield `event_id` and `champion` of the rows that the day's champion predicted, a stripe of the file at a time.

    Nothing where the day was not evaluated, or had no champion that had not seen it.
    """
    if not lake.fs.exists(lake.path(_path(day))):
        return
    with lake.fs.open(lake.path(_path(day)), "rb") as file:
        stored = orc.ORCFile(file)
        for stripe in range(stored.nstripes):
            part = pa.Table.from_batches([stored.read_stripe(stripe, ["event_id", "champion"])])
            yield part.filter(pc.is_valid(part["champion"]))


def _path(day: date) -> str:
    return f"_evaluation/dt={day}/predictions.orc"


def _predicted(table: pa.Table, model: str) -> Floats | None:
    values = table[model]
    return None if values.null_count == len(values) else values.to_numpy()


def _names(table: pa.Table, column: str) -> Names:
    encoded = table[column].combine_chunks().dictionary_encode()
    return np.asarray(encoded.dictionary.to_pylist(), np.str_)[encoded.indices.to_numpy()]
