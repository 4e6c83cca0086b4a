"""The check of rows that were rejected for their scene: which scenes they have, and how the settings accept them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.checks import Check, Measure, check_result
from include.plural import counted
from include.quality.masking import masked
from include.raw.raw_mapping import raw_mapping, scenes_line
from include.raw.row_rules import UNKNOWN_SCENE
from include.settings import get_settings

_MOST_SCENES = 10


def known_scenes(quarantine: DataFrame, rejected: int, rows_in: int) -> Check:
    """Check that no row was rejected for its scene; lists the scenes, and the line of the settings that adds them.

    `rejected` rows were, of `rows_in` raw ones.
    """
    scenes = _unknown(quarantine) if rejected else {}
    shown = {str(masked("scene", scene)): rows for scene, rows in list(scenes.items())[:_MOST_SCENES]}
    listed = ", ".join(f"{scene or 'no scene'} ({rows:,} rows, {rows / rows_in:.2%})" for scene, rows in shown.items())
    listed += " and others" if len(scenes) > _MOST_SCENES else ""
    # A scene that is hidden or cut short in samples is none to add.
    new = [scene for scene in shown if scene and scene in scenes]
    line = (
        f"; to accept them: {scenes_line(raw_mapping(), new)}, then `ctr quarantine --day DAY --replay`" if new else ""
    )
    return check_result(
        "quarantine",
        "expect_known_scenes",
        rejected == 0,
        f"only the {counted(len(get_settings().scenes), 'scene')} of the settings or the mapping",
        f"{listed}{line}" if rejected else "as expected",
        column="scene",
        severity="warning",
        failing_rows=rejected,
        measure=Measure(rejected, high=0),
    )


def _unknown(quarantine: DataFrame) -> dict[str, int]:
    """Return the rows of the most frequent scenes that the settings do not list, in that order; '' is no scene."""
    scene = F.coalesce(F.trim(F.get_json_object("raw", "$.scene")), F.lit(""))
    unknown = quarantine.where(F.array_contains("reasons", UNKNOWN_SCENE))
    counts = unknown.groupBy(scene.alias("scene")).count().orderBy(F.desc("count"), "scene")
    return {row["scene"]: row["count"] for row in counts.limit(_MOST_SCENES + 1).collect()}
