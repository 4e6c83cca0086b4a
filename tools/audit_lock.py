"""Looks for known vulnerabilities of the locked packages, with pip-audit; once a day, or when the lock has changed.

    .venv/bin/python tools/audit_lock.py

What is found fails, unless tools/allowed_vulnerabilities.yaml allows it until a date that has not passed. Where the service that
knows vulnerabilities cannot be reached, a line says so and nothing fails: a check of the code must not need a network.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

PROJECT = Path(__file__).resolve().parent.parent
ALLOWED = PROJECT / "tools" / "allowed_vulnerabilities.yaml"
KEPT = PROJECT / ".audit_cache" / "found.json"
_MOST_SECONDS = 120
_KEPT_FOR = timedelta(days=1)


class Vulnerability(BaseModel):
    """A known vulnerability of a locked package."""

    package: str
    version: str
    id: str
    aliases: list[str] = []
    fix_versions: list[str] = []

    def __str__(self) -> str:
        """One line: what it is, and the versions that mend it."""
        names = ", ".join([self.id, *self.aliases])
        return f"{self.package} {self.version}: {names}; fixed in {', '.join(self.fix_versions) or 'no version yet'}"


class Allowed(BaseModel):
    """A vulnerability that is known and accepted until a date, and why."""

    model_config = ConfigDict(extra="forbid")

    id: str
    package: str
    why: str = Field(min_length=20)
    until: date

    def covers(self, found: Vulnerability) -> bool:
        """Whether this is about what was found, by its id or by one of its other names."""
        return self.package == found.package and self.id in (found.id, *found.aliases)


class Scan(BaseModel):
    """What the service knew of a lock, and when."""

    lock: str
    at: datetime
    audited: int
    skipped: list[str]
    found: list[Vulnerability]

    def is_of(self, lock: str) -> bool:
        """Whether it tells of this lock, and is not too old."""
        return self.lock == lock and datetime.now(UTC) - self.at < _KEPT_FOR


def faults(found: Iterable[Vulnerability], allowed: Sequence[Allowed], today: date) -> list[str]:
    """Why a scan fails, a line for each reason; empty where it does not."""
    wrong = [
        f"allowed until {entry.until}, which has passed: {entry.package} {entry.id} ({entry.why})"
        for entry in allowed
        if entry.until < today
    ]
    return wrong + [str(each) for each in found if not any(entry.covers(each) for entry in allowed)]


def ask(files: Sequence[Path], lock: str) -> Scan | str:
    """What pip-audit finds; a string where it cannot know, and why. Installs and resolves nothing."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "10"]
    for file in files:
        command += ["--requirement", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_SECONDS)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no answer within {_MOST_SECONDS} s"
    except ValueError:
        return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:200]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:  # a mirror that has packages and no vulnerabilities answers "not found" to everything
        return f"the service knows none of the {len(packages)} packages"
    return Scan(
        lock=lock,
        at=datetime.now(UTC),
        audited=len(known),
        skipped=[package["name"] for package in packages if "skip_reason" in package],
        found=[
            Vulnerability(package=package["name"], version=package["version"], **vulnerability)
            for package in known
            for vulnerability in package["vulns"]
        ],
    )


def scan(files: Sequence[Path]) -> Scan | str:
    """The scan of these files that was kept, or a new one; a string where there is none, and why."""
    lock = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if KEPT.exists() and (kept := Scan.model_validate_json(KEPT.read_text())).is_of(lock):
        return kept
    new = ask(files, lock)
    if isinstance(new, Scan):
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(new.model_dump_json(indent=1))
    return new


def main() -> int:
    """Prints a line for each fault, or one that says what was done; 1 where anything is wrong."""
    allowed = TypeAdapter(list[Allowed]).validate_python(yaml.safe_load(ALLOWED.read_text()) or [])
    told = scan(sorted(PROJECT.glob("requirements*.txt")))
    found = told.found if isinstance(told, Scan) else []
    wrong = faults(found, allowed, datetime.now(UTC).date())
    if isinstance(told, str):
        print(f"Vulnerabilities: NOT scanned, the service cannot be asked ({told}).")
    else:
        missing = f"; the service does not know {', '.join(told.skipped)}" if told.skipped else ""
        print(f"Vulnerabilities: {told.audited} packages scanned at {told.at:%Y-%m-%d %H:%M} UTC{missing}.")
        for entry in allowed:
            if not any(entry.covers(each) for each in found):
                print(f"- no longer found, delete it from {ALLOWED.name}: {entry.package} {entry.id}")
    for line in wrong:
        print(f"- {line}", file=sys.stderr)
    if wrong:
        print(
            f"Next: raise the version (`tools/lock.sh --upgrade-package NAME`), or see {ALLOWED.name}.", file=sys.stderr
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
