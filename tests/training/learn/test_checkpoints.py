"""A run that was stopped goes on where it was, and nothing of its result tells."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fabricate
import pytest
import sample_records

from include.records import Train
from include.registry import registry
from include.setting_groups import PROJECT
from include.settings import Settings
from training.learn import train
from training.learn.artifact import save
from training.learn.checkpoints import TRAINER, Checkpoints
from training.learn.trainer import Trainer
from training.learn.warm_start import config_of

pytestmark = pytest.mark.long

LAST = fabricate.day(4)
STEPS = 12
"""Steps of a day, under `in_blocks`."""


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def in_blocks(world) -> Settings:
    """Settings under which a day of 600 rows is learned in three blocks of four steps."""
    return world.settings.model_copy(update={"shuffle_rows": 200})


@pytest.fixture
def simple(in_blocks) -> Settings:
    """The same for the model that is trained fastest."""
    return in_blocks.model_copy(update={"model": "dnn"})


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """A place for each step of training that is taken."""
    taken, honest = [], Trainer._step
    monkeypatch.setattr(Trainer, "_step", lambda *arguments: taken.append(1) or honest(*arguments))
    return taken


def stop_at(monkeypatch, owner: type, method: str, call: int, *, after: bool = False) -> None:
    """The call with this number of a method stops the run, before or after it has done its work."""
    honest, calls = getattr(owner, method), []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == call and not after:
            raise StoppedError
        result = honest(*arguments)
        if len(calls) == call:
            raise StoppedError
        return result

    monkeypatch.setattr(owner, method, stopping)


def folders(world) -> list[Path]:
    return sorted((world.home / "checkpoints").glob("*"))


def stopped(monkeypatch, settings: Settings, owner: type, method: str, call: int, **when: bool) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, owner, method, call, **when)
        with pytest.raises(StoppedError):
            train.run(LAST, settings)


def undisturbed(made, folder: Path, **model: str) -> Train:
    """Content hash and curve of a run that nothing stopped and that writes no checkpoint."""
    settings, days = (
        made.settings.model_copy(update={"shuffle_rows": 200, **model}),
        [fabricate.day(n) for n in range(4)],
    )
    trained = train.fit(made.lake, days, settings, None)
    digest = save(folder, trained.predictor, {})
    return sample_records.train(LAST, content_hash=digest, learning_curve=trained.curve)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> Train:
    return undisturbed(made, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole_simple(made, tmp_path_factory) -> Train:
    return undisturbed(made, tmp_path_factory.mktemp("whole"), model="dnn")


def same(first: Train, second: Train) -> bool:
    curves = [[replace(point, seconds=0) for point in record.learning_curve] for record in (first, second)]
    return first.content_hash == second.content_hash and curves[0] == curves[1]


@pytest.mark.parametrize(
    ("owner", "method", "call", "again"),
    [
        pytest.param(Trainer, "_step", 3, 4 * STEPS, id="before the first block is over"),
        pytest.param(Trainer, "_step", 6, 4 * STEPS - 4, id="in the first day"),
        pytest.param(Trainer, "_step", 2 * STEPS + 11, 2 * STEPS - 8, id="in the third day"),
        pytest.param(train.Learning, "day", 3, 2 * STEPS, id="between days"),
        pytest.param(Checkpoints, "remove", 1, 0, id="after the version was registered"),
    ],
)
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    world, in_blocks, whole, steps, monkeypatch, caplog, owner, method, call, again
):
    caplog.set_level("INFO")
    stopped(monkeypatch, in_blocks, owner, method, call)
    assert len(folders(world)) == (1 if again < 4 * STEPS else 0)
    steps.clear()
    record = train.run(LAST, in_blocks)
    assert len(steps) == again
    assert same(record, whole)
    assert [version.version for version in registry.versions()] == [record.version]
    assert not folders(world)
    assert ("resumes" in caplog.text) == (again < 4 * STEPS)


def test_a_run_stopped_again_and_again_gives_the_same_bytes(in_blocks, whole, monkeypatch):
    for _ in range(5):
        stopped(monkeypatch, in_blocks, Trainer, "_step", 8)
    assert same(train.run(LAST, in_blocks), whole)


def test_a_warm_start_goes_on_too(world, in_blocks, promoted, monkeypatch):
    fabricate.publish_empty(world.lake, world.log, -5)
    first = promoted(fabricate.day(2))
    whole = train.run(LAST, in_blocks)
    assert whole.base_version == first.version
    for call in (7, STEPS):
        stopped(monkeypatch, in_blocks, Trainer, "_step", call)
    assert same(train.run(LAST, in_blocks), whole)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_kill_while_writing_a_checkpoint_keeps_the_last_one(simple, whole_simple, steps, monkeypatch, call):
    """The calls write the second block's, the third's, then what the day left."""
    stopped(monkeypatch, simple, Checkpoints, "_write", call)
    steps.clear()
    assert same(train.run(LAST, simple), whole_simple)
    assert len(steps) == 4 * STEPS - 4 * (call - 1)


def test_a_kill_between_two_files_resumes_from_the_last_block(simple, whole_simple, steps, monkeypatch):
    """The two files are those that a finished day leaves."""
    stopped(monkeypatch, simple, Checkpoints, "_write", 3, after=True)
    steps.clear()
    assert same(train.run(LAST, simple), whole_simple)
    assert len(steps) == 4 * STEPS - 8


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a flipped bit": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "pickle": lambda path: path.write_bytes(pickle.dumps({})),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize(
    ("file", "how"),
    [*((TRAINER, how) for how in DAMAGE), ("days-2.safetensors", "a flipped bit"), ("days-2.safetensors", "gone")],
)
def test_a_damaged_checkpoint_is_told_and_not_used(simple, whole_simple, world, monkeypatch, caplog, file, how):
    stopped(monkeypatch, simple, Trainer, "_step", 2 * STEPS + 11)
    (folder,) = folders(world)
    assert sorted(path.name for path in folder.iterdir()) == ["days-2.safetensors", TRAINER]
    DAMAGE[how](folder / file)
    caplog.clear()
    assert same(train.run(LAST, simple), whole_simple)
    said = caplog.text
    assert ("cannot be used" in said) == ((file, how) != (TRAINER, "gone"))
    assert "goes on" not in said


def test_a_checkpoint_of_another_run_is_not_used(simple, world, monkeypatch, caplog):
    other = simple.model_copy(update={"seed": 5})
    stopped(monkeypatch, other, Trainer, "_step", 2 * STEPS + 11)
    (foreign,) = folders(world)
    stopped(monkeypatch, simple, train.Learning, "day", 2)
    assert len(folders(world)) == 2
    own = next(folder for folder in folders(world) if folder != foreign)
    (own / TRAINER).write_bytes((foreign / TRAINER).read_bytes())
    train.run(LAST, simple)
    assert f"belongs to the run {foreign.name}" in caplog.text
    assert not folders(world)


def test_other_data_vectors_settings_or_code_are_other_runs(world, in_blocks, monkeypatch):
    config, days = config_of(in_blocks), [fabricate.day(number) for number in range(2)]

    def folder(settings: Settings = in_blocks, count: int = 2) -> Path:
        return Checkpoints.of(world.lake, LAST, days[:count], config, None, settings).folder

    folders = {folder(), folder(count=1), folder(in_blocks.model_copy(update={"learning_rate": 0.1}))}
    fabricate.publish(world.lake, world.log, 0)
    folders.add(folder())
    fabricate.fake_vectors(world.lake, world.log[:20], seed=3)
    folders.add(folder())
    monkeypatch.setattr("training.learn.checkpoints.code_digest", lambda: "other code")
    folders.add(folder())
    assert len(folders) == 6
    assert folder() == folder()


def test_a_fit_without_checkpoints_leaves_none(world, in_blocks):
    train.fit(world.lake, [fabricate.day(0)], in_blocks, None)
    assert not folders(world)


def test_a_run_killed_by_the_system_goes_on(world, in_blocks, whole, caplog):
    """A real process and SIGKILL, as soon as there is a checkpoint."""
    command = [sys.executable, "-c", KILLED, "train", "--day", str(LAST)]
    env = {**os.environ, "CTR_BATCH_SIZE": "64", "CTR_SHUFFLE_ROWS": "200"}
    assert subprocess.run(command, env=env, cwd=PROJECT).returncode == -signal.SIGKILL
    assert len(folders(world)) == 1
    caplog.set_level("INFO")
    assert same(train.run(LAST, in_blocks), whole)
    assert "resumes after 1 days" in caplog.text


KILLED = """
import os, signal
from training.learn import checkpoints
from training.__main__ import main

honest, calls = checkpoints.Checkpoints._write, []

def killing(*given):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    honest(*given)

checkpoints.Checkpoints._write = killing
main()
"""
