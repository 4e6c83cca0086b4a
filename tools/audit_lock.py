"""Checks the locked packages for known vulnerabilities with pip-audit, once a day or after the lock has changed.

    .venv/bin/python tools/audit_lock.py

A vulnerability is a failure unless tools/allowed_vulnerabilities.yaml allows it until a date that has not passed. If the
vulnerability service cannot be reached, a line says so and nothing fails: a check of the code must not need a network.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PROJECT = Path(__file__).resolve().parent.parent
ALLOWED = PROJECT / "tools" / "allowed_vulnerabilities.yaml"
CACHE = PROJECT / ".audit_cache" / "found.json"
PIP_AUDIT = Path(sys.executable).parent / "pip-audit"
MOST_SECONDS = 120
CACHE_FOR = timedelta(days=1)


class NoAnswerError(Exception):
    """The vulnerability service did not answer."""


class Vulnerability(BaseModel):
    """A known vulnerability of a locked package."""

    package: str
    version: str
    id: str
    aliases: list[str] = []
    fix_versions: list[str] = []

    def __str__(self) -> str:
        """One line: what it is, and the versions that fix it."""
        names = ", ".join([self.id, *self.aliases])
        return f"{self.package} {self.version}: {names}; fixed in {', '.join(self.fix_versions) or 'no version yet'}"


class Allowed(BaseModel):
    """A vulnerability that is known and accepted until a date, and why."""

    model_config = ConfigDict(extra="forbid")

    id: str
    package: str
    why: str = Field(min_length=20)
    until: date

    def covers(self, vulnerability: Vulnerability) -> bool:
        """Return whether this entry is about a vulnerability, by its id or an alias."""
        return self.package == vulnerability.package and self.id in (vulnerability.id, *vulnerability.aliases)


class Scan(BaseModel):
    """The service's answer for a lock, with its time."""

    lock: str
    at: datetime
    skipped: list[str]
    found: list[Vulnerability]

    def is_of(self, lock: str) -> bool:
        """Return whether the scan is of this lock, and recent enough."""
        return self.lock == _digest(lock) and datetime.now(UTC) - self.at < CACHE_FOR


def faults(found: Iterable[Vulnerability], allowed: Sequence[Allowed], today: date) -> list[str]:
    """Return why a scan fails, a line for each reason; empty where it does not."""
    wrong = [
        f"allowed until {entry.until}, which has passed: {entry.package} {entry.id} ({entry.why})"
        for entry in allowed
        if entry.until < today
    ]
    return wrong + [
        str(vulnerability) for vulnerability in found if not any(entry.covers(vulnerability) for entry in allowed)
    ]


def query(lock: str) -> Scan:
    """Return pip-audit's scan of the lines of a lock; raises `NoAnswerError`. Installs and resolves nothing."""
    lines = [line for line in lock.splitlines() if "==" in line]
    _audit(lines[:1])  # shows in a second whether the service answers, before hundreds of requests
    packages = _audit(lines)
    return Scan(
        lock=_digest(lock),
        at=datetime.now(UTC),
        skipped=[package["name"] for package in packages if "skip_reason" in package],
        found=[
            Vulnerability(package=package["name"], version=package["version"], **vulnerability)
            for package in packages
            for vulnerability in package.get("vulns", [])
        ],
    )


def _audit(lines: Sequence[str]) -> list[dict[str, Any]]:
    command = [str(PIP_AUDIT), "--requirement", "/dev/stdin", "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=MOST_SECONDS)
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer within {MOST_SECONDS} s") from None
    except ValueError:
        raise NoAnswerError((done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1][:200]) from None
    if all("skip_reason" in package for package in packages):
        raise NoAnswerError("it does not know the packages; a mirror may have no vulnerability data")
    return packages


def _digest(lock: str) -> str:
    return hashlib.sha256(lock.encode()).hexdigest()


def scan(lock: str) -> Scan:
    """Return the cached scan of this lock, or a new one."""
    if CACHE.exists() and (cached := Scan.model_validate_json(CACHE.read_text())).is_of(lock):
        return cached
    new = query(lock)
    CACHE.parent.mkdir(exist_ok=True)
    CACHE.write_text(new.model_dump_json(indent=1))
    return new


def main() -> int:
    """Print a summary and a line for each fault; return 1 if there is any, else 0."""
    allowed = TypeAdapter(list[Allowed]).validate_python(yaml.safe_load(ALLOWED.read_text()))
    found: list[Vulnerability] = []
    try:
        result = scan("".join(path.read_text() for path in sorted(PROJECT.glob("requirements*.txt"))))
    except NoAnswerError as error:
        print(f"Vulnerabilities: NOT scanned, the service did not answer ({error}).")
    else:
        found = result.found
        unknown = f", of which the service does not know {', '.join(result.skipped)}" if result.skipped else ""
        print(f"Vulnerabilities: the lock was scanned at {result.at:%Y-%m-%d %H:%M} UTC{unknown}.")
        for entry in allowed:
            if not any(entry.covers(vulnerability) for vulnerability in found):
                print(f"- no longer found, delete it from {ALLOWED.name}: {entry.package} {entry.id}")
    wrong = faults(found, allowed, datetime.now(UTC).date())
    for line in wrong:
        print(f"- {line}", file=sys.stderr)
    if wrong:
        print(
            f"Next: raise the version (`tools/lock.sh --upgrade-package NAME`), or see {ALLOWED.name}.", file=sys.stderr
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
