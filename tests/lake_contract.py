"""What publication promises on any file system; a test file with a fixture `store` runs it as a subclass of its own."""

import pytest
from lake_day import DAY, publish_and_die, seen, stage


class PublicationContract:
    """Readers see the old day or the new one, wherever a process dies."""

    def test_a_day_is_seen_whole_and_only_when_published(self, store):
        """The build before stays for its readers; older ones go, and nothing stays staged."""
        builds = []
        for content in ("first", "second", "third"):
            before = seen(store)
            builds.append(stage(store, content).build)
            assert seen(store) == before
            store.publish("logs", DAY)
            assert seen(store) == content
        remaining = {name.rsplit("=", 1)[1] for name in store.fs.ls(store.path(f"logs/dt={DAY}"), detail=False)}
        assert remaining == set(builds[1:])
        assert store.fs.find(store.path("_staging")) == []
        assert store.days("logs") == [DAY]

    @pytest.mark.parametrize("deaths", range(1, 7))
    def test_a_death_while_publishing_leaves_old_or_new(self, store, monkeypatch, deaths):
        """The next publication finishes what the process that died had begun."""
        stage(store, "old")
        store.publish("logs", DAY)
        stage(store, "new")
        if publish_and_die(store, monkeypatch, deaths):
            assert seen(store) in ("old", "new")
        store.publish("logs", DAY)
        assert seen(store) == "new"
        assert store.staged("logs", DAY) is None
