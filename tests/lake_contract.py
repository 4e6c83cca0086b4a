"""What publication promises on any file system; a test file with a fixture `lake` runs it as a subclass of its own."""

import pytest
from lake_day import DAY, publish_and_die, seen, stage


class PublicationContract:
    """Readers see the old day or the new one, wherever a process dies."""

    def test_a_day_is_seen_whole_and_only_when_published(self, lake):
        """The build before stays for its readers; older ones go, and nothing stays staged."""
        builds = []
        for content in ("first", "second", "third"):
            before = seen(lake)
            builds.append(stage(lake, content).build)
            assert seen(lake) == before
            lake.publish("logs", DAY)
            assert seen(lake) == content
        remaining = {name.rsplit("=", 1)[1] for name in lake.fs.ls(lake.path(f"logs/dt={DAY}"), detail=False)}
        assert remaining == set(builds[1:])
        assert lake.fs.find(lake.path("_staging")) == []
        assert lake.days("logs") == [DAY]

    @pytest.mark.parametrize("deaths", range(1, 7))
    def test_a_death_while_publishing_leaves_old_or_new(self, lake, monkeypatch, deaths):
        """The next publication finishes what the process that died had begun."""
        stage(lake, "old")
        lake.publish("logs", DAY)
        stage(lake, "new")
        if publish_and_die(lake, monkeypatch, deaths):
            assert seen(lake) in ("old", "new")
        lake.publish("logs", DAY)
        assert seen(lake) == "new"
        assert lake.staged("logs", DAY) is None
