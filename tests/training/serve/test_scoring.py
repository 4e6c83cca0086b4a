"""The champion as a user has it: the same scores as in its evaluation, and errors that say what is missing."""

import fabricate
import numpy as np
import pyarrow as pa
import pyarrow.orc as orc
import pytest

from include.errors import InvalidInputError, MissingDataError
from training.evaluate import evaluation
from training.evaluate.predictions import SCHEMA as EVALUATED
from training.serve import scoring
from training.tables import read_day, shards_of_day

pytestmark = pytest.mark.long

LAST = fabricate.day(4)


@pytest.fixture
def champion(world, promoted):
    """The candidate of the last day, which is promoted; its record of the evaluation is written, too."""
    promoted(LAST)
    evaluation.run(LAST, world.settings.model_copy(update={"bootstrap_resamples": 100}))
    return scoring.load_champion()


def test_scores_of_a_day_are_those_of_the_evaluation_bit_for_bit(world, champion):
    record = scoring.run(LAST)
    assert (record.version, record.rows, record.seen, record.unknown_scenes) == (1, 600, False, 0)
    scores = orc.read_table(record.path.removeprefix("file://"))
    evaluated = orc.read_table(f"{world.lake.root}/_evaluation/dt={LAST}/predictions.orc")
    assert evaluated.schema.names == EVALUATED.names
    assert scores["event_id"].to_pylist() == evaluated["event_id"].to_pylist()
    assert np.array_equal(scores["probability"].to_numpy(), evaluated["candidate"].to_numpy())
    assert record.mean == pytest.approx(scores["probability"].to_numpy().mean())
    assert scoring.run(fabricate.day(3)).seen


def test_a_day_in_parts_has_the_predictions_of_the_whole_day(world, champion):
    model = champion.predictor
    whole, parts = (
        model.predict_shards(shards_of_day(world.lake, "training", LAST, "a test", rows), world.lake, LAST)
        for rows in (10_000, 70)
    )
    table = pa.concat_tables(shards_of_day(world.lake, "training", LAST, "a test", 70)(["event_id"]))
    assert table.equals(read_day(world.lake, "training", LAST, "a test", ["event_id"])), "in the order of the table"
    np.testing.assert_allclose(parts.probability, whole.probability, rtol=1e-5)
    np.testing.assert_allclose(parts.alpha, whole.alpha, rtol=1e-5)


def test_a_frame_is_predicted_as_the_table_is_and_needs_no_label(world, champion):
    table = read_day(world.lake, "training", LAST, "a test").sort_by("event_id").select(champion.columns)
    whole = champion.predict(table).probability
    assert np.array_equal(champion.predict(table.to_pandas()).probability, whole)
    assert ((whole > 0) & (whole < 1)).all()
    with pytest.raises(InvalidInputError, match="'title_key' is of type double"):
        champion.predict(table.to_pandas().assign(title_key=0.5))


def test_missing_columns_and_unknown_scenes_are_named(world, champion):
    table = read_day(world.lake, "training", LAST, "a test")
    with pytest.raises(InvalidInputError, match=r"2 of \d+ are missing: user_ctr_7d, title_key\."):
        champion.predict(table.drop_columns(["user_ctr_7d", "title_key"]))
    index = table.column_names.index("scene")
    with pytest.raises(InvalidInputError, match="'scene' of the training table holds"):
        champion.predict(table.set_column(index, "scene", pa.array(["9"] * len(table))))


def test_rows_of_a_scene_unknown_to_the_champion_have_no_score(world, champion):
    scenes = fabricate.training_frame(world.log, 4).scene.replace({"4": "5"})
    fabricate.publish(world.lake, world.log, 4, scene=scenes)
    record = scoring.run(LAST)
    assert record.unknown_scenes == int((scenes == "5").sum()) > 0


def test_without_a_champion_it_says_how_to_get_one(world):
    with pytest.raises(MissingDataError, match="ctr promote"):
        scoring.load_champion()
