"""`reproduce`: trains a registered version again from the lake, by its own files, and compares the weights.

Nothing is registered. On a CPU the files that predictions depend on are the same, byte for byte, as long as the lake
holds the same rows, the caches the same vectors, and the code and its packages train the same way.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from include.calendar import parse_day
from include.errors import CtrError
from include.lake.lake import Lake, get_lake
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import Settings
from include.version import code_version
from training.learn.artifact import HASHED, Predictor, content_hash, load, save
from training.learn.train import fit
from training.tables import NEEDED_FOR, only_days_before


def run(version: int) -> dict[str, Any]:
    """Train the version again and return the comparison.

    Raises `CtrError` that names the files that differ and the changes since, and `MissingDataError` where a training
    day, its base, or its own files are missing.
    """
    registered = registry.get(version)
    folder = registry.download(version)
    lake = get_lake()
    provenance = json.loads((folder / "manifests.json").read_text())
    stored = json.loads((folder / "settings.json").read_text())
    days = [parse_day(day) for day in provenance["training"]]
    changed = _changed(lake, provenance)
    with tempfile.TemporaryDirectory() as temporary, only_days_before(registered.log_day):
        again = Path(temporary)
        actual = save(again, fit(lake, days, Settings(**stored), _base(registered)).predictor, {})
        differing = [name for name in HASHED if (again / name).read_bytes() != (folder / name).read_bytes()]
    if actual != registered.content_hash:
        files = ", ".join(differing) or "none, so the version's own files are not those that were registered"
        since = "; ".join(changed) or "nothing that its manifests record (packages, processor or text vectors may have)"
        raise CtrError(
            f"Version {version} of {registered.log_day} was not reproduced: expected content {registered.content_hash[:12]}, "
            f"found {actual[:12]}. Files that differ: {files}. Changes since: {since}."
        )
    return {
        "version": version,
        "identical": True,
        "content_hash": actual,
        "days": [str(day) for day in days],
        "base_version": registered.base_version,
        "changed_since": changed,
    }


def _base(version: ModelVersion) -> Predictor | None:
    if version.base_version is None:
        return None
    folder = registry.download(version.base_version)
    expected = registry.get(version.base_version).content_hash
    if (actual := content_hash(folder)) != expected:
        raise CtrError(
            f"Version {version.version} continues version {version.base_version}, whose files in {folder} are not those that "
            f"were registered: expected content {expected[:12]}, found {actual[:12]}. Next: restore them from a backup."
        )
    return load(folder)


def _changed(lake: Lake, provenance: dict[str, Any]) -> list[str]:
    """Return, in words, what has changed since the version was trained."""
    rebuilt = [
        day
        for day, manifest in provenance["training"].items()
        if lake.require("training", parse_day(day), NEEDED_FOR).build != manifest["build"]
    ]
    changes = [f"training rows of {', '.join(rebuilt)} were built again"] if rebuilt else []
    trained_with = provenance.get("code", "unknown")
    current = code_version()
    return changes + ([f"the code: {trained_with} then, {current} now"] if trained_with != current else [])
