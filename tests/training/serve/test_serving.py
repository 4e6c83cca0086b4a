"""The scoring service: the predictions of `predict`, bit for bit, to whoever has the token; bad rows are refused."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from service_in_process import TOKEN, Service, bits
from typer.testing import CliRunner

from include.errors import InvalidInputError
from training.__main__ import cli
from training.serve import serving

pytestmark = pytest.mark.long

# Predictions


def test_probabilities_are_those_of_predict_bit_for_bit(service, champion, table):
    for part in (table, table.slice(17, 1), table.slice(100, 64)):
        response = service.predict(part.to_pylist())
        assert response.status_code == 200, response.text
        assert bits(response.json()["probability"]) == bits(champion.predict(part).probability)
        assert (response.json()["version"], response.json()["missing_texts"]) == (1, 0)


def test_columns_that_the_model_does_not_read_are_passed_over(service, world, champion, table):
    rows = [row | {"label": "?", "note": [1]} for row in table.slice(0, 5).to_pylist()]
    assert bits(service.predict(rows).json()["probability"]) == bits(champion.predict(table.slice(0, 5)).probability)


def test_no_rows_have_no_probabilities(service):
    assert service.predict([]).json()["probability"] == []


def test_requests_at_the_same_time_each_get_their_own_rows(service, champion, table):
    parts = [table.slice(start, 25) for start in range(0, 600, 25)]
    expected = [bits(champion.predict(part).probability) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(service.predict, [part.to_pylist() for part in parts * 2]))
    assert [bits(response.json()["probability"]) for response in responses] == expected * 2


def test_values_at_the_edge_never_give_nan(service, table):
    row = table.slice(0, 1).to_pylist()[0]
    numbers = [name for name in row if pa.types.is_floating(table.schema.field(name).type)]
    nulls = {name: None for name in row if name.startswith("deep_") or "_key" in name}
    rows = [row | dict.fromkeys(numbers, value) for value in (1e308, -1e308, 5e-324, 0)]
    response = service.predict([*rows, row | nulls, row | {"user_id": "", "item_id": "new"}])
    assert response.status_code == 200, response.text
    assert np.isfinite(response.json()["probability"]).all()


def test_an_output_that_is_no_number_is_an_error_and_not_nan(service, monkeypatch, table):
    class Broken:
        probability, missing_texts = np.array([np.nan]), 0

    monkeypatch.setattr(service.live, "predict", lambda *_: Broken)
    response = service.predict(table.slice(0, 1).to_pylist())
    assert (response.status_code, response.json()) == (
        500,
        {"detail": "The service failed on this request; see its log."},
    )


# Rows that cannot be predicted


@pytest.mark.parametrize(
    ("column", "value", "expected", "found"),
    [
        ("user_ctr_7d", ..., "a finite number", "no such column"),
        ("user_ctr_7d", "0.5", "a finite number", "'0.5'"),
        ("user_ctr_7d", True, "a finite number", "True"),
        ("scene_ctr_7d", None, "a finite number", "null"),
        ("deep_features_3", [1], "a finite number or null", "[1]"),
        ("user_impressions_7d", 1.5, "a 64-bit integer", "1.5"),
        ("user_impressions_7d", 2**63, "a 64-bit integer", "9223372036854775808"),
        ("hour_of_day", 2**31, "a 32-bit integer", "2147483648"),
        ("user_id", 7, "a text", "7"),
        ("user_id", "\ud800", "a text", r"'\ud800'"),
        ("scene", "9", "one of 0, 1, 2, 3, 4", "'9'"),
        ("user_level", None, "one of zero, few, warm", "null"),
        ("title_key", 1.0, "a 64-bit integer or null", "1.0"),
        ("query_entity_keys", [1, "2"], "a list of 64-bit integers or null", "[1, '2']"),
    ],
)
def test_an_invalid_value_is_reported_with_its_column_and_row(service, table, column, value, expected, found):
    rows = table.slice(0, 4).to_pylist()
    rows[2][column] = value
    if value is ...:
        del rows[2][column]
    response = service.client.post("/predict", content=json.dumps({"rows": rows}))
    assert response.status_code == 422
    assert response.json()["detail"] == {"column": column, "row": 2, "expected": expected, "found": found}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-1e999"])
def test_what_is_no_finite_number_is_refused(service, table, literal):
    rows = json.dumps({"rows": [table.slice(0, 1).to_pylist()[0] | {"user_ctr_7d": "?"}]}).replace('"?"', literal)
    response = service.client.post("/predict", content=rows)
    assert (response.status_code, response.json()["detail"]["column"]) == (422, "user_ctr_7d")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b"[]", 422), (b'{"rows": 1}', 422), (b'{"rows": [1]}', 422)],
)
def test_a_body_of_another_form_is_refused(service, body, status):
    assert service.client.post("/predict", content=body).status_code == status


# Limits


def test_more_rows_than_the_limit_are_refused(world, champion, table):
    service = Service(world, serve_max_rows=3)
    service.live.look()
    assert service.predict(table.slice(0, 3).to_pylist()).status_code == 200
    response = service.predict(table.slice(0, 4).to_pylist())
    assert (response.status_code, response.json()["detail"]) == (
        413,
        "At most 3 rows a request, found 4: send them in parts.",
    )


def test_a_body_beyond_the_limit_is_refused(world, champion):
    service = Service(world, serve_max_bytes=1000)
    service.live.look()
    assert service.client.post("/predict", content=b" " * 1000).status_code == 400
    assert service.client.post("/predict", content=b" " * 1001).status_code == 413


def test_a_body_without_a_length_is_read_only_up_to_the_limit():
    read = []

    async def receive():
        read.append(400)
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    with pytest.raises(HTTPException) as refused:
        asyncio.run(serving._body(Request({"type": "http"}, receive), 1000))
    assert refused.value.status_code == 413
    assert sum(read) == 1200


# Who may ask


def test_every_route_but_health_wants_the_token(service):
    routes = [route for route in service.app.routes if route.path != serving.OPEN_PATH]
    assert {route.path for route in routes} == {"/openapi.json", "/version", "/predict"}
    stranger = TestClient(service.app)
    for route in routes:
        for method in route.methods:
            for header in (None, "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xfc"):
                headers = {"Authorization": header.encode("latin-1")} if header else {}
                response = stranger.request(method, route.path, headers=headers)
                assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer"), (
                    method,
                    route.path,
                )
    for path in ("/docs", "/redoc", "/nothing", "/health/"):
        assert stranger.get(path).status_code == 401
        assert service.client.get(path, follow_redirects=False).status_code in (307, 404)
    assert stranger.get("/health").json() == {"status": "ok", "version": 1, "reason": None}
    assert service.client.get("/openapi.json").status_code == 200


def test_serving_does_not_start_without_a_token(home, monkeypatch):
    """The error says how to make one."""
    monkeypatch.setenv("CTR_SERVE_TOKEN", " ")
    with pytest.raises(InvalidInputError, match=re.escape("secrets.token_urlsafe(32)")):
        serving.run("127.0.0.1", 0)


def test_the_token_is_in_no_record_of_the_settings(world):
    chosen = world.settings.model_copy(update={"serve_token": "secret", "serve_max_rows": 5})
    assert "serve_token" not in chosen.model_dump()
    assert chosen.digest() == world.settings.digest()


def test_it_listens_on_this_machine_only_unless_told_otherwise(monkeypatch):
    served = []
    monkeypatch.setattr(serving, "run", lambda *arguments: served.append(arguments))
    assert CliRunner().invoke(cli, ["serve"]).exit_code == 0
    assert served == [("127.0.0.1", 8090, None)]
