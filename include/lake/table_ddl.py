"""The columns of a table as Spark declares them, with the scenes of the settings."""

from include.settings import get_settings
from include.stages import TABLES, scene_columns


def table_ddl(table: str) -> str:
    """Return the Spark DDL of a table with the settings' scenes filled in; raises `KeyError` for an unknown table."""
    declared = TABLES[table]
    by_scene = scene_columns(get_settings().scenes) if declared.by_scene else ()
    return declared.ddl + "".join(f", {name} bigint" for name in by_scene)
