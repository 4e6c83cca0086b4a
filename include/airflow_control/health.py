"""Health of the nights, seen from outside Airflow: logs, tables, champion, scheduler, disk.

It needs no running task, so that a stopped scheduler and a log that never comes are seen as well.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import httpx

from include.errors import CtrError, UnavailableError, storage_error
from include.settings import get_settings

_SECONDS = 10.0


@dataclass(frozen=True)
class Limits:
    """What still counts as healthy: days that logs, tables and champion are behind yesterday, and the share of the disk used."""

    log_days: int = 1
    table_days: int = 1
    champion_days: int = 7
    disk: float = 0.9


@dataclass(frozen=True)
class Fact:
    """The result of one check: a text, whether it is healthy, and its value as a metric.

    `metric` is a name of Prometheus below `ctr_`, with its unit; `value` is None where it could not be determined.
    """

    text: str
    healthy: bool
    metric: str
    value: float | None = None


def facts(now: datetime, limits: Limits) -> list[Fact]:
    """Return the result of every check; what cannot be reached is not healthy, and raises nothing."""
    yesterday = (now.astimezone(UTC) - timedelta(days=1)).date()
    checks: list[tuple[str, str, Callable[[], Fact]]] = [
        ("logs", "log_lag_days", lambda: _logs(yesterday, limits.log_days)),
        ("tables", "table_lag_days", lambda: _tables(yesterday, limits.table_days)),
        ("champion", "champion_lag_days", lambda: _champion(yesterday, limits.champion_days)),
        ("scheduler", "scheduler_heartbeat_seconds", lambda: _scheduler(now)),
        ("disk", "disk_used_ratio", lambda: _disk(limits.disk)),
    ]
    return [_safely(*check) for check in checks]


def metrics(checked: list[Fact]) -> Iterator[str]:
    """Yield the facts as lines of Prometheus's text format."""
    yield "# TYPE ctr_healthy gauge"
    yield f"ctr_healthy {int(all(fact.healthy for fact in checked))}"
    for fact in checked:
        if fact.value is not None:
            yield f"# TYPE ctr_{fact.metric} gauge"
            yield f"ctr_{fact.metric} {fact.value:g}"


def _safely(name: str, metric: str, check: Callable[[], Fact]) -> Fact:
    try:
        return check()
    except (CtrError, UnavailableError, httpx.HTTPError) as error:
        return Fact(f"{name}: {error}", healthy=False, metric=metric)
    except OSError as error:
        return Fact(f"{name}: {storage_error(error) or error}", healthy=False, metric=metric)


def _behind(label: str, newest: date | None, yesterday: date, most: int, metric: str) -> Fact:
    if newest is None:
        return Fact(f"{label}: none yet", healthy=False, metric=metric)
    lag = (yesterday - newest).days
    late = f", {lag} days behind yesterday (at most {most})" if lag > most else ""
    return Fact(f"{label} {newest}{late}", healthy=lag <= most, metric=metric, value=lag)


def _logs(yesterday: date, most: int) -> Fact:
    from include.raw.deliveries import Raw

    return _behind("newest log", max(Raw().days(), default=None), yesterday, most, "log_lag_days")


def _tables(yesterday: date, most: int) -> Fact:
    from include.lake.lake import get_lake

    newest = max(get_lake().days("training"), default=None)
    return _behind("newest training table", newest, yesterday, most, "table_lag_days")


def _champion(yesterday: date, most: int) -> Fact:
    from include.registry import registry

    champion = registry.champion()
    if champion is None:
        return Fact("champion: none yet", healthy=False, metric="champion_lag_days")
    return _behind(f"champion {champion.version} of", champion.log_day, yesterday, most, "champion_lag_days")


def _scheduler(now: datetime) -> Fact:
    from include.airflow_control import airflow_local

    embedded = airflow_local.instance()
    url = get_settings().airflow_url or (embedded.url if embedded else None)
    if url is None:
        return Fact(
            "scheduler: no Airflow runs here (`ctr ui`), and CTR_AIRFLOW_URL names none",
            healthy=False,
            metric="scheduler_heartbeat_seconds",
        )
    response = httpx.get(f"{url}/api/v2/monitor/health", timeout=_SECONDS, trust_env=False)
    response.raise_for_status()
    parts = {name: part["status"] for name, part in response.json().items() if part["status"] is not None}
    unhealthy = [name for name, status in parts.items() if status != "healthy"]
    beat = response.json()["scheduler"]["latest_scheduler_heartbeat"]
    age = max((now - datetime.fromisoformat(beat)).total_seconds(), 0.0) if beat else None  # its clock may be ahead
    heartbeat = f"scheduler's heartbeat {age:.0f} s ago" if age is not None else "scheduler: no heartbeat yet"
    return Fact(
        f"{heartbeat}; not healthy: {', '.join(unhealthy)}" if unhealthy else heartbeat,
        healthy=not unhealthy and age is not None,
        metric="scheduler_heartbeat_seconds",
        value=age,
    )


def _disk(most: float) -> Fact:
    usage = shutil.disk_usage(get_settings().home)
    used = usage.used / (usage.used + usage.free)
    late = f" (at most {most:.0%})" if used > most else ""
    return Fact(
        f"disk of {get_settings().home} {used:.0%} used{late}",
        healthy=used <= most,
        metric="disk_used_ratio",
        value=used,
    )
