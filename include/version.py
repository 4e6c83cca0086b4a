"""Which code produced something: kept in manifests and models."""

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from include.settings import PROJECT


@lru_cache
def code_version() -> str:
    """The short git revision of the checkout (with `+changes` if it is not clean), else the package's version."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        try:
            return version("ctr-daily")
        except PackageNotFoundError:
            return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
