"""The champion of a running service, loaded anew in the background when another version is promoted."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from include.registry import registry
from include.registry.model_version import ModelVersion
from training.learn.artifact import Predictions
from training.learn.probe import load_verified
from training.serve.scoring import Champion
from training.text.vector_cache import Part, cached_parts

log = logging.getLogger(__name__)

RETRY_SECONDS = 300
"""A version that failed is tried again after so long: the lake may have been unavailable, but loading costs time and memory."""
OVERDUE_LOOKS = 6
"""Checks of the alias that may be missed before the champion counts as stale."""
NONE_YET = "No model version is champion. Next: run the DAG ctr_daily, or `ctr promote VERSION`."


class ChampionWatcher:
    """`current` is the version that serves, or None. A request reads it once and uses it throughout; only the loader
    replaces it."""

    def __init__(self, look_seconds: float, version: int | None = None) -> None:
        """Serve `version` whatever is champion; None serves the champion."""
        self._fixed = version
        self.current: Champion | None = None
        self._look_seconds = look_seconds
        self._error_message: str | None = "The champion is being loaded."
        self._looked_at = time.monotonic()
        self._failed: int | None = None
        self._retry_at = 0.0
        self._model_lock = threading.Lock()
        self._parts: dict[str, Part] = {}

    def predict(self, champion: Champion, rows: pa.Table) -> Predictions:
        """Return the champion's predictions of rows; one request at a time, as each uses all of torch's threads."""
        with self._model_lock, cached_parts(self._parts):
            return champion.predict(rows)

    def health(self) -> dict[str, Any]:
        """Return `status`: `ok`, `stale` (an older version serves, or the registry cannot be read) or `unavailable`,
        and `reason`, in words without paths or error messages, which the log has."""
        age = time.monotonic() - self._looked_at
        overdue = (
            f"The registry was last read {age:.0f} seconds ago." if age > OVERDUE_LOOKS * self._look_seconds else None
        )
        champion = self.current
        reason = self._error_message or overdue
        status = "unavailable" if champion is None else "stale" if reason else "ok"
        return {"status": status, "version": champion.version.version if champion else None, "reason": reason}

    @contextmanager
    def keep_fresh(self) -> Iterator[None]:
        """Run a thread inside that checks the alias at once, then every `look_seconds`."""
        stop = threading.Event()

        def run() -> None:
            self.look()
            while not stop.wait(self._look_seconds):
                self.look()

        thread = threading.Thread(target=run, name="champion", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=5)  # loading a version must not delay the stop

    def look(self) -> None:
        """Check the alias once, and load its version if another one serves; never raises."""
        try:
            version = registry.champion() if self._fixed is None else registry.get(self._fixed)
        except Exception:
            log.exception("The model registry cannot be read")
            self._error_message = "The model registry cannot be read; see the log of the service."
            return
        self._looked_at = time.monotonic()
        if version is None:
            self._error_message = NONE_YET
        elif self.current is not None and version.version == self.current.version.version:
            self._error_message = self._failed = None
        elif version.version != self._failed or time.monotonic() >= self._retry_at:
            self._load(version)

    def _load(self, version: ModelVersion) -> None:
        number = version.version
        self._error_message = f"Version {number} is being loaded."
        try:
            predictor = load_verified(number)
        except Exception as error:
            log.exception("Version %s cannot serve", number)
            self._failed = number
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._error_message = (
                f"Version {number} failed to load or to predict its probe ({type(error).__name__}); it is tried "
                f"again every {RETRY_SECONDS} seconds. See the log of the service."
            )
        else:
            self.current = Champion(version, predictor)
            self._error_message = self._failed = None
            self._looked_at = time.monotonic()
