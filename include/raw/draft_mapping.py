"""A draft of a mapping for files of a log, guessed from their first records: what `ctr map` writes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.drafting.dialects import Guess, difference, guess_dialect
from include.raw.drafting.headers import is_header, names_of
from include.raw.drafting.paths import PathGuess, guess_paths
from include.raw.drafting.profiles import Column, are_whole_ids, are_written_in_two_ways
from include.raw.drafting.roles import Choice, Roles, guess_roles
from include.raw.drafting.samples import SAMPLE_RECORDS, Sample, read_sample
from include.raw.drafting.time_formats import TimeGuess
from include.raw.drafting.wording import shown_value
from include.schemas import DEEP_FEATURES

FILL_IN = "FILL IN"
"""Stands for what a person has to say; no key of a mapping takes it, so that a draft with it is refused."""


@dataclass
class Draft:
    """A mapping as far as it can be guessed, and why.

    `keys` are those of the mapping but `columns`; `undecided` names what a person must fill in; `notes` are of the whole file.
    """

    paths: list[str]
    keys: dict[str, Any]
    roles: Roles
    place: PathGuess | None
    comments: dict[str, list[str]] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: int = 0

    def scenes(self) -> list[str]:
        """Return the scenes of the sample, the most frequent first."""
        scene = self.roles.choices.get("scene", Choice(why=""))
        return list(self.keys.get("scenes", [scene.constant] if scene.constant else []))

    def settings(self) -> dict[str, Any]:
        """Return what a mapping is validated from: undecided columns are left out, so that it is refused."""
        columns: dict[str, Any] = {}
        for name, choice in self.roles.choices.items():
            if choice.source is not None:
                columns[name] = choice.source
            elif choice.constant is not None:
                columns[name] = {"constant": choice.constant}
        return {**self.keys, "columns": columns}


def draft_mapping(paths: Sequence[str]) -> Draft:
    """Return a draft for files of one log; raises `InvalidInputError` where one of them is none, or they differ in format."""
    samples = [read_sample(path) for path in paths]
    first = samples[0]
    for sample in samples[1:]:
        if sample.form != first.form:
            raise InvalidInputError(
                f"{sample.path} is {_FORMS[sample.form]}, {first.path} is {_FORMS[first.form]}: draft one mapping at a time."
            )
    draft = Draft([*paths], {}, Roles(), guess_paths([*paths]))
    _describe_files(draft, first)
    draft.keys["format"] = first.form
    columns = _of_text(draft, samples) if first.form == "csv" else _of_columns(first)
    draft.records = max((len(column.values) for column in columns), default=0)
    draft.roles = guess_roles(columns)
    by_name = {column.name: column for column in columns}
    _name_columns(draft, by_name)
    _describe_values(draft, by_name)
    _mark_undecided(draft)
    return draft


_FORMS = {"csv": "delimited text", "json": "JSON lines", "parquet": "Parquet", "orc": "ORC"}


def _describe_files(draft: Draft, first: Sample) -> None:
    if draft.place:
        draft.keys["files"] = draft.place.pattern
        draft.comments["files"] = [f"under CTR_RAW={draft.place.root}"]
    if first.form in ("csv", "json"):
        draft.keys["encoding"] = first.encoding.name or FILL_IN
        draft.comments["encoding"] = [first.encoding.why]
        if not first.encoding.name:
            draft.undecided.append("encoding")


def _of_columns(sample: Sample) -> list[Column]:
    return [
        Column(name, values, name in sample.lists, sample.typed_times.get(name, ""))
        for name, values in sample.columns.items()
    ]


def _of_text(draft: Draft, samples: list[Sample]) -> list[Column]:
    first = samples[0]
    guess = guess_dialect(first.lines, first.is_whole)
    if guess is None:
        line = next(line for line in first.lines if line.strip())
        raise InvalidInputError(
            f"{first.path}: expected several columns, found no delimiter that splits its lines into the same number of fields: "
            f"tried comma, tab, semicolon, | and ctrl-A. Its first line is {shown_value(line)}. "
            "A delimiter of several characters cannot be read: write the log with one."
        )
    _describe_dialect(draft, guess)
    records = guess.reading.records
    has_header = is_header(records)
    names = names_of(records[0]) if has_header else [f"c{number}" for number in range(1, guess.reading.width + 1)]
    draft.keys["header"] = "true" if has_header else "false"
    draft.keys["names"] = [] if has_header else names
    _compare_headers(draft, samples[1:], names if has_header else [], guess)
    body = records[1:] if has_header else records
    if not body:
        raise InvalidInputError(f"{first.path} holds a header and no record: give a file that holds some.")
    _note_line_ends(draft, first)
    return [Column(name, [record[place] for record in body[:SAMPLE_RECORDS]]) for place, name in enumerate(names)]


def _describe_dialect(draft: Draft, guess: Guess) -> None:
    dialect = guess.reading.dialect
    draft.keys |= {"delimiter": dialect.delimiter, "quote": dialect.quote, "escape": dialect.escape}
    draft.comments["quote"] = guess.why
    for key in guess.undecided:
        draft.keys[key] = FILL_IN
        draft.undecided.append(key)
    if guess.undecided:
        draft.comments[guess.undecided[0]] = [
            "the sample can be read in several ways, and nothing in it tells which was meant; choose one:",
            *difference(guess),
        ]
    if guess.reading.faults:
        draft.notes.append(f"{guess.reading.faults:,} lines of the sample are no whole record: they will be rejected.")


def _compare_headers(draft: Draft, others: list[Sample], names: list[str], guess: Guess) -> None:
    """Note files with other columns; `auto` where some files have a header and others none."""
    for sample in others:
        other = guess_dialect(sample.lines, sample.is_whole)
        if other is None or other.reading.width != guess.reading.width:
            draft.notes.append(
                f"{sample.path} has another number of columns than {draft.paths[0]}: its lines will be rejected."
            )
        elif is_header(other.reading.records) != bool(names):
            draft.keys["header"] = "auto"
            draft.keys["names"] = names or names_of(other.reading.records[0])
            draft.comments["header"] = ["some of the files have a header, others none"]
        elif names and names_of(other.reading.records[0]) != names:
            draft.notes.append(f"{sample.path} has other columns than {draft.paths[0]}, or in another order.")


def _note_line_ends(draft: Draft, sample: Sample) -> None:
    windows = sum(line.endswith("\r") for line in sample.lines)
    if windows and not all(line.endswith("\r") for line in sample.lines[:-1]):
        draft.notes.append(
            f"{windows:,} of {len(sample.lines):,} lines end in CRLF, the others in LF: a carriage return before a line's end "
            "is never taken for a part of the last value."
        )


def _name_columns(draft: Draft, columns: dict[str, Column]) -> None:
    """Name the columns of a file without a header after what they are mapped to."""
    if draft.keys.get("header") != "false":
        return
    named = {choice.source: role for role, choice in draft.roles.choices.items() if choice.source}
    draft.keys["names"] = [named.get(name, name) for name in draft.keys["names"]]
    for role, choice in draft.roles.choices.items():
        if choice.source:
            columns[role] = columns.pop(choice.source)
            choice.source = role


def _describe_values(draft: Draft, columns: dict[str, Column]) -> None:
    used = {role: columns[choice.source] for role, choice in draft.roles.choices.items() if choice.source}
    _describe_nulls(draft, [*columns.values()])
    if "log_time" in used:
        _describe_time(draft, used["log_time"])
    _describe_ids(draft, {role: used[role] for role in ("user_id", "item_id") if role in used})
    marks = {used[role].marked_numbers for role in used if role in DEEP_FEATURES} - {""}
    _describe_numbers(
        draft, marks, any(used[role].is_numeric and not used[role].is_whole for role in used if role in DEEP_FEATURES)
    )
    if "label" in used and (labels := used["label"].labels):
        draft.keys["labels"] = labels
        draft.comments["labels"] = [f"value in the file: 0 or 1; {used['label'].click_share:.1%} would be clicks"]
    scene = draft.roles.choices.get("scene")
    if scene and scene.source:
        draft.keys["scenes"] = [value for value, _ in used["scene"].distinct.most_common()]
        draft.comments["scenes"] = ["those of the sample; a row of another is rejected. CHECK that they are all"]


def _describe_ids(draft: Draft, ids: dict[str, Column]) -> None:
    whole = {role: column for role, column in ids.items() if are_whole_ids(column)}
    varied = [role for role, column in whole.items() if are_written_in_two_ways(column)]
    if not varied:
        return
    seen = f"{' and '.join(varied)}: a number is written in several ways, such as 123 and 123.0, or 007 and 7"
    if len(whole) == len(ids):
        draft.keys["ids"] = "integer"
        draft.comments["ids"] = [seen]
    else:
        draft.notes.append(
            f"{seen}; `ids: integer` would reject the other column, which holds text: write ids in one way."
        )


def _describe_nulls(draft: Draft, columns: list[Column]) -> None:
    spellings: Counter[str] = Counter()
    unsure: Counter[str] = Counter()
    for column in columns:
        spellings.update(column.null_spellings)
        unsure.update(column.unsure_nulls)
    if draft.keys.get("escape") == "\\":  # then the one that stands for null is read as such, and the other is a value
        spellings.pop("\\N", None)
    if spellings:
        draft.keys["nulls"] = list(spellings)
        draft.comments["nulls"] = [
            "seen as whole values: " + ", ".join(f"{shown_value(t)} {n:,} times" for t, n in spellings.items())
        ]
    if left := {text: count for text, count in unsure.items() if text not in spellings}:
        seen = ", ".join(f"{shown_value(text)} {count:,} times" for text, count in left.items())
        draft.comments.setdefault("nulls", []).append(f"taken for values, add them if they are nulls: {seen}")


def _describe_time(draft: Draft, column: Column) -> None:
    times: TimeGuess = column.times
    comments = draft.comments.setdefault("time", [])
    draft.keys["time"] = {"formats": times.formats or ["iso8601"], "zone": "UTC", "day_zone": ""}
    if column.typed_time:
        comments.append(f"the column holds times ({column.typed_time}) and no text: formats are not used")
    if times.swapped:
        draft.keys["time"]["formats"] = [FILL_IN]
        draft.undecided.append("time.formats")
        comments.append(f"day and month cannot be told apart: write {' or '.join([times.formats[0], *times.swapped])}")
    if times.unread:
        comments.append(f"not read as a time: {', '.join(map(shown_value, times.unread[:3]))}")
    if times.is_coarse and not column.typed_time:
        comments.append("no time has seconds: equal rows of a day are kept (`duplicates: auto`)")
    has_zone = times.has_zone or "tz=" in column.typed_time
    if has_zone:
        comments.append(
            "times carry a zone or count from 1970 in UTC: CHECK day_zone, the zone in which your days begin"
        )
    else:
        comments.append(
            "times carry no zone: CHECK zone, that of the clock that wrote them; days and hours are cut in it"
        )


def _describe_numbers(draft: Draft, marks: set[str], has_points: bool) -> None:
    if "either" in marks or ("decimal" in marks and (has_points or len(marks) > 1)):
        draft.keys["decimal"] = FILL_IN
        draft.undecided.append("decimal")
        draft.comments["decimal"] = ['numbers such as 1,234: write "," for a decimal mark, or "." with thousands: ","']
    elif "decimal" in marks:
        draft.keys |= {"decimal": ",", "thousands": "."}
        draft.comments["decimal"] = ["numbers have a decimal comma"]
    elif marks:
        draft.keys["thousands"] = sorted(marks)[0].removeprefix("thousands:")
        draft.comments["thousands"] = ["groups of thousands are set apart"]


def _mark_undecided(draft: Draft) -> None:
    for role in ("user_id", "item_id", "log_time", "label"):
        choice = draft.roles.choices.setdefault(role, Choice(why="no column was found for it"))
        if choice.is_undecided:
            draft.undecided.append(f"columns.{role}")


def mapping_of(draft: Draft) -> Mapping:
    """Return the mapping that a draft says; raises pydantic's `ValidationError` where something is undecided."""
    return Mapping.model_validate(draft.settings())
