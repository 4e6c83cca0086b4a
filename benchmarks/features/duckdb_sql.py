"""The SQL of `benchmarks.features.duckdb_pipeline`, written from what the tables mean, not from the Spark jobs."""

from collections.abc import Callable
from datetime import date, timedelta

from include.features import NEVER
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
_MANY = len(DEEP_FEATURES)


# Logs


def raw_table(files: list[str], day: date) -> str:
    """Table `raw`: all records of a day in the order of files and rows, typed, with the reasons to reject them.

    With `null_padding` a field that is not there is null, while an empty one is an empty text.
    """
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in (*RAW_COLUMNS, "beyond"))
    numbers = ", ".join(f"try_cast({name} AS DOUBLE) AS number_{n}" for n, name in enumerate(DEEP_FEATURES))
    wrong = " OR ".join(f"({name} <> '' AND number_{n} IS NULL)" for n, name in enumerate(DEEP_FEATURES))
    infinite = " + ".join(f"coalesce(number_{n}, 0)" for n in range(_MANY))
    scenes = ", ".join(f"'{scene}'" for scene in get_settings().scenes)
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
        SELECT filename, {", ".join(RAW_TEXT_COLUMNS)}, log_ts, {", ".join(f"number_{n}" for n in range(_MANY))},
            hash({", ".join(RAW_COLUMNS)}, beyond) AS fingerprint,
            CASE WHEN malformed THEN ['malformed_record'] WHEN {good} THEN NULL
                ELSE list_filter([{broken}], lambda reason: reason IS NOT NULL) END AS reasons
        FROM parsed"""


REPEATED = """
    CREATE TEMP TABLE repeated AS
    WITH firsts AS (SELECT fingerprint, min(rowid) AS first FROM raw GROUP BY ALL HAVING count(*) > 1)
    SELECT raw.rowid AS row FROM raw JOIN firsts USING (fingerprint) WHERE raw.rowid <> first;
    CREATE TEMP TABLE files AS SELECT filename, min(rowid) AS first,
        parse_path(filename)[-2] || '/' || parse_path(filename)[-1] AS source_file FROM raw GROUP BY ALL"""
"""Tables of the rows that equal an earlier one, and of the first row of each file."""


def _entities(raw: str) -> str:
    separators = get_settings().entity_separators
    bar, others = separators[0], separators[1:]
    parts = f"string_split(translate({raw}, '{others}', '{bar * len(others)}'), '{bar}')"
    return f"list_filter(list_transform({parts}, lambda e: trim(e)), lambda e: e <> '')"


def logs() -> str:
    """Rows that no rule rejects."""
    return f"""
        SELECT source_file || '#' || (raw.rowid - first) AS event_id, trim(user_id) AS user_id, trim(item_id) AS item_id, log_ts,
            trim(label)::TINYINT AS label, trim(scene) AS scene,
            {", ".join(f"{_entities(raw)} AS {name}" for name, raw in _SEQUENCES.items())},
            nullif(trim(item_title), '') AS item_title,
            {", ".join(f"number_{n} AS {name}" for n, name in enumerate(DEEP_FEATURES))}
        FROM raw JOIN files USING (filename)
        WHERE reasons IS NULL AND raw.rowid NOT IN (SELECT row FROM repeated)"""


QUARANTINE = f"""
    SELECT source_file, raw.rowid - first AS source_row,
        to_json(struct_pack({", ".join(RAW_TEXT_COLUMNS)},
            {", ".join(f"{name} := number_{n}" for n, name in enumerate(DEEP_FEATURES))})) AS raw,
        list_concat(coalesce(reasons, []), CASE WHEN raw.rowid IN (SELECT row FROM repeated) THEN ['duplicate_event'] END)
            AS reasons,
        fingerprint
    FROM raw JOIN files USING (filename)
    WHERE reasons IS NOT NULL OR raw.rowid IN (SELECT row FROM repeated)"""


# Features


def columns_of(table: str) -> str:
    """Columns of a table that has no rows yet."""
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
    """Impressions and clicks of the day by some keys."""
    return f"SELECT {', '.join(keys)}, {_OF_ROWS} FROM log GROUP BY {', '.join(keys)}"


def summed(table: str, *keys: str) -> str:
    """Aggregates summed by other keys."""
    return f"SELECT {', '.join(keys)}, {_COUNTS} FROM {table} GROUP BY {', '.join(keys)}"


TOPICS = f"""
    SELECT user_id, hash(item_entities[1]) AS topic_key, {_OF_ROWS} FROM log WHERE len(item_entities) > 0 GROUP BY ALL"""


def week_of_aggregates(who: str) -> str:
    """Seven-day counts by key, in all and by scene, from daily aggregates."""
    pivot = _pivot(lambda what, scene: f"coalesce(sum({what}) FILTER (scene = '{scene}'), 0)")
    return f"""
        SELECT {who}_id, sum(impressions)::BIGINT AS impressions_7d, sum(clicks)::BIGINT AS clicks_7d, {pivot}
        FROM (SELECT {who}_id, scene, impressions, clicks FROM agg_{who}
            UNION ALL SELECT {who}_id, scene, impressions, clicks FROM earlier_{who})
        GROUP BY {who}_id"""


def week_of_logs(who: str, day: date) -> str:
    """Seven-day counts by key, in all and by scene, from logs."""
    own = {"impressions": "count(*)", "clicks": "sum(label)"}
    pivot = _pivot(lambda what, scene: f"coalesce({own[what]} FILTER (scene = '{scene}'), 0)")
    return f"""
        SELECT {who}_id, count(*) AS impressions_7d, sum(label)::BIGINT AS clicks_7d, {pivot}
        FROM logs_so_far WHERE dt > DATE '{day - timedelta(days=7)}' GROUP BY {who}_id"""


def _pivot(value: Callable[[str, str], str]) -> str:
    return ", ".join(
        f"{value(what, scene)}::BIGINT AS {what}_7d_scene_{n}"
        for n, scene in enumerate(get_settings().scenes)
        for what in ("impressions", "clicks")
    )


def totals_of_yesterday(who: str, day: date) -> str:
    """Counts so far: yesterday's plus today's, without keys unseen for the retention."""
    return f"""
        WITH parts AS (
            SELECT {who}_id, impressions AS impressions_total, clicks AS clicks_total, DATE '{day}' AS first_seen,
                DATE '{day}' AS last_seen, CASE WHEN clicks > 0 THEN DATE '{day}' END AS last_clicked
            FROM agg_{who}
            UNION ALL SELECT * EXCLUDE (dt) FROM before_{who}
        )
        SELECT {who}_id, sum(impressions_total)::BIGINT AS impressions_total, sum(clicks_total)::BIGINT AS clicks_total,
            min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(last_clicked) AS last_clicked
        FROM parts GROUP BY {who}_id HAVING max(last_seen) > DATE '{day - timedelta(days=get_settings().retention_days)}'"""


def totals_of_logs(who: str) -> str:
    """Counts so far from all logs."""
    return f"""
        SELECT {who}_id, count(*) AS impressions_total, sum(label)::BIGINT AS clicks_total, min(dt) AS first_seen,
            max(dt) AS last_seen, max(dt) FILTER (label = 1) AS last_clicked
        FROM logs_so_far GROUP BY {who}_id"""


def scene_sums(who: str) -> str:
    """The arguments of `prior_strength`, a row for each scene."""
    parts = [
        f"""SELECT {n} AS place, count(*) FILTER (n > 0) AS keys, coalesce(sum(n), 0)::BIGINT AS impressions,
                coalesce(sum(x), 0)::BIGINT AS clicks, coalesce(sum(n::DOUBLE * n), 0) AS squares,
                coalesce(sum(x::DOUBLE * x / n) FILTER (n > 0), 0) AS shares
            FROM (SELECT impressions_7d_scene_{n} AS n, clicks_7d_scene_{n} AS x FROM features_{who})"""
        for n in range(len(get_settings().scenes))
    ]
    return f"SELECT * EXCLUDE (place) FROM ({' UNION ALL '.join(parts)}) ORDER BY place"


def scene_table(rows: list[tuple[str, int, int, float, float, float, float]]) -> str:
    """Table `features_scene`."""
    values = ", ".join(
        f"('{row[0]}', {row[1]}::BIGINT, {row[2]}::BIGINT, {', '.join(f'{value!r}::DOUBLE' for value in row[3:])})"
        for row in rows
    )
    names = "scene, impressions_7d, clicks_7d, ctr_7d, prior_ctr, user_strength, item_strength"
    return f"CREATE TEMP TABLE features_scene AS SELECT * FROM (VALUES {values}) AS t({names})"


def items_of_yesterday(day: date) -> str:
    """Latest title and entities of each item, yesterday's where today brings none."""
    return f"""
        WITH parts AS (
            SELECT item_id, item_title, item_entities, log_ts::VARCHAR || event_id AS moment, DATE '{day}' AS first_seen,
                DATE '{day}' AS last_seen
            FROM log
            UNION ALL SELECT item_id, item_title, item_entities, '', first_seen, last_seen FROM before_items
        )
        {_latest("moment", "min(first_seen)", "max(last_seen)")}
        HAVING max(last_seen) > DATE '{day - timedelta(days=get_settings().retention_days)}'"""


def _latest(at: str, first: str, last: str) -> str:
    return f"""
        SELECT item_id, arg_max(item_title, {at}) FILTER (item_title IS NOT NULL) AS item_title,
            coalesce(arg_max(item_entities, {at}) FILTER (len(item_entities) > 0), []) AS item_entities,
            {first} AS first_seen, {last} AS last_seen
        FROM parts GROUP BY item_id"""


ITEMS_OF_LOGS = f"WITH parts AS (FROM logs_so_far) {_latest('log_ts::VARCHAR || event_id', 'min(dt)', 'max(dt)')}"

TEXTS = """
    SELECT DISTINCT hash(text) AS text_key, text, kind FROM (
        SELECT item_title AS text, 'title' AS kind FROM log WHERE item_title IS NOT NULL
        UNION ALL
        SELECT unnest(list_concat(item_entities, query_entities, service_entities, bill_entities)), 'entity' FROM log
    )"""


# Training rows


def pairs_of_aggregates(table: str, key: str) -> str:
    """Counts of seven days and the last day of each pair, from daily aggregates."""
    return f"""
        SELECT user_id, {key}, sum(impressions)::BIGINT AS impressions_7d, sum(clicks)::BIGINT AS clicks_7d, max(dt) AS last_seen
        FROM {table} GROUP BY user_id, {key}"""


def pairs_of_logs(key: str) -> str:
    """Counts of seven days and the last day of each pair, from logs."""
    value = "hash(item_entities[1]) AS topic_key" if key == "topic_key" else key
    where = "WHERE len(item_entities) > 0" if key == "topic_key" else ""
    return f"""
        SELECT user_id, {value}, count(*) AS impressions_7d, sum(label)::BIGINT AS clicks_7d, max(dt) AS last_seen
        FROM logs_of_week {where} GROUP BY ALL"""


def training(day: date) -> str:
    """Training rows: the log, what was known of its keys, and defaults where nothing was."""
    return f"""
        WITH told AS (SELECT *, CASE WHEN len(item_entities) > 0 THEN hash(item_entities[1]) END AS topic FROM log),
        joined AS (
            SELECT l.*, s.ctr_7d AS prior, s.user_strength, s.item_strength, {_known("user", day)}, {_known("item", day)},
                coalesce(ui.impressions_7d, 0) AS user_item_impressions_7d, coalesce(ui.clicks_7d, 0) AS user_item_clicks_7d,
                {_days(day, "ui.last_seen", NEVER)} AS user_item_days_since_seen,
                coalesce(ut.impressions_7d, 0) AS user_topic_impressions_7d, coalesce(ut.clicks_7d, 0) AS user_topic_clicks_7d
            FROM told l
            JOIN features_scene s USING (scene)
            LEFT JOIN features_user fu ON fu.user_id = l.user_id LEFT JOIN totals_user tu ON tu.user_id = l.user_id
            LEFT JOIN features_item fi ON fi.item_id = l.item_id LEFT JOIN totals_item ti ON ti.item_id = l.item_id
            LEFT JOIN user_item ui ON ui.user_id = l.user_id AND ui.item_id = l.item_id
            LEFT JOIN user_topic ut ON ut.user_id = l.user_id AND ut.topic_key = l.topic
        ),
        rated AS (SELECT *, {_rates("user")}, {_rates("item")},
            {_rate("user_topic_clicks_7d", "user_topic_impressions_7d", "user")} AS user_topic_ctr_7d FROM joined)
        SELECT event_id, label, scene, user_id, item_id, log_ts,
            {_level("user", get_settings().user_few_impressions)}, {_level("item", get_settings().item_few_impressions)},
            {", ".join((*_of("user"), *_of("item")))},
            user_item_impressions_7d, user_item_clicks_7d, user_item_days_since_seen, user_topic_impressions_7d,
            user_topic_clicks_7d, user_topic_ctr_7d, prior AS scene_ctr_7d,
            hour(log_ts)::INTEGER AS hour_of_day, isodow(log_ts)::INTEGER AS day_of_week,
            {_of_scene([str(n) for n in range(len(get_settings().scenes))])}::INTEGER AS scene_position,
            {", ".join(DEEP_FEATURES)},
            CASE WHEN item_title IS NOT NULL THEN hash(item_title) END AS title_key,
            {", ".join(f"list_transform({w}_entities, lambda e: hash(e)) AS {w}_entity_keys" for w in _KEYED)}
        FROM rated"""


_KEYED = ("item", "query", "service", "bill")


def _known(who: str, day: date) -> str:
    """Counts and days of a user or item, in all and in the row's scene."""
    week, total = f"f{who[0]}", f"t{who[0]}"
    values = {}
    for what in ("impressions", "clicks"):
        values[f"{what}_7d"] = f"coalesce({week}.{what}_7d, 0)"
        values[f"{what}_total"] = f"coalesce({total}.{what}_total, 0)"
        of_scene = _of_scene([f"{week}.{what}_7d_scene_{n}" for n in range(len(get_settings().scenes))], "l.")
        values[f"scene_{what}_7d"] = f"coalesce({of_scene}, 0)"
    values["days_since_seen"] = _days(day, f"{total}.last_seen", NEVER)
    values["days_since_click"] = _days(day, f"{total}.last_clicked", NEVER)
    values["age_days"] = _days(day, f"{total}.first_seen", 0)
    return ", ".join(f"{value} AS {who}_{name}" for name, value in values.items())


def _days(day: date, then: str, never: int) -> str:
    days = f"least(DATE '{day}' - {then}, {never})" if never else f"DATE '{day}' - {then}"
    return f"coalesce({days}, {never})::INTEGER"


def _of_scene(values: list[str], table: str = "") -> str:
    whens = " ".join(f"WHEN '{scene}' THEN {value}" for scene, value in zip(get_settings().scenes, values, strict=True))
    return f"CASE {table}scene {whens} END"


def _rate(clicks: str, impressions: str, who: str) -> str:
    return f"({clicks} + {who}_strength * prior) / ({impressions} + {who}_strength)"


def _rates(who: str) -> str:
    wanted = {"ctr_7d": "{}_7d", "ctr_total": "{}_total", "scene_ctr_7d": "scene_{}_7d"}
    return ", ".join(
        _rate(f"{who}_{count.format('clicks')}", f"{who}_{count.format('impressions')}", who) + f" AS {who}_{name}"
        for name, count in wanted.items()
    )


def _of(who: str) -> tuple[str, ...]:
    """A user's or item's features in the order of the declared ones."""
    week, total = f"{who}_ctr_7d", f"{who}_ctr_total"
    trend = f"ln({week} / (1 - {week})) - ln({total} / (1 - {total})) AS {who}_ctr_trend"
    share = (
        f"CASE WHEN {who}_impressions_total > 0 THEN {who}_impressions_7d / {who}_impressions_total ELSE 0 END::DOUBLE "
        f"AS {who}_recent_share"
    )
    names = [f"{who}_{what}_{span}" for span in ("7d", "total") for what in ("impressions", "clicks", "ctr")]
    names += [f"{who}_scene_{what}_7d" for what in ("impressions", "clicks", "ctr")]
    return (*names, trend, share, *(f"{who}_{what}" for what in ("days_since_seen", "days_since_click", "age_days")))


def _level(who: str, few: int) -> str:
    shown = f"{who}_impressions_total"
    return f"CASE WHEN {shown} = 0 THEN 'zero' WHEN {shown} <= {few} THEN 'few' ELSE 'warm' END AS {who}_level"
