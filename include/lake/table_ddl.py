"""The columns of a table as Spark declares them, with the scenes of the settings; texts as its SQL writes them."""

from collections.abc import Sequence

from include.settings import get_settings
from include.stages import TABLES, scene_columns


def sql_text(text: str) -> str:
    """Return a text as a literal of Spark's SQL, whatever it holds."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def table_ddl(table: str, scenes: Sequence[str] | None = None) -> str:
    """Return the Spark DDL of a table, by default with the scenes of the settings; raises `KeyError` for an unknown table."""
    declared = TABLES[table]
    by_scene = scene_columns(get_settings().scenes if scenes is None else scenes) if declared.by_scene else ()
    return declared.ddl + "".join(f", {name} bigint" for name in by_scene)
