"""Known vulnerabilities fail, allowed ones only after their day; a scan that could not be made is said, never claimed."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tools import audit_lock

HOLE = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1", "GHSA-aaaa"], "fix_versions": ["1.1"], "description": "bad"}
FAR = str(datetime.now(UTC).date() + timedelta(days=30))
PAST = str(datetime.now(UTC).date() - timedelta(days=1))


@pytest.fixture
def audit(monkeypatch, tmp_path, capsys):
    """Runs the tool on a lock of two packages, with a `pip-audit` that answers `vulns` of the first, or does something else."""
    (tmp_path / "requirements.txt").write_text("holey==1.0\nsound==2.0\n")
    allowed = tmp_path / "allowed.yaml"
    allowed.write_text("[]")
    for name, value in {"PROJECT": tmp_path, "ALLOWED": allowed, "CACHE": tmp_path / "cache" / "found.json"}.items():
        monkeypatch.setattr(audit_lock, name, value)
    monkeypatch.setattr(audit_lock, "PIP_AUDIT", tmp_path / "pip-audit")

    def run(*vulns, instead: str = "", allow: list[dict] | None = None) -> tuple[int, str]:
        if allow is not None:
            allowed.write_text(json.dumps(allow))
        answer = f"""
names = [line.strip().split("==") for line in open("/dev/stdin")]
found = {{"holey": {list(vulns)!r}}}
known = [{{"name": name, "version": version, "vulns": found.get(name, [])}} for name, version in names]
print(json.dumps({{"dependencies": known}}))
"""
        program = f"#!{sys.executable}\nimport json, sys, time\n{instead or answer}\n"
        audit_lock.PIP_AUDIT.write_text(program)
        audit_lock.PIP_AUDIT.chmod(0o755)
        status = audit_lock.main()
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_a_lock_without_known_vulnerabilities_passes(audit):
    assert audit()[0] == 0


def test_a_known_vulnerability_fails_and_says_what_mends_it(audit):
    status, output = audit(HOLE)
    assert status == 1
    assert "holey 1.0: PYSEC-2026-1, CVE-2026-1, GHSA-aaaa; fixed in 1.1" in output


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "GHSA-aaaa"])
def test_an_allowed_one_passes_under_any_of_its_names(audit, name):
    entry = {"id": name, "package": "holey", "why": "The parser is not used by this project.", "until": FAR}
    assert audit(HOLE, allow=[entry])[0] == 0


def test_an_allowance_is_for_one_package(audit):
    entry = {"id": "PYSEC-2026-1", "package": "sound", "why": "The parser is not used by this project.", "until": FAR}
    status, output = audit(HOLE, allow=[entry])
    assert status == 1
    assert "no longer found, delete it" in output


def test_an_expired_allowance_fails_even_without_the_service(audit):
    entry = {"id": "PYSEC-2026-1", "package": "holey", "why": "The parser is not used by this project.", "until": PAST}
    status, output = audit(instead="sys.exit(1)", allow=[entry])
    assert status == 1
    assert "which has passed" in output


@pytest.mark.parametrize(
    "trouble",
    [
        "sys.exit('ConnectionError: no route')",
        "time.sleep(60)",
        "print(json.dumps({'dependencies': [{'name': 'holey', 'skip_reason': 'not found'}]}))",
    ],
    ids=["unreachable", "silent", "a mirror without vulnerabilities"],
)
def test_an_unreachable_service_passes_the_lint_with_one_line(audit, monkeypatch, trouble):
    """The line says that nothing was scanned."""
    monkeypatch.setattr(audit_lock, "MOST_SECONDS", 1)
    status, output = audit(instead=trouble)
    assert status == 0
    assert output.startswith("Vulnerabilities: NOT scanned")
    assert len(output.splitlines()) == 1
    assert not audit_lock.CACHE.exists(), "the next call asks again"


def test_a_scan_serves_a_day_and_what_it_found_keeps_failing(audit, monkeypatch):
    audit(HOLE)
    status, output = audit(instead="sys.exit('asked again')")
    assert status == 1
    assert "PYSEC-2026-1" in output
    monkeypatch.setattr(audit_lock, "CACHE_FOR", timedelta(0))
    assert audit()[0] == 0, "asked again"


def test_a_changed_lock_is_scanned_anew(audit):
    audit(HOLE)
    (audit_lock.PROJECT / "requirements.txt").write_text("holey==1.1\n")
    assert audit()[0] == 0


def test_the_list_in_the_repository_is_well_formed():
    from pydantic import TypeAdapter
    from yaml import safe_load

    TypeAdapter(list[audit_lock.Allowed]).validate_python(safe_load(audit_lock.ALLOWED.read_text()))
