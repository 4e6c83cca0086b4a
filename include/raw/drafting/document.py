"""A draft as a commented YAML file."""

from collections.abc import Iterator

from include.mapping.mapping import Mapping
from include.raw.draft_mapping import FILL_IN, Draft
from include.raw.drafting.roles import Choice
from include.raw.drafting.wording import flow, scalar, shown_value

_MARK = "# <<< FILL IN"
_WIDTH = 130


def draft_text(draft: Draft) -> str:
    """Return the YAML of a draft; what is undecided stands in it as a marked line that the mapping refuses."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    names = ", ".join(path.rsplit("/", 1)[-1] for path in draft.paths[:3]) + (", …" if len(draft.paths) > 3 else "")
    yield from _comment(f"Drafted by `ctr map` from the first {draft.records:,} records of {shown_value(names)[1:-1]}.")
    yield "# Look at every line; docs/raw-logs.md explains each. `ctr map --check THIS FILE…` shows what comes in."
    if draft.undecided:
        yield from _comment(f"To fill in first, as the sample does not tell: {', '.join(draft.undecided)}.")
    for note in draft.notes:
        yield from _comment(f"NOTE: {note}")
    yield from _files(draft)
    yield from _form(draft)
    yield from _columns(draft)
    yield from _time(draft)
    yield from _values(draft)


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """Yield a comment, broken at blanks."""
    line = f"{indent}#"
    for word in text.split(" "):
        if len(line) + len(word) > _WIDTH and line.strip() != "#":
            yield line
            line = f"{indent}#  "
        line += f" {word}"
    yield line


def _key(draft: Draft, name: str, value: str) -> Iterator[str]:
    """Yield a key with its comments: behind it where they are short, else above."""
    comments = draft.comments.get(name, [])
    mark = f" {_MARK}" if name in draft.undecided else ""
    if len(comments) == 1 and len(comments[0]) + len(value) + len(name) < _WIDTH - 10:
        yield f"{name}: {value}{mark} # {comments[0]}"
        return
    for comment in comments:
        yield from _comment(comment)
    yield f"{name}: {value}{mark}"


def _files(draft: Draft) -> Iterator[str]:
    if "files" in draft.keys:
        yield from _key(draft, "files", scalar(draft.keys["files"]))
    else:
        default = Mapping.model_fields["files"].default.text
        yield "# The paths given name no day. For the nightly run, say where each day's files lie under CTR_RAW;"
        yield "# `ctr import log` needs no pattern."
        yield f"# files: {scalar(default)}"


def _form(draft: Draft) -> Iterator[str]:
    yield f"format: {draft.keys['format']}"
    if "encoding" in draft.keys:
        yield from _key(draft, "encoding", scalar(draft.keys["encoding"]))
    if draft.keys["format"] != "csv":
        return
    delimiter = draft.keys["delimiter"]
    yield f"delimiter: {'tab' if delimiter == chr(9) else scalar(delimiter)}"
    yield from _key(draft, "quote", _mark_of(draft.keys["quote"]))
    yield from _key(draft, "escape", _mark_of(draft.keys["escape"]))
    yield from _key(draft, "header", f'"{draft.keys["header"]}"')
    if draft.keys["names"]:
        yield "names: # of the columns, in order"
        line = "  ["
        for name in draft.keys["names"]:
            text = scalar(name)
            if len(line) + len(text) > _WIDTH - 3:
                yield line.rstrip()
                line = "   "
            line += f"{text}, "
        yield line.removesuffix(", ") + "]"


def _mark_of(value: str) -> str:
    return {'"': "'\"'", "\\": "'\\'", "'": '"\'"'}.get(value, scalar(value))


def _columns(draft: Draft) -> Iterator[str]:
    yield "columns: # column of the raw logs: column of the file, or {constant: value}"
    for name, choice in draft.roles.choices.items():
        yield from _column(name, choice)
    if draft.roles.left_out:
        yield "  # Not mapped:"
        for name, why in draft.roles.left_out.items():
            yield from _comment(f"{shown_value(name)}: {why}", "  ")


def _column(name: str, choice: Choice) -> Iterator[str]:
    if choice.is_undecided:
        yield from _comment(choice.why, "  ")
        yield f"  # {name}: COLUMN {_MARK[2:]}: uncomment this line, and write the name of the column"
        return
    value = f"{{constant: {scalar(choice.constant)}}}" if choice.source is None else scalar(choice.source)  # type: ignore[arg-type]
    why = f"CHECK, guessed: {choice.why}" if choice.is_guess else choice.why
    line = f"  {name}: {value} # {why}"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield from _comment(why, "  ")
        yield f"  {name}: {value}"


def _time(draft: Draft) -> Iterator[str]:
    time = draft.keys.get("time", {"formats": [FILL_IN], "zone": "UTC", "day_zone": ""})
    if "columns.log_time" in draft.undecided:
        yield "# Python's codes, such as %Y-%m-%d %H:%M:%S, or iso8601, epoch_seconds, epoch_milliseconds"
    for comment in draft.comments.get("time", []):
        yield from _comment(comment)
    yield "time:"
    mark = f" {_MARK}" if time["formats"] == [FILL_IN] else ""
    yield f"  formats: {flow(time['formats'])}{mark}"
    yield f"  zone: {scalar(time['zone'])}"
    yield '  day_zone: "" # of the days and hours; empty: the same'


def _values(draft: Draft) -> Iterator[str]:
    if "nulls" in draft.keys or "nulls" in draft.comments:
        yield from _key(draft, "nulls", flow(draft.keys.get("nulls", [])))
    if "ids" in draft.keys:
        yield from _key(draft, "ids", draft.keys["ids"])
    for name in ("decimal", "thousands"):
        if name in draft.keys:
            yield from _key(draft, name, scalar(draft.keys[name]))
    if "scenes" in draft.keys:
        yield from _key(draft, "scenes", flow(draft.keys["scenes"]))
    if "labels" in draft.keys:
        pairs = ", ".join(f"{_quoted(value)}: {_quoted(label)}" for value, label in draft.keys["labels"].items())
        yield from _key(draft, "labels", f"{{{pairs}}}")
    if draft.roles.event_id:
        yield from _comment(
            f"Every record of the sample has another value in {shown_value(draft.roles.event_id)}; if it is an id of the "
            "impression, two rows with the same are one:"
        )
        yield f"# event_id: {scalar(draft.roles.event_id)}"


def _quoted(text: str) -> str:
    return scalar(text) if not text.isdigit() else f'"{text}"'
