"""The champion over HTTP: `GET /health`, `GET /version`, `POST /predict`.

All but `/health` need the header `Authorization: Bearer {CTR_SERVE_TOKEN}`. Errors are returned as `{"detail": …}`,
without internals of the service.
"""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from include.errors import InvalidInputError
from include.settings import Settings, get_settings
from include.version import code_version
from training.serve.champion_watcher import ChampionWatcher
from training.serve.request_rows import MalformedRequestError, TooManyRowsError, UnfitRowsError, columns_of, read_rows
from training.serve.scoring import Champion

OPEN_PATH = "/health"
_BODY = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "items": {"type": "object"}}}}


class BearerToken:
    """Answers 401 to all requests without the token but `/health`, before they reach a route: a new route is not open
    by mistake."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request as an ASGI middleware."""
        if scope["type"] == "lifespan" or scope["path"] == OPEN_PATH or self._is_authorized(scope):
            await self._app(scope, receive, send)
            return
        response = {
            "detail": "A bearer token is needed: send the header 'Authorization: Bearer …' with the service's CTR_SERVE_TOKEN."
        }
        await JSONResponse(response, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        scheme, _, credentials = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.strip(), self._token)


def create_app(live: ChampionWatcher, token: str, chosen: Settings) -> FastAPI:
    """Return the service of a champion, which is kept up to date while the application runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with live.keep_fresh():
            yield

    app = FastAPI(title="CTR scoring", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(BearerToken, token=token)
    app.add_exception_handler(Exception, _hide_error)
    code = code_version()

    @app.get(OPEN_PATH)
    async def health() -> JSONResponse:
        """Return whether a champion serves, and whether it is the registry's; 503 while there is none."""
        response = live.health()
        return JSONResponse(response, 503 if response["status"] == "unavailable" else 200)

    @app.get("/version")
    async def version() -> dict[str, Any]:
        """Return the version that serves, and the columns that it expects with their types."""
        champion = _serving(live)
        return {
            "version": champion.version.version,
            "log_day": str(champion.version.log_day),
            "model": champion.predictor.state.config.model,
            "code": code,
            "columns": {column.name: column.type for column in columns_of(champion)},
        }

    @app.post("/predict", openapi_extra={"requestBody": {"content": {"application/json": {"schema": _BODY}}}})
    async def predict(request: Request) -> JSONResponse:
        """Return calibrated click probabilities of rows, in their order, and the version that made them."""
        champion = _serving(live)  # for all of the request, even if another version is promoted meanwhile
        body = await _body(request, chosen.serve_max_bytes)
        return await run_in_threadpool(_predicted, live, champion, body, chosen.serve_max_rows)

    return app


def run(host: str, port: int, version: int | None = None) -> None:
    """Serve the champion, or another version, until it is stopped; raises `InvalidInputError` where no token is set."""
    chosen = get_settings()
    token = chosen.serve_token.get_secret_value().strip()
    if not token:
        raise InvalidInputError(
            "CTR_SERVE_TOKEN is not set, but the service needs a token. Next: make one with\n"
            '  python -c "import secrets; print(secrets.token_urlsafe(32))"\n'
            "and put it in the environment or in settings.env of CTR_HOME."
        )
    live = ChampionWatcher(chosen.serve_reload_seconds, version)
    uvicorn.run(create_app(live, token, chosen), host=host, port=port, ws="none", server_header=False)


def _serving(live: ChampionWatcher) -> Champion:
    if live.current is None:
        raise HTTPException(503, live.health()["reason"])
    return live.current


async def _body(request: Request, most: int) -> bytes:
    """Return the body; never more than `most` bytes (and one chunk) are in memory, whatever length the header says."""
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413, f"At most {most} bytes a request: send the rows in parts.")
        parts.append(part)
    return b"".join(parts)


def _predicted(live: ChampionWatcher, champion: Champion, body: bytes, most: int) -> JSONResponse:
    try:
        rows = read_rows(body, columns_of(champion), most)
    except UnfitRowsError as error:
        raise HTTPException(422, error.fault) from None
    except TooManyRowsError as error:
        raise HTTPException(413, str(error)) from None
    except MalformedRequestError as error:
        raise HTTPException(400, str(error)) from None
    predictions = live.predict(champion, rows)
    response = {
        "version": champion.version.version,
        "probability": predictions.probability.tolist(),
        "missing_texts": predictions.missing_texts,
    }
    return JSONResponse(response)  # raises, and so answers 500, rather than writing NaN


async def _hide_error(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "The service failed on this request; see its log."}, 500)
