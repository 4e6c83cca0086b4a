"""Puts the measured seed noise into a gate policy's YAML file and leaves the rest of the file, comments too, as it is."""

import re
from pathlib import Path

import yaml

from include.errors import InvalidInputError
from training.gate_policy import Noise, Policy, load_policy, parse_policy

_COMMENT = (
    "  # Standard deviation between seeds of one model, measured by `ctr gate-noise`, which replaces this section.\n"
)
_SECTION = re.compile(r"^noise[ \t]*:.*(?:\n(?:[ \t\r]*\n)*[ \t]+\S.*)*", re.MULTILINE)
"""The key, and after it every indented line."""


def write_noise(path: Path, noise: Noise) -> None:
    """Replaces the section `noise` of a policy file, or appends it.

    Raises `InvalidInputError`, and leaves the file as it was, where it is no policy or would not be one afterwards.
    """
    before = load_policy(path)
    text = _with_section(path.read_bytes().decode(), _rendered(noise))
    if _policy_in(text, path) != before.model_copy(update={"noise": noise}):
        raise InvalidInputError(
            f"The section noise cannot be put into {path} without changing other sections: write the file in block style, "
            "one `key:` a line, as include/policies/gate.yaml is."
        )
    path.write_bytes(text.encode())


def _policy_in(text: str, path: Path) -> Policy | None:
    try:
        return parse_policy(text, path)
    except InvalidInputError:
        return None


def _rendered(noise: Noise) -> str:
    key, lines = yaml.safe_dump({"noise": noise.model_dump()}, sort_keys=False, allow_unicode=True, width=1000).split(
        "\n", 1
    )
    return f"{key}\n{_COMMENT}{lines}".rstrip("\n")


def _with_section(text: str, section: str) -> str:
    replaced, count = _SECTION.subn(lambda _: section, text, count=1)
    if count:
        return replaced
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{section}\n"
