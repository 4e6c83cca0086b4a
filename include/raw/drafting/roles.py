"""Which column of a log is which of the raw logs: by its name, else by its values; undecided where neither tells."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from include.raw.drafting.profiles import Column
from include.raw.drafting.vocabulary import AFTER_THE_CLICK, NAMES, name_score
from include.raw.drafting.wording import shown_value, shown_values
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, OPTIONAL_RAW_COLUMNS, RAW_COLUMNS

_MOST_CANDIDATES = 8


@dataclass
class Choice:
    """What a raw column is mapped to: a column of the file, or else a constant; neither where it is undecided.

    `is_guess` says that the values decided, so that a person should look.
    """

    source: str | None = None
    constant: str | None = None
    why: str = ""
    is_guess: bool = False

    @property
    def is_undecided(self) -> bool:
        """Whether a person has to say."""
        return self.source is None and self.constant is None


@dataclass
class Roles:
    """The choices by raw column, in their order, and why each other column of the file is left out."""

    choices: dict[str, Choice] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    event_id: str = ""

    def source_of(self, role: str) -> str | None:
        """Return the column of the file that has a role."""
        choice = self.choices.get(role)
        return choice.source if choice else None


Test = Callable[[Column], bool]
_FITS: dict[str, Test] = {
    "log_time": lambda column: column.is_time,
    "label": lambda column: column.labels is not None and not column.is_list,
    "user_id": lambda column: bool(column.present) and not column.is_list,
    "item_id": lambda column: bool(column.present) and not column.is_list,
    "scene": lambda column: (
        bool(column.present) and not column.is_list and len(column.distinct) <= max(50, len(column.present) / 20)
    ),
    "item_title": lambda column: bool(column.present) and not column.is_list and not column.is_time,
    **dict.fromkeys(ENTITY_COLUMNS, lambda column: bool(column.present) and not column.is_time),
}
"""What the values of a column must be that its name proposes for a role."""


def guess_roles(columns: list[Column]) -> Roles:
    """Return which columns have which role."""
    roles = Roles()
    free = {column.name: column for column in columns if column.name or column.present}
    _leave_out(free, roles)
    _by_name(free, roles)
    _by_values(free, roles, {column.name: column for column in columns})
    roles.choices = {name: roles.choices[name] for name in RAW_COLUMNS if name in roles.choices}
    return roles


def _leave_out(free: dict[str, Column], roles: Roles) -> None:
    for name, column in list(free.items()):
        why = ""
        if not column.present:
            why = "it holds no values"
            role = max(OPTIONAL_RAW_COLUMNS, key=lambda role: name_score(role, name) if role in NAMES else role == name)
            if name and role not in roles.choices and (name_score(role, name) if role in NAMES else role == name):
                roles.choices[role] = Choice(name, why="no values in the sample")
                del free[name]
                continue
        elif not name or (normal_index(name) and column.present == [str(n) for n in range(len(column.present))]):
            why = "the row numbers of a data frame"
        if why:
            roles.left_out[name] = why
            del free[name]


def normal_index(name: str) -> bool:
    """Return whether a column is called as pandas calls a data frame's index."""
    return name in ("index", "level_0") or name.startswith("Unnamed: ")


def _by_name(free: dict[str, Column], roles: Roles) -> None:
    """Give roles to the columns whose names say so and whose values fit, the surest first."""
    scores = [
        (name_score(role, name), role, name) for name in free for role in (*_FITS, "event_id") if name_score(role, name)
    ]
    misfits: dict[str, str] = {}
    for _, role, name in sorted(scores, key=lambda score: -score[0]):
        if name not in free or role in roles.choices or (role == "event_id" and roles.event_id):
            continue
        column = free[name]
        if role == "event_id":
            if len(column.distinct) == len(column.values):
                roles.event_id = name
            continue
        if not _FITS[role](column):
            misfits.setdefault(role, f"'{name}' is called so, but holds {shown_values(list(column.distinct))}")
            continue
        roles.choices[role] = Choice(name, why=_seen(column))
        del free[name]
    for role, why in misfits.items():
        roles.choices.setdefault(role, Choice(why=why))


def _by_values(free: dict[str, Column], roles: Roles, by_name: dict[str, Column]) -> None:
    for role, find in (("log_time", _find_time), ("label", _find_label)):
        if role not in roles.choices or roles.choices[role].is_undecided:
            _settle(role, find(list(free.values())), free, roles)
    _find_ids(free, roles)
    if any(roles.choices[role].is_undecided for role in _PREFIXES):
        for column in [column for column in free.values() if column.is_id_like]:
            roles.left_out[column.name] = f"ids, perhaps those to fill in above; {_seen(column)}"
            del free[column.name]
    if roles.choices.get("scene", Choice()).is_undecided:
        scenes = [column for column in free.values() if _may_be_scene(column)]
        if len(scenes) == 1 and len(scenes[0].distinct) > 1:
            _settle("scene", (scenes, scenes[0], "few values, each of them often"), free, roles)
        else:
            others = f"; it could be {_names(scenes)}" if scenes else ""
            roles.choices["scene"] = Choice(
                constant="0", why=f"no column is one for sure: all rows are one scene{others}", is_guess=True
            )
    if roles.choices.get("item_title", Choice()).is_undecided:
        roles.choices.pop("item_title", None)
        texts = [
            column for column in free.values() if column.is_text and not column.is_sequence and len(column.distinct) > 3
        ]
        if len(texts) == 1:
            _settle("item_title", (texts, texts[0], "text of several words"), free, roles)
    _find_sequences(free, roles, by_name.get(roles.source_of("item_id") or ""))
    _find_features(free, roles)


Found = tuple[list[Column], Column | None, str]


def _settle(role: str, found: Found, free: dict[str, Column], roles: Roles) -> None:
    candidates, chosen, why = found
    if chosen is None:
        before = roles.choices.get(role, Choice()).why
        roles.choices[role] = Choice(why="; ".join(filter(None, [before, why])))
        return
    others = [column for column in candidates if column is not chosen]
    also = f"; it could also be {_names(others)}" if others else ""
    roles.choices[role] = Choice(chosen.name, why=f"{why}; {_seen(chosen)}{also}", is_guess=True)
    del free[chosen.name]


def _find_time(columns: list[Column]) -> Found:
    times = [column for column in columns if column.is_time]
    precise = [column for column in times if not column.times.is_coarse] or times
    if len(precise) == 1:
        return times, precise[0], "its values are times"
    why = (
        f"it could be {_names(times)}: choose the time of the impression"
        if times
        else "no column holds times that are recognised"
    )
    return times, None, why


def _find_label(columns: list[Column]) -> Found:
    labels = sorted((c for c in columns if c.labels is not None and len(c.distinct) > 1), key=lambda c: c.click_share)
    likely = [column for column in labels if column.click_share < 0.35]
    if len(likely) == 1 or (len(labels) == 1 and labels[0].click_share < 0.5):
        chosen = (likely or labels)[0]
        return labels, chosen, f"two values, of which {chosen.click_share:.1%} would be clicks"
    if labels:
        shares = ", ".join(f"{c.name} ({c.click_share:.1%} would be clicks)" for c in labels[:_MOST_CANDIDATES])
        return labels, None, f"it could be {shares}"
    return labels, None, "no column has two values such as 0 and 1, or true and false"


_PREFIXES = {
    "user_id": re.compile(r"u(ser)?[-_:]?\d", re.I),
    "item_id": re.compile(r"(i(tem)?|sku|p|prod(uct)?|n|ad)[-_:]?\d", re.I),
}


def _find_ids(free: dict[str, Column], roles: Roles) -> None:
    open_ = [role for role in _PREFIXES if roles.choices.get(role, Choice()).is_undecided]
    candidates = [column for column in free.values() if column.is_id_like]
    for role in open_:
        alike = [
            c for c in candidates if sum(bool(_PREFIXES[role].match(t)) for t in c.distinct) > 0.9 * len(c.distinct)
        ]
        if len(alike) == 1:
            _settle(role, (candidates, alike[0], "ids that begin as those do"), free, roles)
            candidates.remove(alike[0])
        else:
            kind = "user" if role == "user_id" else "item"
            seen = "; ".join(f"{c.name} ({shown_values(list(c.distinct), 2)})" for c in candidates[:_MOST_CANDIDATES])
            why = f"which column is the {kind}? {f'It could be {seen}' if seen else 'None looks like ids'}"
            _settle(role, (candidates, None, why), free, roles)


def _find_sequences(free: dict[str, Column], roles: Roles, items: Column | None) -> None:
    names = ["item_entity_names", "service_entity_seq", "query_entity_seq", "bill_entity_seq"]
    for name in names:
        if roles.choices.get(name, Choice()).is_undecided:
            roles.choices.pop(name, None)
    for column in [column for column in free.values() if column.is_sequence]:
        open_ = [name for name in names if name not in roles.choices]
        if _OF_A_USER.search(column.name) or (items is not None and not _is_of(column, items)):
            open_ = [name for name in open_ if name != names[0]]
        if not open_:
            roles.left_out[column.name] = "a sequence, but the four columns of sequences are taken"
        else:
            roles.choices[open_[0]] = Choice(column.name, why=f"a sequence; {_seen(column)}", is_guess=True)
        del free[column.name]


def _is_of(column: Column, items: Column) -> bool:
    """Return whether a column has one value for each item: then it describes the item, and not the user."""
    pairs = {(item, value) for item, value in zip(items.values, column.values, strict=True) if item and value}
    return len(pairs) <= 1.1 * len({item for item, _ in pairs})


_OF_A_USER = re.compile(r"user|member|profile|hist|recent|用户", re.IGNORECASE)
_ID_NAME = re.compile(r"(?:id|no|code|key|编号)$", re.IGNORECASE)


def _are_ids(column: Column) -> bool:
    """Return whether whole numbers are called ids, hardly repeat, or have no name and many digits."""
    if not column.is_whole:
        return False
    hardly_repeat = len(column.distinct) > max(100, len(column.present) * 0.9)
    nameless = re.fullmatch(r"c\d+", column.name) and column.is_id_like and max(map(len, column.distinct)) > 4
    return bool(_ID_NAME.search(column.name) or hardly_repeat or nameless)


def _find_features(free: dict[str, Column], roles: Roles) -> None:
    names = iter(DEEP_FEATURES)
    for column in free.values():
        number = column.is_numeric or bool(column.marked_numbers)
        if column.name == roles.event_id:
            roles.left_out[column.name] = "the id of an event"
        elif number and AFTER_THE_CLICK.search(column.name):
            roles.left_out[column.name] = "by its name it may be known only after the click: it would tell the label"
        elif not number or column.is_time:
            what = "times" if column.is_time else "neither numbers nor known by its name"
            roles.left_out[column.name] = f"{what}; {_seen(column)}"
        elif len(column.distinct) == 1:
            roles.left_out[column.name] = f"always {shown_value(column.present[0])}"
        elif _are_ids(column):
            roles.left_out[column.name] = f"whole numbers that look like ids; {_seen(column)}"
        elif name := next(names, None):
            roles.choices[name] = Choice(column.name, why=f"numbers; {_seen(column)}")
        else:
            roles.left_out[column.name] = "numbers, but the 27 deep features are taken"


def _may_be_scene(column: Column) -> bool:
    is_fraction = column.is_numeric and not column.is_whole
    return column.is_few and not (column.is_sequence or column.is_text or column.is_time or is_fraction)


def _names(columns: list[Column]) -> str:
    return ", ".join(column.name for column in columns[:_MOST_CANDIDATES])


def _seen(column: Column) -> str:
    examples = shown_values([text for text, _ in column.distinct.most_common(3)], 3)
    empty = f", {column.null_share:.1%} null" if column.null_share else ""
    return f"{len(column.distinct):,} values such as {examples}{empty}"
