"""The columns of training rows whose drift is watched, and in which form.

A smoothed CTR falls back to its scene's, and the scene's is another number every day: its PSI would be large each
night, although no row differs. So CTRs are compared as the model reads them, the log-odds above their scene's, to two
decimals; the scene's CTR itself, a single number a day, is covered by the click rate.
"""

import numpy as np
import pyarrow as pa

from training.data.dense import INPUTS, columns_of, logit

SCENE_CTR = "scene_ctr_7d"
READ = ("label", "scene", "user_level", "item_level", *columns_of())
"""Columns of `training` that are needed."""
WATCHED = tuple(name for name in READ if name not in ("label", SCENE_CTR))
"""Columns that are compared as features."""
_RATES = {feature.name for feature in INPUTS if feature.transform == "logit"}


def watched(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a watched column of rows with the columns `READ`, in the form in which it is compared."""
    if name not in _RATES:
        return rows[name]
    rate, of_scene = (logit(rows[column].cast(pa.float64()).to_numpy()) for column in (name, SCENE_CTR))
    return pa.chunked_array([np.round(rate - of_scene, 2)])
