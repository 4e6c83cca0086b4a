"""A day is read in shards and learned from files: what is in memory does not grow with the day, and changes no result."""

import weakref

import fabricate
import numpy as np
import pyarrow as pa
import pytest
import torch

from include.errors import CtrError
from include.lake.lake import Lake
from training.data import day_rows
from training.data.cold_simulation import ColdSimulation
from training.data.day_rows import on_disk, rows_of_day
from training.data.rows import Rows
from training.data.shuffle import RUN, blocks
from training.learn import dataset_scan, train, train_day
from training.learn.artifact import build_model, save
from training.learn.trainer import Trainer
from training.tables import read_day, read_shards

pytestmark = pytest.mark.long

DAYS = [fabricate.day(number) for number in range(3)]
SHARD = 70


def settings_with(world, **values):
    return world.settings.model_copy(update=values)


@pytest.fixture
def watched(monkeypatch) -> list[int]:
    """Rows of the shards that were read, in order; a shard is refused while the one before it is still held."""
    sizes: list[int] = []

    def watching(*arguments):
        last = None
        for table in read_shards(*arguments):
            assert last is None or last() is None, "the shard before is still in memory"
            (batch,) = table.to_batches()
            last = weakref.ref(batch)
            sizes.append(len(table))
            del batch
            yield table
            del table

    for module in (dataset_scan, day_rows):
        monkeypatch.setattr(module, "read_shards", watching)
    return sizes


def test_no_more_than_a_shard_of_rows_is_decoded_at_once(made, watched):
    train.fit(made.lake, DAYS, settings_with(made, shard_rows=SHARD), None)
    assert max(watched) == SHARD
    assert sum(watched) == 3 * 600 * len(DAYS)  # surveyed, looked through for its items, built


def test_no_more_than_a_built_shard_is_held_while_a_day_is_written_to_disk(made, monkeypatch):
    held: list[weakref.ref[Rows]] = []
    honest = day_rows.build_rows

    def watching(*arguments):
        assert sum(len(rows) for ref in held[:-1] if (rows := ref()) is not None) <= SHARD
        rows = honest(*arguments)
        held.append(weakref.ref(rows))
        return rows

    monkeypatch.setattr(day_rows, "build_rows", watching)
    train.fit(made.lake, DAYS[:1], settings_with(made, shard_rows=SHARD), None)
    assert len(held) == 2 * -(-600 // SHARD)


@pytest.fixture(scope="module")
def whole(made) -> train.Trained:
    """A model of two days that were each read at once."""
    return train.fit(made.lake, DAYS[:2], made.settings, None)


@pytest.mark.parametrize("shard", [1, 37, 256, 600])
def test_the_size_of_a_shard_changes_no_byte(made, whole, tmp_path, shard):
    cut = train.fit(made.lake, DAYS[:2], settings_with(made, shard_rows=shard), None)
    assert save(tmp_path / "cut", cut.predictor, {}) == save(tmp_path / "whole", whole.predictor, {})
    assert [point.log_loss for point in cut.curve] == [point.log_loss for point in whole.curve]


def test_an_item_keeps_its_first_text_of_the_day_in_any_shard(made, tmp_path):
    """Titles that change within a day: the first one tells the neighbours, in every shard."""
    lake = Lake(f"file://{tmp_path}/lake")
    fabricate.fake_vectors(lake, made.log)
    fabricate.fake_vectors(lake, made.log, fabricate.LLM, dim=96, seed=2)
    for number in range(2):
        titles = fabricate.training_frame(made.log, number).title_key.to_numpy()
        fabricate.publish(lake, made.log, number, title_key=np.random.default_rng(number).permutation(titles))
    hashes = {
        save(
            tmp_path / str(shard), train.fit(lake, DAYS[:2], settings_with(made, shard_rows=shard), None).predictor, {}
        )
        for shard in (50, 600)
    }
    assert len(hashes) == 1


def test_a_prediction_in_shards_is_that_of_all_rows(made, trained, monkeypatch):
    rows = read_day(made.lake, "training", fabricate.day(4), "a test")
    whole = trained.predictor.predict(rows, made.lake)
    monkeypatch.setattr("training.learn.artifact.get_settings", lambda: settings_with(made, shard_rows=SHARD))
    cut = trained.predictor.predict(rows, made.lake)
    assert np.allclose(cut.probability, whole.probability, atol=1e-6)
    assert cut.missing_texts == whole.missing_texts
    assert len(trained.predictor.predict(rows.slice(0, 0), made.lake).probability) == 0


def test_all_rows_of_a_day_are_predicted_before_any_is_learned(made, monkeypatch):
    done = []
    for owner, name in ((train_day, "predict"), (Trainer, "_step")):
        honest = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *arguments, name=name, honest=honest: done.append(name) or honest(*arguments)
        )
    train.fit(made.lake, DAYS[:2], settings_with(made, shard_rows=SHARD, shuffle_rows=200), None)
    steps = 3 * -(-200 // made.settings.batch_size)
    assert done == ["predict", *["_step"] * steps] * 2


def test_a_day_that_is_not_whole_is_not_learned_from(world):
    manifest = world.lake.path(f"_manifests/training/dt={DAYS[0]}.json")
    with world.lake.fs.open(manifest, "r") as file:
        text = file.read()
    with world.lake.fs.open(manifest, "w") as file:
        file.write(text.replace('"rows": 600', '"rows": 601'))
    with pytest.raises(CtrError, match=rf"read 600 rows of training of {DAYS[0]}, but the manifest says 601"):
        train.fit(world.lake, DAYS[:1], world.settings, None)


@pytest.mark.parametrize(("rows", "most"), [(1000, 1000), (10 * RUN + 7, 1000), (5 * RUN, RUN), (3, 1)])
def test_blocks_hold_each_row_once_and_no_more_than_they_may(rows, most):
    cut = blocks(rows, most, 17, DAYS[0])
    assert max(map(len, cut)) <= most
    assert torch.cat(cut).sort().values.tolist() == list(range(rows))


def test_a_block_holds_rows_of_all_parts_of_a_day():
    first, *_ = blocks(400 * RUN, 40 * RUN, 17, DAYS[0])
    assert first.min() < 100 * RUN
    assert first.max() > 300 * RUN
    assert not torch.equal(first, blocks(400 * RUN, 40 * RUN, 17, DAYS[1])[0])


@pytest.fixture(scope="module")
def first_day(made, trained) -> tuple[Rows, train_day.Texts]:
    """The rows of the first day, and their texts."""
    state = trained.predictor.state
    scan = dataset_scan.scan_dataset(made.lake, DAYS[:1], None, state.config.variant, 600)
    texts = train._texts(made.lake, state, scan, DAYS[0], "cpu")
    return rows_of_day(made.lake, DAYS[0], state, texts.table, texts.members, made.settings)[0], texts


def test_a_day_in_blocks_is_learned_once_and_in_another_order(made, trained, first_day, monkeypatch):
    state, (rows, texts), taken = trained.predictor.state, first_day, []
    honest = Rows.take
    monkeypatch.setattr(Rows, "take", lambda rows, positions: taken.append(positions) or honest(rows, positions))
    losses = set()
    for most in (250, 1000):
        taken.clear()
        torch.manual_seed(0)
        settings = settings_with(made, shuffle_rows=most)
        trainer = Trainer(build_model(state), ColdSimulation(state.standardiser, 0.1, 0.1), settings, fresh=True)
        losses.add(trainer.learn(rows, texts.lookup, DAYS[0], lambda _: None))
        assert torch.cat(taken).sort().values.tolist() == list(range(600))
    assert len(losses) == 2


def test_rows_on_disk_are_those_of_the_shards_and_leave_no_file(first_day, tmp_path):
    whole = first_day[0]
    mapped = on_disk((whole.take(torch.arange(at, at + 100)) for at in range(0, 600, 100)), tmp_path)
    for name, values in vars(whole).items():
        assert torch.equal(getattr(mapped, name), values), name
    assert not list(tmp_path.iterdir())


def test_shards_are_no_larger_than_asked_and_in_order(made):
    shards = list(read_shards(made.lake, "training", DAYS[0], "a test", SHARD, ["event_id"]))
    assert max(map(len, shards)) == SHARD
    whole = read_day(made.lake, "training", DAYS[0], "a test", ["event_id"])
    assert pa.concat_tables(shards).combine_chunks() == whole.combine_chunks()
