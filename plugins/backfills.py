"""Serialises requests for backfills."""

import asyncio
from typing import Any


class BackfillsInTurn:
    """ASGI middleware: lets one request for a backfill in at a time.

    Airflow looks for an open backfill before it creates one. Of concurrent requests it would accept several, all but one without
    runs, yet open, so that they block the next backfill for minutes. One by one, it answers 409 to all but the first.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, at once or in its turn."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith("/api/v2/backfills"):
            async with self._lock:
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)
