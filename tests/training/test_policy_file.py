"""The section `noise` is put into a policy file, and everything else stays as it was."""

from datetime import date
from pathlib import Path

import pytest

from include.errors import InvalidInputError
from include.settings import PROJECT
from training.gate_policy import Noise, load_policy
from training.policy_file import write_noise

TEXT = (PROJECT / "include/policies/gate.yaml").read_text()
NOISE = Noise(
    day=date(2023, 7, 17), seeds=[18, 19], rows=600, code="1e5", figures={"ece": 0.00001, "gauc of scene a: b": 0.002}
)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    return path


def test_the_section_is_appended_and_read_again(policy: Path) -> None:
    write_noise(policy, NOISE)
    assert policy.read_text().startswith(TEXT)
    assert load_policy(policy).noise == NOISE


def test_a_second_measurement_takes_the_place_of_the_first(policy: Path) -> None:
    write_noise(policy, NOISE)
    once = policy.read_text()
    write_noise(policy, NOISE.model_copy(update={"rows": 900}))
    assert policy.read_text() == once.replace("rows: 600", "rows: 900")


def test_what_stands_after_the_section_stays_with_its_comment(policy: Path) -> None:
    head, tail = TEXT.split("ece:\n")
    after = f"\n# Calibration.\nece:\n{tail}"
    policy.write_text(
        f"{head}noise:\n  day: 2023-07-01\n\n  seeds: [1, 2]\n  rows: 1\n  code: c\n  figures: {{}}\n{after}"
    )
    write_noise(policy, NOISE)
    text = policy.read_text()
    assert text.startswith(f"{head}noise:\n")
    assert text.endswith(after)
    assert "2023-07-01" not in text
    assert load_policy(policy).noise == NOISE


def test_line_ends_and_a_last_line_without_one_stay(policy: Path) -> None:
    kept = TEXT.rstrip("\n").replace("\n", "\r\n").encode()
    policy.write_bytes(kept)
    write_noise(policy, NOISE)
    assert policy.read_bytes().startswith(kept + b"\n")
    assert load_policy(policy).noise == NOISE


def test_a_file_that_would_be_no_policy_any_more_is_refused_and_left_alone(policy: Path) -> None:
    flow = load_policy(policy).model_dump_json(exclude={"noise"})
    policy.write_text(flow)
    with pytest.raises(InvalidInputError, match=r"policy\.yaml without changing other sections"):
        write_noise(policy, NOISE)
    assert policy.read_text() == flow
