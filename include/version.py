"""The version of the code, which manifests and models record."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from include.setting_groups import PROJECT


@lru_cache
def code_version() -> str:
    """Return `CTR_CODE_VERSION` if set (images have no history), else the short git revision, else the package's version.

    The revision of a checkout that is not clean ends in `+changes`.
    """
    if override := os.environ.get("CTR_CODE_VERSION"):
        return override
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        try:
            return version("ctr-daily")
        except PackageNotFoundError:
            return "unknown"


@lru_cache
def code_digest() -> str:
    """Return a hash of the sources that train, by which uncommitted changes can be told apart."""
    return digest_of(path for room in ("include", "training") for path in (PROJECT / room).rglob("*.py"))


def digest_of(files: Iterable[Path]) -> str:
    """Return a hash of the names and contents of files of the project, in any order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
