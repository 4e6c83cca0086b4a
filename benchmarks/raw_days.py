"""Large raw days for measurements: AntM2C columns made by DuckDB from hashes, the same bytes for the same seed.

`ctr sample` writes days that a model can learn from; these only have the key spaces of real ones (users and items that come
and go, a long tail of items, five scenes or a multiple of it, a CTR of about 10 %) and are made at some hundred thousand rows a
second.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from include.errors import InvalidInputError
from include.raw.deliveries import day_folder
from include.schemas import RAW_COLUMNS, RAW_TEXT_COLUMNS

ROWS_PER_FILE = 500_000
USER_LIFE = 100
ITEM_LIFE = 50
"""Days after which another user or item takes a slot: 1 % of the users and 2 % of the items change every day."""
BAD_IN = 20_000
"""One in so many rows has each of the ten flaws."""
_INTENTS = 20_000
_ENTITIES = 8_000
_TOPICS = 500
_VECTORS = 50_000
_LONG_AGO = 738_000
_LENGTHS = {"query": 8, "service": 4, "bill": 5}
"""The largest number of entities of each sequence."""


@dataclass(frozen=True)
class RawDays:
    """The size and the seed of the days; about `rows / 5` users and `rows / 50` items appear on a day.

    Raises `InvalidInputError` where `scenes` is no multiple of five.
    """

    rows: int
    seed: int = 17
    bad_rows: bool = True
    rows_per_file: int = ROWS_PER_FILE
    scenes: int = 5

    def __post_init__(self) -> None:
        if self.scenes < 5 or self.scenes % 5:
            raise InvalidInputError(f"raw days have 5, 10, 15, … scenes, found {self.scenes}: give a multiple of five.")

    def write(self, root: Path, days: Iterable[date], threads: int = 2) -> None:
        """Write `{root}/date=…/part-….csv` for each day."""
        with duckdb.connect(config={"threads": threads}) as base:
            base.execute(_intents(self.seed))
            base.execute(_vectors(self.seed))
            for day in days:
                base.execute(_items(self.seed, day, self._items))
                folder = root / day_folder(day)
                folder.mkdir(parents=True, exist_ok=True)
                for part, first in enumerate(range(0, self.rows, self.rows_per_file)):
                    last = min(first + self.rows_per_file, self.rows)
                    lines = self._lines(day, first, last)
                    # One column without quotes: fields are encoded already, and a malformed line can be written.
                    base.execute(
                        f"COPY ({lines}) TO '{folder / f'part-{part:02d}.csv'}' "
                        r"(FORMAT csv, HEADER true, DELIMITER '\x01', QUOTE '', ESCAPE '')"
                    )

    @property
    def _items(self) -> int:
        return max(self.rows // 40, 10)

    def _lines(self, day: date, first: int, last: int) -> str:
        users = max(self.rows // 4, 10)
        number = day.toordinal()
        salt = f"{self.seed}, {number}"
        bad = "h5 % " + str(BAD_IN) if self.bad_rows else "10"
        fields = {
            "user_id": "CASE bad WHEN 1 THEN '' ELSE 'u' || user_no END",
            "item_id": "'i' || r.item_no",
            "log_time": _log_time(day),
            "label": "CASE bad WHEN 2 THEN '2' ELSE CASE WHEN u2 < p THEN '1' ELSE '0' END END",
            "bill_entity_seq": "bill",
            "service_entity_seq": "service",
            "query_entity_seq": "query",
            "item_entity_names": "entities",
            "item_title": "title",
            "scene": "CASE bad WHEN 6 THEN '99' ELSE scene::VARCHAR END",
        }
        assert tuple(fields) == RAW_TEXT_COLUMNS
        fields |= {"deep": "v0.third_0, v1.third_1, CASE bad WHEN 9 THEN 'none' || v2.third_2 ELSE v2.third_2 END"}
        line = f"concat_ws(',', {', '.join(fields.values())})"
        # A row that repeats the one before it takes all its values from the number of that row.
        repeats = f"(hash(n, {salt}, 'again') % {BAD_IN} = 0)::BIGINT" if self.bad_rows else "0"
        return f"""
            WITH numbered AS (SELECT n - {repeats} AS n FROM range({first}, {last}) AS t(n)),
            hashed AS (SELECT {", ".join(f"{_hash(f'n, {salt}, {k}')} AS h{k}" for k in range(7))} FROM numbered),
            drawn AS (
                SELECT *, {bad} AS bad, {_uniform("h2")} AS u2, {_scene("h3", self.scenes)} AS scene,
                    floor({users} * pow({_uniform("h0")}, 1.5))::BIGINT AS active,
                    floor(20 * (pow({(self._items + 20) / 20}, {_uniform("h1")}) - 1))::BIGINT AS item_slot
                FROM hashed
            ),
            -- Of five users that share a slot, one is present on a day.
            present AS (SELECT *, active * 5 + {_hash(f"active, {salt}")} % 5 AS slot FROM drawn),
            rows AS (
                SELECT p.*, i.*, n.*, {_generation("slot", number, USER_LIFE, 5 * users)} AS user_no,
                    0.1 * [1.6, 0.5, 1.0, 1.3, 0.6][scene % 5 + 1] * charm
                        * (0.4 + 1.2 * {_uniform(_hash("user_no, 'taste'"))}) AS p
                FROM present p
                JOIN items i ON i.item_slot = p.item_slot
                JOIN intents n ON n.intent = hash(slot) % {_INTENTS}
            )
            SELECT CASE bad WHEN 7 THEN {line} || ',more' WHEN 8 THEN regexp_extract({line}, '^[^,]*,[^,]*,[^,]*') ELSE {line}
                END AS "{",".join(RAW_COLUMNS)}"
            FROM rows r
            {" ".join(f"JOIN vectors v{n} ON v{n}.vector = (h6 >> {16 * n}) % {_VECTORS}" for n in range(3))}"""


def days_from(first: date, count: int) -> list[date]:
    """Return `count` consecutive days."""
    return [first + timedelta(days=n) for n in range(count)]


def _hash(parts: str) -> str:
    """Independent bits for each list of parts; hashed once only, lists that differ in one constant give related bits."""
    return f"hash(hash({parts}))"


def _uniform(bits: str) -> str:
    return f"(({bits} >> 11)::DOUBLE / 9007199254740992)"


def _scene(bits: str, scenes: int) -> str:
    """35, 25, 20, 12 and 8 % of the rows; each part divided equally where there are more than five scenes."""
    ends = "".join(f" WHEN {bits} % 100 < {end} THEN {scene}" for scene, end in enumerate((35, 60, 80, 92, 100)))
    return f"CASE{ends} END + 5 * ({bits} // 100 % {scenes // 5})::INTEGER"


def _generation(slot: str, day: int, life: int, slots: int) -> str:
    """Return the number of the user or item in a slot on a day: another every `life` days, at a time that differs by slot."""
    return f"({slot} + {slots} * (({day} + hash({slot}, 'life') % {life}) // {life} - {_LONG_AGO // life}))"


def _log_time(day: date) -> str:
    second = f"(({_uniform('h4')} + {_uniform('h5')}) * 43200)::BIGINT % 86400"
    midnight = f"TIMESTAMP '{day}' + to_seconds({second})"
    long, short = f"strftime({midnight}, '%Y-%m-%d %H:%M:%S')", f"strftime({midnight}, '%Y/%-m/%-d %-H:%M')"
    own = f"CASE WHEN h4 % 10 < 7 THEN {long} ELSE {short} END"
    return (
        f"CASE bad WHEN 3 THEN 'at noon' WHEN 4 THEN '{day + timedelta(days=1)} 00:00:01' "
        f"WHEN 5 THEN '{day - timedelta(days=1)} 23:59:59' ELSE {own} END"
    )


def _vectors(seed: int) -> str:
    """Create thirds of the deep features as CSV: four digits after the point; 1 % are empty, of the last three features 30 %."""
    thirds = []
    for third in range(3):
        fields = []
        for n in range(9 * third, 9 * third + 9):
            bits = f"({_hash(f'range, {seed}, {n}')} & 65535)::INTEGER"
            empty = 30 if n >= 24 else 1
            fields.append(f"CASE WHEN {bits} % 100 < {empty} THEN '' ELSE (({bits} - 32768) * 0.0001)::VARCHAR END")
        thirds.append(f"concat_ws(',', {', '.join(fields)}) AS third_{third}")
    return f"CREATE TABLE vectors AS SELECT range AS vector, {', '.join(thirds)} FROM range({_VECTORS})"


def _intents(seed: int) -> str:
    """Create sequences of entities that users have in common; one in eight is empty, separators differ."""
    return f"""
        CREATE TABLE intents AS SELECT intent, {", ".join(_sequence(kind, most) for kind, most in _LENGTHS.items())}
        FROM (SELECT range AS intent, hash(range, {seed}, 'intent') AS h FROM range({_INTENTS}))"""


def _sequence(kind: str, most: int) -> str:
    entity = f"'{kind} ' || hash(h, k, '{kind}') % {_ENTITIES}"
    names = f"list_transform(range((hash(h, '{kind}') % {most + 1})::BIGINT), lambda k: {entity})"
    joined = f"array_to_string({names}, '|')"
    return f"CASE h % 8 WHEN 0 THEN '' WHEN 1 THEN replace({joined}, '|', '、') ELSE {joined} END AS {kind}"


def _items(seed: int, day: date, items: int) -> str:
    """Return the SQL of a day's items: text as a CSV field, and how often they are clicked; one in twenty has no entities."""
    number = _generation("item_slot", day.toordinal(), ITEM_LIFE, items)
    topic = f"'topic ' || hash(item_no, k) % {_TOPICS}"
    return f"""
        CREATE OR REPLACE TABLE items AS
        SELECT item_slot, item_no,
            0.4 + 1.2 * {_uniform(_hash("h, 'charm'"))} AS charm,
            CASE h % 4
                WHEN 0 THEN '"The ""best"" of ' || h % 997 || ', no. ' || item_no || '"'
                WHEN 1 THEN '龙井茶 ' || item_no
                ELSE 'Something for ' || ['home', 'work', 'travel', 'winter'][(1 + (h >> 8) % 4)::BIGINT] || ' no. ' || item_no
            END AS title,
            CASE WHEN h % 20 = 0 THEN ''
                ELSE array_to_string(list_transform(range((1 + (h >> 20) % 4)::BIGINT), lambda k: {topic}), ';') END AS entities
        FROM (SELECT item_slot, item_no, hash(item_no, {seed}, 'item') AS h
            FROM (SELECT range AS item_slot, {number.replace("item_slot", "range")} AS item_no FROM range({items + 1})))"""
