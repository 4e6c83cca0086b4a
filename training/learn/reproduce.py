"""`reproduce`: trains a registered version again from the lake, by what its own files say, and compares the weights.

Nothing is registered. On a CPU the files that predictions depend on come out the same, byte for byte, as long as the lake
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
from include.settings import Settings
from include.version import code_version
from training.learn.artifact import HASHED, Predictor, content_hash, load, save
from training.learn.train import fit
from training.tables import NEEDED_FOR, only_days_before


def run(version: int) -> dict[str, Any]:
    """Trains the version again and returns what was compared.

    Raises `CtrError` that names the files that differ and what has changed since, and `MissingDataError` where a day that it
    learnt, its base, or its own files are gone.
    """
    known, folder, store = registry.get(version), registry.download(version), get_lake()
    provenance = json.loads((folder / "manifests.json").read_text())
    stored = json.loads((folder / "settings.json").read_text())
    days = [parse_day(day) for day in provenance["training"]]
    changed = _changed(store, provenance)
    with tempfile.TemporaryDirectory() as temporary, only_days_before(known.log_day):
        again = Path(temporary)
        found = save(again, fit(store, days, Settings(**stored), _base(known)).predictor, {})
        differing = [name for name in HASHED if (again / name).read_bytes() != (folder / name).read_bytes()]
    if found != known.content_hash:
        files = ", ".join(differing) or "none, so the version's own files are not those that were registered"
        since = "; ".join(changed) or "nothing that its manifests tell (packages, processor or text vectors may have)"
        raise CtrError(
            f"Version {version} of {known.log_day} was not reproduced: expected content {known.content_hash[:12]}, found "
            f"{found[:12]}. Files that differ: {files}. What has changed since: {since}."
        )
    return {
        "version": version,
        "identical": True,
        "content_hash": found,
        "days": [str(day) for day in days],
        "base_version": known.base_version,
        "changed_since": changed,
    }


def _base(version: registry.ModelVersion) -> Predictor | None:
    if version.base_version is None:
        return None
    folder, expected = registry.download(version.base_version), registry.get(version.base_version).content_hash
    if (found := content_hash(folder)) != expected:
        raise CtrError(
            f"Version {version.version} continues version {version.base_version}, whose files in {folder} are not those that "
            f"were registered: expected content {expected[:12]}, found {found[:12]}. Restore them from a backup."
        )
    return load(folder)


def _changed(store: Lake, provenance: dict[str, Any]) -> list[str]:
    """In words, what is not as it was when the version was trained."""
    rebuilt = [
        day
        for day, manifest in provenance["training"].items()
        if store.require("training", parse_day(day), NEEDED_FOR).build != manifest["build"]
    ]
    told = [f"training rows of {', '.join(rebuilt)} were built again"] if rebuilt else []
    was, now = provenance.get("code", "unknown"), code_version()
    return told + ([f"the code: {was} then, {now} now"] if was != now else [])
