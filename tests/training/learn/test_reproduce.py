"""A version is reproduced from the lake, or the changes are named."""

import json

import fabricate
import pytest

from include.errors import CtrError
from include.registry import registry
from training.learn import reproduce, train

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def chain(world, promoted):
    """Two versions, the second of which continues the first."""
    fabricate.publish_empty(world.lake, world.log, -5)
    first = promoted(fabricate.day(2)).version
    return first, train.run(fabricate.day(3), world.settings).version


def test_versions_reproduce_identically_with_their_own_settings(chain, monkeypatch):
    """A version from scratch and one from a base come out the same, whatever the settings are now."""
    monkeypatch.setenv("CTR_SEED", "99")
    monkeypatch.setenv("CTR_BATCH_SIZE", "32")
    before = registry.versions()
    for version in chain:
        result = reproduce.run(version)
        assert result["identical"]
        assert result["content_hash"] == registry.get(version).content_hash
        assert result["changed_since"] == []
    assert registry.versions() == before


def test_rows_that_are_others_by_now_are_named(chain, world):
    other = fabricate.impressions(fabricate_days := 5, 500, seed=99)
    fabricate.publish(world.lake, other[other.number < fabricate_days], 2)
    with pytest.raises(CtrError, match=rf"weights.safetensors.*training rows of {fabricate.day(2)} were built again"):
        reproduce.run(chain[1])


def test_a_change_of_the_training_code_is_reported(chain):
    path = registry.download(chain[1]) / "manifests.json"
    manifests = json.loads(path.read_text())
    manifests["code"] = "elsewhere"
    path.write_text(json.dumps(manifests))
    assert reproduce.run(chain[1])["changed_since"][0].startswith("the code: elsewhere then")


def test_a_base_whose_files_were_changed_is_named(chain):
    path = registry.download(chain[0]) / "calibration.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(CtrError, match=f"continues version {chain[0]}, whose files"):
        reproduce.run(chain[1])
