"""The SQL of the training rows of `benchmarks.features.duckdb_pipeline`, from the meaning of the tables."""

from datetime import date

from benchmarks.features.duckdb_sql import text
from include.features import NEVER
from include.schemas import DEEP_FEATURES
from include.settings import get_settings

_ENTITY_SOURCES = ("item", "query", "service", "bill")


def pairs_of_aggregates(table: str, key: str) -> str:
    """Return a query of the seven-day counts and the last day of each pair, from daily aggregates."""
    return f"""
        SELECT user_id, {key}, sum(impressions)::BIGINT AS impressions_7d, sum(clicks)::BIGINT AS clicks_7d, max(dt) AS last_seen
        FROM {table} GROUP BY user_id, {key}"""


def pairs_of_logs(key: str) -> str:
    """Return a query of the seven-day counts and the last day of each pair, from logs."""
    value = "hash(item_entities[1]) AS topic_key" if key == "topic_key" else key
    where = "WHERE len(item_entities) > 0" if key == "topic_key" else ""
    return f"""
        SELECT user_id, {value}, count(*) AS impressions_7d, sum(label)::BIGINT AS clicks_7d, max(dt) AS last_seen
        FROM logs_of_week {where} GROUP BY ALL"""


def training(day: date) -> str:
    """Return a query of the training rows: the log with the features of its keys, defaults for unknown keys."""
    entity_keys = (
        f"list_transform({source}_entities, lambda e: hash(e)) AS {source}_entity_keys" for source in _ENTITY_SOURCES
    )
    return f"""
        WITH events AS (SELECT *, CASE WHEN len(item_entities) > 0 THEN hash(item_entities[1]) END AS topic FROM log),
        joined AS (
            SELECT l.*, s.ctr_7d AS prior, s.user_strength, s.item_strength,
                {_entity_counts("user", day)}, {_entity_counts("item", day)},
                coalesce(ui.impressions_7d, 0) AS user_item_impressions_7d, coalesce(ui.clicks_7d, 0) AS user_item_clicks_7d,
                {_days(day, "ui.last_seen", NEVER)} AS user_item_days_since_seen,
                coalesce(ut.impressions_7d, 0) AS user_topic_impressions_7d, coalesce(ut.clicks_7d, 0) AS user_topic_clicks_7d
            FROM events l
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
            {", ".join((*_features("user"), *_features("item")))},
            user_item_impressions_7d, user_item_clicks_7d, user_item_days_since_seen, user_topic_impressions_7d,
            user_topic_clicks_7d, user_topic_ctr_7d, prior AS scene_ctr_7d,
            hour(log_ts)::INTEGER AS hour_of_day, isodow(log_ts)::INTEGER AS day_of_week,
            {_of_scene([str(n) for n in range(len(get_settings().scenes))])}::INTEGER AS scene_position,
            {", ".join(DEEP_FEATURES)},
            CASE WHEN item_title IS NOT NULL THEN hash(item_title) END AS title_key,
            {", ".join(entity_keys)}
        FROM rated"""


def _entity_counts(entity: str, day: date) -> str:
    """Return the SQL of counts and days of a user or item, in all and in the row's scene."""
    week = f"f{entity[0]}"
    total = f"t{entity[0]}"
    values = {}
    for what in ("impressions", "clicks"):
        values[f"{what}_7d"] = f"coalesce({week}.{what}_7d, 0)"
        values[f"{what}_total"] = f"coalesce({total}.{what}_total, 0)"
        of_scene = _of_scene([f"{week}.{what}_7d_scene_{n}" for n in range(len(get_settings().scenes))], "l.")
        values[f"scene_{what}_7d"] = f"coalesce({of_scene}, 0)"
    values["days_since_seen"] = _days(day, f"{total}.last_seen", NEVER)
    values["days_since_click"] = _days(day, f"{total}.last_clicked", NEVER)
    values["age_days"] = _days(day, f"{total}.first_seen", 0)
    return ", ".join(f"{value} AS {entity}_{name}" for name, value in values.items())


def _days(day: date, then: str, never: int) -> str:
    days = f"least(DATE '{day}' - {then}, {never})" if never else f"DATE '{day}' - {then}"
    return f"coalesce({days}, {never})::INTEGER"


def _of_scene(values: list[str], table: str = "") -> str:
    whens = " ".join(
        f"WHEN {text(scene)} THEN {value}" for scene, value in zip(get_settings().scenes, values, strict=True)
    )
    return f"CASE {table}scene {whens} END"


def _rate(clicks: str, impressions: str, entity: str) -> str:
    return f"({clicks} + {entity}_strength * prior) / ({impressions} + {entity}_strength)"


def _rates(entity: str) -> str:
    counts = {"ctr_7d": "{}_7d", "ctr_total": "{}_total", "scene_ctr_7d": "scene_{}_7d"}
    return ", ".join(
        _rate(f"{entity}_{count.format('clicks')}", f"{entity}_{count.format('impressions')}", entity)
        + f" AS {entity}_{name}"
        for name, count in counts.items()
    )


def _features(entity: str) -> tuple[str, ...]:
    """Return a user's or item's features in their declared order."""
    week = f"{entity}_ctr_7d"
    total = f"{entity}_ctr_total"
    trend = f"ln({week} / (1 - {week})) - ln({total} / (1 - {total})) AS {entity}_ctr_trend"
    share = (
        f"CASE WHEN {entity}_impressions_total > 0 THEN {entity}_impressions_7d / {entity}_impressions_total ELSE 0 END::DOUBLE "
        f"AS {entity}_recent_share"
    )
    names = [f"{entity}_{what}_{span}" for span in ("7d", "total") for what in ("impressions", "clicks", "ctr")]
    names += [f"{entity}_scene_{what}_7d" for what in ("impressions", "clicks", "ctr")]
    return (*names, trend, share, *(f"{entity}_{what}" for what in ("days_since_seen", "days_since_click", "age_days")))


def _level(entity: str, few: int) -> str:
    impressions = f"{entity}_impressions_total"
    return f"CASE WHEN {impressions} = 0 THEN 'zero' WHEN {impressions} <= {few} THEN 'few' ELSE 'warm' END AS {entity}_level"
