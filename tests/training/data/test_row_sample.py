"""A sample is bounded, and the same rows whatever the order and the parts."""

import numpy as np
import pyarrow as pa

from training.data.row_sample import sample


def rows(positions: np.ndarray) -> pa.Table:
    return pa.table({"event_id": [f"part.csv#{position}" for position in positions], "value": positions})


def test_order_and_parts_do_not_show() -> None:
    positions = np.arange(5_000)
    shuffled = np.random.default_rng(1).permutation(positions)
    whole = sample([rows(positions)], 300, ["value"])
    parts = sample((rows(part) for part in np.array_split(shuffled, 17)), 300, ["value"])
    assert whole == parts
    assert whole.num_rows == 300
    assert 2_000 < np.mean(whole["value"]) < 3_000, "not the first rows, nor the last"


def test_fewer_rows_than_asked_for_are_all_taken() -> None:
    assert sorted(sample([rows(np.arange(9))], 300, ["value"])["value"].to_pylist()) == list(range(9))


def test_no_rows_give_the_columns_without_any() -> None:
    assert sample([], 300, ["value"]).to_pydict() == {"value": []}
