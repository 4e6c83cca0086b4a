"""Which code produced something: kept in manifests and models."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from include.settings import PROJECT


@lru_cache
def code_version() -> str:
    """What `CTR_CODE_VERSION` says (images have no history), the short git revision of the checkout (with `+changes` if it is
    not clean), else the package's version.
    """
    if told := os.environ.get("CTR_CODE_VERSION"):
        return told
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
    """A hash of the sources that train: it tells uncommitted changes apart, and no other change from none."""
    return digest_of(path for room in ("include", "training") for path in (PROJECT / room).rglob("*.py"))


def digest_of(files: Iterable[Path]) -> str:
    """A hash of the names and contents of the project's files, in whatever order they come."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
