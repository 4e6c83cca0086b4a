"""What the values of a column look like."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from include.raw.drafting.time_formats import TimeGuess, guess_times
from include.raw.drafting.vocabulary import NULLS, UNSURE_NULLS
from include.raw.reading.values import NUMBER
from include.settings import get_settings

_NUMBER = re.compile(NUMBER)
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_GROUPED_NUMBER = re.compile(r"[+-]?\d{1,3}([, ']\d{3})+(\.\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
MOSTLY = 0.98
_OFTEN = 0.02
LABELS = {"0", "1", "true", "false", "0.0", "1.0"}
OTHER_LABELS = {
    "yes": "1", "no": "0", "y": "1", "n": "0", "t": "1", "f": "0", "-1": "0", "是": "1", "否": "0", "点击": "1", "未点击": "0",
    "click": "1", "clicked": "1", "clk": "1", "noclick": "0", "no_click": "0", "show": "0", "impression": "0", "imp": "0",
    "view": "0", "expose": "0", "exposure": "0", "pv": "0", "曝光": "0",
}  # fmt: skip


@dataclass
class Column:
    """A column of a sample, with what follows from its values; `present` are those that are neither empty nor a spelled null."""

    name: str
    values: list[str | None]
    is_list: bool = False
    typed_time: str = ""

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(value.strip() for value in self.values if value is not None)

    @cached_property
    def null_spellings(self) -> dict[str, int]:
        """The spellings of a null that stand here, with how often."""
        counts = self._counts
        found = {text: counts[text] for text in NULLS if counts[text]}
        unsure = {text: counts[text] for text in UNSURE_NULLS if counts[text]}
        others = [value for value in counts.elements() if value and value not in found and value not in unsure]
        is_numeric = bool(others) and _share(others, _NUMBER) > MOSTLY
        often = {text: count for text, count in unsure.items() if is_numeric or count > _OFTEN * len(self.values)}
        return found | (often if len(others) > 1 else {})

    @cached_property
    def unsure_nulls(self) -> dict[str, int]:
        """Spellings that may be a null, and are taken for values."""
        return {
            text: self._counts[text] for text in UNSURE_NULLS if self._counts[text] and text not in self.null_spellings
        }

    @cached_property
    def present(self) -> list[str]:
        """The values that are there, trimmed."""
        return [text for value in self.values if value and (text := value.strip()) and text not in self.null_spellings]

    @property
    def null_share(self) -> float:
        """The share of records without a value."""
        return 1 - len(self.present) / max(1, len(self.values))

    @cached_property
    def distinct(self) -> Counter[str]:
        """The values that are there, counted."""
        return Counter(self.present)

    @cached_property
    def times(self) -> TimeGuess:
        """The formats of its times."""
        return TimeGuess(share=1.0) if self.typed_time else guess_times(self.present)

    @property
    def is_time(self) -> bool:
        """Whether nearly all of it are times."""
        return bool(self.present) and self.times.share > 0.9

    @cached_property
    def is_numeric(self) -> bool:
        """Whether nearly all of it are numbers with a decimal point."""
        return bool(self.present) and _share(self.present, _NUMBER) > MOSTLY

    @cached_property
    def is_whole(self) -> bool:
        """Whether all of it are whole numbers."""
        return bool(self.present) and _share(self.present, _WHOLE) == 1

    @cached_property
    def marked_numbers(self) -> str:
        """`decimal` where its numbers have a decimal comma, `thousands:X` where groups are told apart, `either`, or nothing."""
        if not self.present or self.is_numeric:
            return ""
        comma = [text for text in self.present if _COMMA_NUMBER.fullmatch(text)]
        grouped = [text for text in self.present if _GROUPED_NUMBER.fullmatch(text)]
        plain = [text for text in self.present if _NUMBER.match(text)]
        if len({*comma} | {*grouped} | {*plain}) < MOSTLY * len(self.distinct) or not (comma or grouped):
            return ""
        if comma and len(comma) == len(grouped) and {*comma} == {*grouped}:
            return "either"
        if len(comma) > len(grouped):
            return "decimal"
        mark = next(character for character in grouped[0] if character in ", '")
        return f"thousands:{mark}"

    @cached_property
    def labels(self) -> dict[str, str] | None:
        """The values that are not 0 or 1, with what they are; None where the column is no label."""
        texts = {text.lower() for text in self.distinct}
        if not texts or len(texts) > 3:
            return None
        if texts <= LABELS:
            return {}
        if texts <= LABELS | OTHER_LABELS.keys() and not ("-1" in texts and texts & {"0"}):
            return {text: OTHER_LABELS[text.lower()] for text in sorted(self.distinct) if text.lower() in OTHER_LABELS}
        return None

    @property
    def click_share(self) -> float:
        """The share of values that mean a click."""
        meaning = {text: (self.labels or {}).get(text, text) for text in self.distinct}
        clicks = sum(self.distinct[text] for text, value in meaning.items() if value.lower() in ("1", "1.0", "true"))
        return clicks / max(1, len(self.present))

    @cached_property
    def is_sequence(self) -> bool:
        """Whether it holds sequences of entities: lists, JSON arrays, or words between separators."""
        if self.is_list:
            return True
        if not self.present:
            return False
        bracketed = sum(text[0] == "[" and text[-1] == "]" for text in self.present)
        if bracketed > MOSTLY * len(self.present):
            return True
        separators = [mark for mark in get_settings().entity_separators if mark not in ",，、"]
        return (
            sum(any(mark in text.strip("|;") for mark in separators) for text in self.present) > len(self.present) / 3
        )

    @cached_property
    def is_text(self) -> bool:
        """Whether it reads like titles: several words, or Chinese characters."""
        wordy = sum(bool(re.search(r"\S \S|[\u4e00-\u9fff]{3}", text)) for text in self.present)
        return wordy > len(self.present) / 2

    @cached_property
    def is_id_like(self) -> bool:
        """Whether its values could be ids: many, without blanks, no fractions, no times."""
        if not self.present or self.is_time or self.is_list or self.is_text:
            return False
        fractions = sum(bool(re.fullmatch(r"[+-]?\d*\.\d*[1-9]\d*", text)) for text in self.present)
        longest = max(map(len, self.distinct))
        return fractions == 0 and longest <= 128 and len(self.distinct) > min(10, len(self.present) / 3)

    @cached_property
    def is_few(self) -> bool:
        """Whether it has few values, each of them often, as scenes have."""
        number = len(self.distinct)
        return 1 <= number <= 50 and len(self.present) >= 3 * number and max(map(len, self.distinct)) <= 64


def _share(texts: list[str], pattern: re.Pattern[str]) -> float:
    return sum(bool(pattern.fullmatch(text)) for text in texts) / max(1, len(texts))


def are_whole_ids(column: Column) -> bool:
    """Return whether ids are whole numbers, perhaps with a point or padding."""
    return bool(column.distinct) and all(re.fullmatch(r"\d+(\.0*)?", text) for text in column.distinct)


def are_written_in_two_ways(column: Column) -> bool:
    """Return whether whole ids are written as `123` and `123.0`, or `007` and `7`, or all as `123.0`."""
    texts = column.distinct
    padded = any(len(text) > 1 and text[0] == "0" for text in texts)
    return any("." in text for text in texts) or (padded and len({len(text) for text in texts}) > 1)
