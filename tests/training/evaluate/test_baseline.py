"""The baseline learns from the days before, and from none later; it is evaluated beside the candidate."""

import fabricate
import numpy as np

from include.metrics_records import BaselineFit
from training.evaluate import baseline, metrics
from training.tables import read_day, shards_of_day, shards_of_table

LAST = fabricate.day(4)


def test_it_ranks_the_day_by_what_was_known_before_it(world):
    rows = read_day(world.lake, "training", LAST, "A test")
    shards = shards_of_table(rows, 250)
    probability, about = baseline.predict(world.lake, LAST, shards, world.settings)
    assert metrics.auc(rows["label"].to_numpy().astype(np.int64), probability) > 0.55
    before = sum(world.lake.require("training", fabricate.day(n), "A test").table("training").rows for n in range(4))
    assert (about.rows, about.note) == (before, None)
    again, _ = baseline.predict(world.lake, LAST, shards_of_table(rows, 10_000), world.settings)
    assert (again == probability).all()


def test_it_reads_no_more_rows_than_the_settings_say(world):
    shards = shards_of_day(world.lake, "training", LAST, "A test", 10_000)
    few = world.settings.model_copy(update={"baseline_rows": 500})
    assert baseline.predict(world.lake, LAST, shards, few)[1].rows == 500
    none = world.settings.model_copy(update={"baseline_rows": 0})
    assert baseline.predict(world.lake, LAST, shards, none) == (None, BaselineFit(note="CTR_BASELINE_ROWS is 0"))


def test_a_week_without_clicks_enough_has_no_baseline(world):
    shards = shards_of_day(world.lake, "training", fabricate.day(0), "A test", 10_000)
    probability, about = baseline.predict(world.lake, fabricate.day(0), shards, world.settings)
    assert probability is None
    assert about.note == "the week before has 0 clicks of 0 rows"
