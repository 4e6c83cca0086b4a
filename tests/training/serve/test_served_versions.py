"""The version that serves: the old one until a new one works."""

import asyncio
import json
import socket
import threading

import httpx
import pytest
import uvicorn
from service_in_process import AUTHORISED, LAST, TOKEN, Service, bits, promote_second, train_second

from include.registry import registry
from training.serve import champion_watcher, serving
from training.serve.champion_watcher import RETRY_SECONDS, ChampionWatcher

pytestmark = pytest.mark.long


def test_the_version_is_told_with_the_columns_that_it_expects(service, champion):
    response = service.client.get("/version").json()
    assert (response["version"], response["log_day"], response["model"]) == (1, str(LAST), "ple-alpha-llm")
    assert list(response["columns"]) == champion.columns
    assert (response["columns"]["user_id"], response["columns"]["title_key"]) == ("string", "bigint")


def test_without_a_champion_it_is_unavailable_and_says_why(world):
    service = Service(world)
    service.live.look()
    health = service.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert "ctr promote" in health.json()["reason"]
    for response in (service.predict([]), service.client.get("/version")):
        assert (response.status_code, response.json()["detail"]) == (503, health.json()["reason"])


def test_a_promoted_version_takes_over_and_a_rollback_gives_back(world, service, table):
    second = promote_second(world)
    assert service.predict(table.to_pylist()).json()["version"] == 1
    service.live.look()
    response = service.predict(table.to_pylist()).json()
    assert response["version"] == 2
    assert bits(response["probability"]) == bits(second.predict(table).probability)
    registry.rollback()
    service.live.look()
    assert service.health() == {"status": "ok", "version": 1, "reason": None}


def test_a_chosen_version_is_served_whichever_is_champion(world, service):
    promote_second(world)
    live = ChampionWatcher(60, version=1)
    live.look()
    assert live.health() == {"status": "ok", "version": 1, "reason": None}


def test_a_request_keeps_the_version_with_which_it_began(world, service, champion, table):
    promote_second(world)

    def body():
        yield b'{"rows": '
        service.live.look()
        yield json.dumps(table.slice(0, 9).to_pylist()).encode() + b"}"

    parts = body()

    async def receive():
        part = next(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    answer = call(service.app, receive)
    assert service.live.current.version.version == 2
    assert answer["version"] == 1
    assert bits(answer["probability"]) == bits(champion.predict(table.slice(0, 9)).probability)


def call(app, receive):
    """The JSON that an application answers to a request whose body comes in parts."""
    sent = []

    async def send(message):
        sent.append(message)

    header = [(b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": header, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    return json.loads(b"".join(message.get("body", b"") for message in sent))


def test_a_broken_version_leaves_the_old_one_serving(world, service, champion, table, monkeypatch):
    """The health endpoint says so, and the new version is tried again after a while."""
    version = train_second(world)
    path = registry.download(version) / "calibration.json"
    whole = path.read_text()
    path.write_text(whole.replace('"offset": ', '"offset": 1'))
    registry.promote(version, reason="test", by="test")
    service.live.look()
    health = service.client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["version"]) == (200, "stale", 1)
    assert "Version 2 failed to load" in health.json()["reason"]
    assert str(world.home) not in health.text
    response = service.predict(table.to_pylist()).json()
    assert (response["version"], bits(response["probability"])) == (1, bits(champion.predict(table).probability))
    path.write_text(whole)
    service.live.look()
    assert service.health()["status"] == "stale"  # not tried again at once
    monkeypatch.setattr(service.live, "_retry_at", service.live._retry_at - RETRY_SECONDS)
    service.live.look()
    assert service.health() == {"status": "ok", "version": 2, "reason": None}


def test_an_unreadable_registry_leaves_the_champion_serving(service, monkeypatch):
    def fail():
        raise OSError("/secret/path")

    monkeypatch.setattr(registry, "champion", fail)
    service.live.look()
    assert service.health()["status"] == "stale"
    assert "secret" not in service.health()["reason"]


def test_loading_does_not_hold_up_requests(world, service, table, monkeypatch):
    promote_second(world)
    started, may_end = threading.Event(), threading.Event()
    load = champion_watcher.load_verified

    def slowly(version):
        started.set()
        assert may_end.wait(60)
        return load(version)

    monkeypatch.setattr(champion_watcher, "load_verified", slowly)
    loader = threading.Thread(target=service.live.look)
    loader.start()
    assert started.wait(60)
    assert service.predict(table.slice(0, 1).to_pylist()).json()["version"] == 1
    assert service.health() == {"status": "stale", "version": 1, "reason": "Version 2 is being loaded."}
    may_end.set()
    loader.join()
    assert service.health()["version"] == 2


def test_a_real_server_takes_up_a_promotion_by_itself(world, champion, table):
    chosen = world.settings.model_copy(update={"serve_reload_seconds": 0.05})
    app = serving.create_app(ChampionWatcher(chosen.serve_reload_seconds), TOKEN, chosen)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, ws="none", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", headers=AUTHORISED) as client:
                wait_for(client, {"status": "ok", "version": 1, "reason": None})
                response = client.post("/predict", json={"rows": table.to_pylist()}).json()
                assert bits(response["probability"]) == bits(champion.predict(table).probability)
                promote_second(world)
                wait_for(client, {"status": "ok", "version": 2, "reason": None})
        finally:
            server.should_exit = True
            thread.join()


def wait_for(client, health):
    """Asks until the service is in this state; pytest's timeout ends a wait in vain."""
    while client.get("/health", timeout=60).json() != health:
        pass
