"""A lake for readers of many days, of whom one damaged file must not take the other days."""

from datetime import date

from include.errors import DamagedFileError
from include.lake.lake import Lake, R
from include.lake.manifest import Manifest
from include.settings import get_settings
from include.stages import Stage


class LenientLake(Lake):
    """A lake in which a damaged manifest or record counts as missing; `damaged` holds the error of each such day."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.damaged: dict[date, DamagedFileError] = {}

    def manifest(self, stage: Stage, day: date) -> Manifest | None:
        """Return the published manifest of a stage's day; None also where it is damaged."""
        try:
            return super().manifest(stage, day)
        except DamagedFileError as error:
            self.damaged[day] = error
            return None

    def _record(self, kind: type[R], folder: str, day: date, version: int | None = None) -> R | None:
        try:
            return super()._record(kind, folder, day, version)
        except DamagedFileError as error:
            self.damaged[day] = error
            return None


def get_lenient_lake() -> LenientLake:
    """Return the lake of the settings for readers of many days."""
    return LenientLake(get_settings().lake_url)
