"""Why a raw row goes to quarantine: one declared list; `include/raw/reading/rules.py` evaluates it."""

from dataclasses import dataclass

from include.errors import InvalidInputError


@dataclass(frozen=True)
class RowRule:
    """A reason to reject a row, and what it means; `column` is the one whose value is at fault, where one is."""

    name: str
    meaning: str
    column: str | None = None


MALFORMED = "malformed_record"
NOT_OF_ENCODING = "not_of_the_encoding"
DUPLICATE = "duplicate_event"
NO_TIME = "missing_log_time"
LATE = "late_event"
ANOTHER_DAY = "timestamp_of_another_day"
OUT_OF_RANGE = "timestamp_out_of_range"
BAD_LABEL = "label_not_0_or_1"
UNKNOWN_SCENE = "unknown_scene"
UNPARSABLE_TIME = "timestamp_unparsable"
NOT_AN_INTEGER = "id_not_an_integer"
FIELD_TOO_LONG = "field_too_long"
NOT_A_NUMBER = "deep_feature_not_a_number"
NO_USER = "missing_user_id"
NO_ITEM = "missing_item_id"

ROW_RULES: tuple[RowRule, ...] = (
    RowRule(
        MALFORMED,
        "not as many fields as the header, quotes that do not close, or no JSON; no other rule is applied to it",
    ),
    RowRule(NOT_OF_ENCODING, "bytes that are not of the file's encoding; no other rule is applied to it"),
    RowRule(NO_USER, "no user"),
    RowRule(NO_ITEM, "no item"),
    RowRule(NO_TIME, "no time"),
    RowRule(BAD_LABEL, "the label is neither 0 nor 1", "label"),
    RowRule(UNKNOWN_SCENE, "not one of the scenes in the settings", "scene"),
    RowRule(UNPARSABLE_TIME, "log_time in none of the mapping's formats, or in a zone that is not known", "log_time"),
    RowRule(
        ANOTHER_DAY,
        "the impression belongs to a later day, or to one further back than the settings take late events",
        "log_time",
    ),
    RowRule(OUT_OF_RANGE, "the time is before CTR_EARLIEST_DAY, or more than a day ahead of the clock", "log_time"),
    RowRule(
        LATE,
        "the impression belongs to one of the days before, and the settings do not route it, or none so early is published",
        "log_time",
    ),
    RowRule(NOT_AN_INTEGER, "the mapping says `ids: integer`, and a user or an item is no whole number"),
    RowRule(FIELD_TOO_LONG, "a text field has more bytes than the settings allow"),
    RowRule(NOT_A_NUMBER, "a deep feature is not a finite number"),
    RowRule(DUPLICATE, "an earlier row of the day is the same event: has its id, or equals it in every column"),
)

MEANINGS = {rule.name: rule.meaning for rule in ROW_RULES}
"""What each reason in `quarantine` means."""


def refuse_unknown_reason(reason: str | None) -> None:
    """Raise `InvalidInputError` for an unknown reason to reject a row."""
    if reason is not None and reason not in MEANINGS:
        raise InvalidInputError(f"There is no reason '{reason}': expected one of {', '.join(MEANINGS)}.")
