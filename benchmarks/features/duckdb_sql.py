"""The SQL of logs and features of `benchmarks.features.duckdb_pipeline`, written from the meaning of the tables."""

from collections.abc import Callable
from datetime import date, timedelta

from include.schemas import DEEP_FEATURES, RAW_COLUMNS, RAW_TEXT_COLUMNS
from include.settings import get_settings

_COUNTS = "sum(impressions)::BIGINT AS impressions, sum(clicks)::BIGINT AS clicks"
_OF_ROWS = "count(*) AS impressions, sum(label)::BIGINT AS clicks"
_SEQUENCES = {
    "bill_entities": "bill_entity_seq",
    "service_entities": "service_entity_seq",
    "query_entities": "query_entity_seq",
    "item_entities": "item_entity_names",
}
_DEEP_COUNT = len(DEEP_FEATURES)

REPEATED = """
    CREATE TEMP TABLE repeated AS
    WITH firsts AS (SELECT fingerprint, min(rowid) AS first FROM raw GROUP BY ALL HAVING count(*) > 1)
    SELECT raw.rowid AS row FROM raw JOIN firsts USING (fingerprint) WHERE raw.rowid <> first;
    CREATE TEMP TABLE files AS SELECT filename, min(rowid) AS first,
        parse_path(filename)[-2] || '/' || parse_path(filename)[-1] AS source_file FROM raw GROUP BY ALL"""
"""Tables of the rows that equal an earlier one, and of the first row of each file."""
QUARANTINE = f"""
    SELECT source_file, raw.rowid - first AS source_row,
        to_json(struct_pack({", ".join(RAW_TEXT_COLUMNS)},
            {", ".join(f"{name} := number_{n}" for n, name in enumerate(DEEP_FEATURES))})) AS raw,
        list_concat(coalesce(reasons, []), CASE WHEN raw.rowid IN (SELECT row FROM repeated) THEN ['duplicate_event'] END)
            AS reasons,
        fingerprint
    FROM raw JOIN files USING (filename)
    WHERE reasons IS NOT NULL OR raw.rowid IN (SELECT row FROM repeated)"""
TOPICS = f"""
    SELECT user_id, hash(item_entities[1]) AS topic_key, {_OF_ROWS} FROM log WHERE len(item_entities) > 0 GROUP BY ALL"""
TEXTS = """
    SELECT DISTINCT hash(text) AS text_key, text, kind FROM (
        SELECT item_title AS text, 'title' AS kind FROM log WHERE item_title IS NOT NULL
        UNION ALL
        SELECT unnest(list_concat(item_entities, query_entities, service_entities, bill_entities)), 'entity' FROM log
    )"""

# Logs


def text(value: str) -> str:
    """Return a text as a literal of DuckDB's SQL."""
    return "'" + value.replace("'", "''") + "'"


def raw_table(files: list[str], day: date) -> str:
    """Return a statement that creates table `raw`: all records of a day, typed, in order, with the reasons to reject them.

    With `null_padding` a missing field is null, an empty one an empty text.
    """
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in (*RAW_COLUMNS, "beyond"))
    numbers = ", ".join(f"try_cast({name} AS DOUBLE) AS number_{n}" for n, name in enumerate(DEEP_FEATURES))
    wrong = " OR ".join(f"({name} <> '' AND number_{n} IS NULL)" for n, name in enumerate(DEEP_FEATURES))
    infinite = " + ".join(f"coalesce(number_{n}, 0)" for n in range(_DEEP_COUNT))
    scenes = ", ".join(map(text, get_settings().scenes))
    longest = f"greatest({', '.join(f'strlen({name})' for name in RAW_TEXT_COLUMNS)})"
    oldest = day - timedelta(days=get_settings().late_days)
    rules = {
        "missing_user_id": "trim(user_id) = ''",
        "missing_item_id": "trim(item_id) = ''",
        "missing_log_time": "trim(log_time) = ''",
        "label_not_0_or_1": "trim(label) NOT IN ('0', '1')",
        "unknown_scene": f"trim(scene) NOT IN ({scenes})",
        "timestamp_unparsable": "trim(log_time) <> '' AND log_ts IS NULL",
        "timestamp_of_another_day": f"log_ts::DATE > DATE '{day}' OR log_ts::DATE < DATE '{oldest}'",
        "late_event": f"log_ts::DATE >= DATE '{oldest}' AND log_ts::DATE < DATE '{day}'",
        "field_too_long": f"{longest} > {get_settings().max_field_bytes}",
        "deep_feature_not_a_number": f"{wrong} OR NOT isfinite({infinite})",
    }
    broken = ", ".join(f"CASE WHEN {rejects} THEN '{name}' END" for name, rejects in rules.items())
    good = " AND ".join(f"({rejects}) IS NOT TRUE" for rejects in rules.values())
    return f"""
        CREATE TEMP TABLE raw AS
        WITH read AS (
            FROM read_csv({files}, header = false, skip = 1, auto_detect = false, delim = ',', quote = '"', escape = '"',
                null_padding = true, nullstr = '\x01', filename = true, columns = {{{columns}}})
        ), parsed AS (
            SELECT *, {DEEP_FEATURES[-1]} IS NULL OR beyond IS NOT NULL AS malformed,
                try_strptime(trim(log_time), ['%Y-%m-%d %H:%M:%S', '%Y/%-m/%-d %-H:%M']) AS log_ts, {numbers}
            FROM read
        )
        SELECT filename, {", ".join(RAW_TEXT_COLUMNS)}, log_ts, {", ".join(f"number_{n}" for n in range(_DEEP_COUNT))},
            hash({", ".join(RAW_COLUMNS)}, beyond) AS fingerprint,
            CASE WHEN malformed THEN ['malformed_record'] WHEN {good} THEN NULL
                ELSE list_filter([{broken}], lambda reason: reason IS NOT NULL) END AS reasons
        FROM parsed"""


def _entities(raw: str) -> str:
    separators = get_settings().entity_separators
    bar, others = separators[0], separators[1:]
    parts = f"string_split(translate({raw}, '{others}', '{bar * len(others)}'), '{bar}')"
    return f"list_filter(list_transform({parts}, lambda e: trim(e)), lambda e: e <> '')"


def logs() -> str:
    """Return a query of the rows that no rule rejects."""
    return f"""
        SELECT source_file || '#' || (raw.rowid - first) AS event_id, trim(user_id) AS user_id, trim(item_id) AS item_id, log_ts,
            trim(label)::TINYINT AS label, trim(scene) AS scene,
            {", ".join(f"{_entities(raw)} AS {name}" for name, raw in _SEQUENCES.items())},
            nullif(trim(item_title), '') AS item_title,
            {", ".join(f"number_{n} AS {name}" for n, name in enumerate(DEEP_FEATURES))}
        FROM raw JOIN files USING (filename)
        WHERE reasons IS NULL AND raw.rowid NOT IN (SELECT row FROM repeated)"""


# Features


def columns_of(table: str) -> str:
    """Return the column definitions of a table that has no rows yet."""
    counts = "impressions BIGINT, clicks BIGINT"
    week = "impressions_7d BIGINT, clicks_7d BIGINT"
    pivot = "".join(
        f", {what}_7d_scene_{n} BIGINT" for n in range(len(get_settings().scenes)) for what in ("impressions", "clicks")
    )
    totals = "impressions_total BIGINT, clicks_total BIGINT, first_seen DATE, last_seen DATE, last_clicked DATE"
    return {
        "agg_user": f"user_id VARCHAR, scene VARCHAR, {counts}",
        "agg_item": f"item_id VARCHAR, scene VARCHAR, {counts}",
        "agg_user_item": f"user_id VARCHAR, item_id VARCHAR, scene VARCHAR, {counts}",
        "agg_user_topic": f"user_id VARCHAR, topic_key UBIGINT, {counts}",
        "features_user": f"user_id VARCHAR, {week}{pivot}",
        "features_item": f"item_id VARCHAR, {week}{pivot}",
        "totals_user": f"user_id VARCHAR, {totals}",
        "totals_item": f"item_id VARCHAR, {totals}",
        "features_scene": "scene VARCHAR",
        "items": "item_id VARCHAR, item_title VARCHAR, item_entities VARCHAR[], first_seen DATE, last_seen DATE",
        "logs": "user_id VARCHAR, item_id VARCHAR, scene VARCHAR, label TINYINT, item_entities VARCHAR[]",
    }[table]


def counts_of_log(*keys: str) -> str:
    """Return a query of the day's impressions and clicks by `keys`."""
    return f"SELECT {', '.join(keys)}, {_OF_ROWS} FROM log GROUP BY {', '.join(keys)}"


def summed(table: str, *keys: str) -> str:
    """Return a query of aggregates summed by `keys`."""
    return f"SELECT {', '.join(keys)}, {_COUNTS} FROM {table} GROUP BY {', '.join(keys)}"


def week_of_aggregates(entity: str) -> str:
    """Return a query of seven-day counts by key, in all and by scene, from daily aggregates."""
    pivot = _pivot(lambda what, scene: f"coalesce(sum({what}) FILTER (scene = {text(scene)}), 0)")
    return f"""
        SELECT {entity}_id, sum(impressions)::BIGINT AS impressions_7d, sum(clicks)::BIGINT AS clicks_7d, {pivot}
        FROM (SELECT {entity}_id, scene, impressions, clicks FROM agg_{entity}
            UNION ALL SELECT {entity}_id, scene, impressions, clicks FROM earlier_{entity})
        GROUP BY {entity}_id"""


def week_of_logs(entity: str, day: date) -> str:
    """Return a query of seven-day counts by key, in all and by scene, from logs."""
    own = {"impressions": "count(*)", "clicks": "sum(label)"}
    pivot = _pivot(lambda what, scene: f"coalesce({own[what]} FILTER (scene = {text(scene)}), 0)")
    return f"""
        SELECT {entity}_id, count(*) AS impressions_7d, sum(label)::BIGINT AS clicks_7d, {pivot}
        FROM logs_so_far WHERE dt > DATE '{day - timedelta(days=7)}' GROUP BY {entity}_id"""


def _pivot(value: Callable[[str, str], str]) -> str:
    return ", ".join(
        f"{value(what, scene)}::BIGINT AS {what}_7d_scene_{n}"
        for n, scene in enumerate(get_settings().scenes)
        for what in ("impressions", "clicks")
    )


def totals_of_yesterday(entity: str, day: date) -> str:
    """Return a query of counts so far: yesterday's plus today's, without keys unseen for the retention."""
    return f"""
        WITH parts AS (
            SELECT {entity}_id, impressions AS impressions_total, clicks AS clicks_total, DATE '{day}' AS first_seen,
                DATE '{day}' AS last_seen, CASE WHEN clicks > 0 THEN DATE '{day}' END AS last_clicked
            FROM agg_{entity}
            UNION ALL SELECT * EXCLUDE (dt) FROM before_{entity}
        )
        SELECT {entity}_id, sum(impressions_total)::BIGINT AS impressions_total, sum(clicks_total)::BIGINT AS clicks_total,
            min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(last_clicked) AS last_clicked
        FROM parts GROUP BY {entity}_id HAVING max(last_seen) > DATE '{day - timedelta(days=get_settings().retention_days)}'"""


def remembered(entity: str, day: date) -> str:
    """Return a query of the logs so far without the events that the retention has made a day forget.

    A key unseen for `retention_days` whole days is forgotten: only events since its last such absence count, and none while
    it is absent.
    """
    length = get_settings().retention_days
    key = f"{entity}_id"
    return f"""
        WITH seen AS (SELECT DISTINCT {key}, dt FROM logs_so_far),
        absences AS (SELECT {key}, dt, dt - lag(dt) OVER (PARTITION BY {key} ORDER BY dt) AS days FROM seen),
        known AS (
            SELECT {key}, coalesce(max(dt) FILTER (days > {length}), min(dt)) AS since
            FROM absences GROUP BY {key} HAVING DATE '{day}' - max(dt) < {length}
        )
        SELECT logs_so_far.* FROM logs_so_far JOIN known USING ({key}) WHERE dt >= since"""


def totals_of_logs(entity: str) -> str:
    """Return a query of counts so far from all logs that are remembered."""
    return f"""
        SELECT {entity}_id, count(*) AS impressions_total, sum(label)::BIGINT AS clicks_total, min(dt) AS first_seen,
            max(dt) AS last_seen, max(dt) FILTER (label = 1) AS last_clicked
        FROM remembered_{entity} GROUP BY {entity}_id"""


def scene_sums(entity: str) -> str:
    """Return a query of the arguments of `prior_strength`, a row for each scene."""
    parts = [
        f"""SELECT {n} AS position, count(*) FILTER (n > 0) AS keys, coalesce(sum(n), 0)::BIGINT AS impressions,
                coalesce(sum(x), 0)::BIGINT AS clicks, coalesce(sum(n::DOUBLE * n), 0) AS squares,
                coalesce(sum(x::DOUBLE * x / n) FILTER (n > 0), 0) AS shares
            FROM (SELECT impressions_7d_scene_{n} AS n, clicks_7d_scene_{n} AS x FROM features_{entity})"""
        for n in range(len(get_settings().scenes))
    ]
    return f"SELECT * EXCLUDE (position) FROM ({' UNION ALL '.join(parts)}) ORDER BY position"


def scene_table(rows: list[tuple[str, int, int, float, float, float, float]]) -> str:
    """Return a statement that creates table `features_scene`."""
    values = ", ".join(
        f"({text(row[0])}, {row[1]}::BIGINT, {row[2]}::BIGINT, {', '.join(f'{value!r}::DOUBLE' for value in row[3:])})"
        for row in rows
    )
    names = "scene, impressions_7d, clicks_7d, ctr_7d, prior_ctr, user_strength, item_strength"
    return f"CREATE TEMP TABLE features_scene AS SELECT * FROM (VALUES {values}) AS t({names})"


def items_of_yesterday(day: date) -> str:
    """Return a query of the title and entities of each item, yesterday's where today has none."""
    return f"""
        WITH parts AS (
            SELECT item_id, item_title, item_entities, log_ts::VARCHAR || event_id AS moment, DATE '{day}' AS first_seen,
                DATE '{day}' AS last_seen
            FROM log
            UNION ALL SELECT item_id, item_title, item_entities, '', first_seen, last_seen FROM before_items
        ),
        {_entities_of_most("moment <> ''")}
        {_latest("moment", "min(first_seen)", "max(last_seen)")}
        HAVING max(last_seen) > DATE '{day - timedelta(days=get_settings().retention_days)}'"""


def _entities_of_most(latest: str) -> str:
    """Return a common table of the entities of most impressions of each item, in the rows that come first by `latest`."""
    return f"""
        counted AS (
            SELECT item_id, item_entities, {latest} AS latest, count(*) AS rows
            FROM parts WHERE len(item_entities) > 0 GROUP BY ALL
        ),
        of_most AS (
            SELECT DISTINCT ON (item_id) item_id, item_entities AS entities FROM counted
            ORDER BY item_id, latest DESC, rows DESC, item_entities DESC
        )"""


def _latest(at: str, first: str, last: str) -> str:
    return f"""
        SELECT item_id, arg_max(item_title, {at}) FILTER (item_title IS NOT NULL) AS item_title,
            coalesce(any_value(entities), []) AS item_entities, {first} AS first_seen, {last} AS last_seen
        FROM parts LEFT JOIN of_most USING (item_id) GROUP BY item_id"""


ITEMS_OF_LOGS = f"""
    WITH parts AS (FROM remembered_item), {_entities_of_most("dt")}
    {_latest("log_ts::VARCHAR || event_id", "min(dt)", "max(dt)")}"""
