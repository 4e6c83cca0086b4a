"""Why a raw row goes to quarantine: one declared list, evaluated in one Spark pass over the raw columns."""

from dataclasses import dataclass

from include.errors import InvalidInputError
from include.schemas import DEEP_FEATURES, RAW_TEXT_COLUMNS


@dataclass(frozen=True)
class RowRule:
    """A reason to reject a row.

    `rejects` is a SQL condition over the raw columns, `log_ts`, `malformed` and `_corrupt_record`; `{ends}` (of the day),
    `{oldest}` (the earliest time that may still come late), `{routed}` (the earliest that is routed to its own day, or the
    day's begin), `{scenes}` and `{max_field_bytes}` are filled in. `column` is the one whose value is at fault, where one is.
    """

    name: str
    rejects: str
    meaning: str
    column: str | None = None


_DEEP_SUM = " + ".join(f"coalesce({name}, 0D)" for name in DEEP_FEATURES)  # NaN or infinite as soon as one of them is

MALFORMED = "malformed_record"
DUPLICATE = "duplicate_event"
LATE = "late_event"
BAD_LABEL = "label_not_0_or_1"
UNKNOWN_SCENE = "unknown_scene"
UNPARSABLE_TIME = "timestamp_unparsable"
FIELD_TOO_LONG = "field_too_long"
NOT_A_NUMBER = "deep_feature_not_a_number"


def _blank(column: str) -> str:
    return f"coalesce(trim({column}), '') = ''"


ROW_RULES: tuple[RowRule, ...] = (
    RowRule(MALFORMED, "malformed", "not as many fields as the header; no other rule is applied to it"),
    RowRule("missing_user_id", _blank("user_id"), "no user"),
    RowRule("missing_item_id", _blank("item_id"), "no item"),
    RowRule("missing_log_time", _blank("log_time"), "no time"),
    RowRule(BAD_LABEL, "coalesce(trim(label), '') NOT IN ('0', '1')", "the label is neither 0 nor 1", "label"),
    RowRule(
        UNKNOWN_SCENE, "coalesce(trim(scene), '') NOT IN ({scenes})", "not one of the scenes in the settings", "scene"
    ),
    RowRule(
        UNPARSABLE_TIME,
        f"NOT {_blank('log_time')} AND log_ts IS NULL",
        "log_time in none of the known forms",
        "log_time",
    ),
    RowRule(
        "timestamp_of_another_day",
        "log_ts >= TIMESTAMP'{ends}' OR log_ts < TIMESTAMP'{oldest}'",
        "the impression belongs to a later day, or to one further back than the settings take late events",
        "log_time",
    ),
    RowRule(
        LATE,
        "log_ts >= TIMESTAMP'{oldest}' AND log_ts < TIMESTAMP'{routed}'",
        "the impression belongs to one of the days before, and the settings do not route it, or none so early is published",
        "log_time",
    ),
    RowRule(
        FIELD_TOO_LONG,
        f"greatest({', '.join(f'octet_length({name})' for name in RAW_TEXT_COLUMNS)}) > {{max_field_bytes}}",
        "a text field has more bytes than the settings allow",
    ),
    RowRule(
        NOT_A_NUMBER,
        f"_corrupt_record IS NOT NULL OR NOT coalesce(abs({_DEEP_SUM}) < double('infinity'), false)",
        "a deep feature is not a finite number",
    ),
)
"""Rules of one row by itself. `duplicate_event` is added afterwards: all columns equal those of an earlier row of the day."""

MEANINGS = {
    **{rule.name: rule.meaning for rule in ROW_RULES},
    DUPLICATE: "every column equals that of an earlier row of the day",
}
"""What each reason in `quarantine` means."""


def refuse_unknown_reason(reason: str | None) -> None:
    """Raise `InvalidInputError` for an unknown reason to reject a row."""
    if reason is not None and reason not in MEANINGS:
        raise InvalidInputError(f"There is no reason '{reason}': expected one of {', '.join(MEANINGS)}.")
