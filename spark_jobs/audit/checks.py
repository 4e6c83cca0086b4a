"""Checks that compare a staged day with its inputs, with other tables or with other days; the rest is in the suites.

Each returns records of the form that `docs/architecture.md` describes.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from include.calendar import WINDOW_DAYS, parse_day, previous, window
from include.checks import Check, Measure, Severity, check_result
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.plural import counted
from include.quality.suites import ENOUGH_CLICKS, ENOUGH_ROWS, MAX_MIX_SHIFT, MIN_FOUND
from include.settings import get_settings

Profile = dict[str, Any]


def conservation(table: str, parts: dict[str, int], rows_in: int, source: str) -> Check:
    """Check that rows in = rows out, summed over the tables that share them."""
    out = sum(parts.values())
    summands = " + ".join(f"{rows:,} {name}" for name, rows in parts.items())
    return check_result(
        table,
        "expect_rows_conserved",
        out == rows_in,
        f"{rows_in:,} rows, as in {source}",
        f"{summands} = {out:,}" if len(parts) > 1 else f"{out:,}",
        failing_rows=abs(out - rows_in),
        measure=Measure(out, low=rows_in, high=rows_in),
    )


def impressions_conserved(lake: Lake, manifest: Manifest, sums: dict[str, int], due: dict[str, int]) -> Iterator[Check]:
    """Check that impressions of the day, of seven days and so far are those of the logs; `sums` has them by table.

    Days before count as they were when their features were made. Counts so far may lack at most those that are `due` to be
    forgotten: of keys last seen the retention ago, some of which have returned today.
    """
    day = parse_day(manifest.day)
    past = {other: features for other in window(day)[:-1] if (features := lake.manifest("features", other))}
    week = manifest.rows_in + sum(features.rows_in for features in past.values())
    before = past.get(previous(day))
    for table, impressions in sums.items():
        parts = {"impressions": impressions}
        if table.startswith("agg_"):
            yield conservation(table, parts, manifest.rows_in, f"logs {day}")
        elif table.startswith("features_"):
            yield conservation(table, parts, week, f"the logs of {min(past, default=day)}..{day}")
        elif table.startswith("totals_"):
            most = manifest.rows_in + (before.profile.get(table, 0) if before else 0)
            least = most - due.get(table, 0)
            expected = f"{most:,} impressions: the day before and logs {day}"
            expected += f", without at most {most - least:,} that the retention forgets" if least < most else ""
            total = Measure(impressions, least, most)
            yield check_result(
                table, "expect_rows_conserved", total.within, expected, f"{impressions:,}", measure=total
            )


def arrived(rows: int, expected: dict[str, int]) -> Iterator[Check]:
    """Check that the logs hold every event of the day that later days published as late, and no other from outside its files."""
    if rows or expected:
        sources = ", ".join(f"{count:,} of {arrival}" for arrival, count in expected.items())
        due = sum(expected.values())
        yield check_result(
            "logs",
            "expect_late_rows_arrived",
            rows == due,
            f"{due:,} late rows of later days ({sources or 'none'})",
            f"{rows:,}",
            failing_rows=abs(rows - due),
            measure=Measure(rows, low=due, high=due),
        )


def no_late_events(routed: int, routed_days: int, rejected: int, rejected_days: int) -> Check:
    """Check that no raw row belongs to a day before; the settings decide whether such rows are routed or quarantined."""
    parts = (
        (routed, routed_days, "routed to their day: rerun it (`ctr backfill-plan`)"),
        (rejected, max(rejected_days, 1), "quarantined"),  # a repaired time is of a day that no file shows
    )
    observed = "; ".join(
        f"{counted(rows, 'row')} of {counted(days, 'earlier day')} {done}" for rows, days, done in parts if rows
    )
    late = routed + rejected
    return check_result(
        "late",
        "expect_no_late_events",
        late == 0,
        "no raw rows of the days before",
        observed or "none",
        column="log_ts",
        severity="warning",
        failing_rows=late,
        measure=Measure(late, high=0),
    )


def late_in_reach(day: date, rows_by_day: dict[date, int], wrong: int) -> Check:
    """Check that rows of `late` are filed under the day of their time, one of the `late_days` days before."""
    oldest = day - timedelta(days=get_settings().late_days)
    wrong += sum(rows for event_day, rows in rows_by_day.items() if not oldest <= event_day < day)
    observed = ", ".join(f"{rows:,} of {event_day}" for event_day, rows in rows_by_day.items())
    return check_result(
        "late",
        "expect_days_in_reach",
        wrong == 0,
        f"events of {oldest} to {previous(day)}, under their day",
        observed,
        column="day",
        failing_rows=wrong,
        measure=Measure(wrong, high=0),
    )


def repairs(counts: dict[str, int] | None) -> Iterator[Check]:
    """Check that every repair of a raw row was applied; one whose row or file has changed since is not."""
    if counts:
        ignored = counts["rows"] - counts["applied"]
        yield check_result(
            "logs",
            "expect_repairs_to_fit",
            ignored == 0,
            f"{counts['rows']:,} repaired raw rows",
            f"{counts['applied']:,} repaired; {ignored:,} ignored, as their raw rows have changed"
            if ignored
            else f"{counts['applied']:,} repaired",
            severity="warning",
            failing_rows=ignored,
            measure=Measure(ignored, high=0),
        )


def unique(table: str, key: tuple[str, ...], rows: int, distinct: int) -> Check:
    """Check that no two rows of a table have the same key."""
    repeated = rows - distinct
    columns = ", ".join(key)
    return check_result(
        table,
        "expect_unique_key",
        repeated == 0,
        f"{columns} unique",
        f"{repeated:,} repeated",
        column=columns,
        failing_rows=repeated,
        measure=Measure(repeated, high=0),
    )


def quarantine_rate(rejected: int, rows_in: int) -> Check:
    """Check that the share of rejected rows is not above the setting."""
    limit = get_settings().max_quarantine_rate
    share = Measure(rejected / max(rows_in, 1), high=limit, unit="share")
    return check_result(
        "quarantine",
        "expect_quarantine_rate_at_most",
        share.within,
        f"at most {limit:.2%} of raw rows rejected",
        f"{share.value:.2%} ({rejected:,} of {rows_in:,})",
        failing_rows=rejected,
        measure=share,
    )


def trailing(lake: Lake, day: date) -> list[Profile]:
    """Return the profiles of the published logs of the seven days before, without those that were declared empty."""
    manifests = (lake.manifest("logs", past) for past in window(previous(day), WINDOW_DAYS))
    profiles = [manifest.profile for manifest in manifests if manifest]
    return [profile for profile in profiles if profile and not profile.get("declared_empty")]


def against_trailing(today: Profile, past: list[Profile]) -> Iterator[Check]:
    """Compare volume, CTR and scene mix of a day with the seven days before, in the scenes of the settings.

    A day that was declared empty is not compared.
    """
    empty = today.get("declared_empty")
    rows = Measure(today["rows"], low=None if empty else 1)
    expected = "declared empty (CTR_EMPTY_DAYS)" if empty else "at least 1 row"
    yield check_result("logs", "expect_rows", rows.within, expected, f"{today['rows']:,} rows", measure=rows)
    if empty:
        return
    past = [_of_listed_scenes(profile) for profile in past]
    yield _volume("logs", today["rows"], [profile["rows"] for profile in past], "critical")
    yield _ctr("logs", today, past, "critical")
    for scene in get_settings().scenes:
        then = [profile["scenes"].get(scene, {"rows": 0, "clicks": 0}) for profile in past]
        now = today["scenes"].get(scene, {"rows": 0, "clicks": 0})
        yield _volume(f"scene {scene}", now["rows"], [profile["rows"] for profile in then], "warning")
        yield _ctr(
            f"scene {scene}", now, then, "critical" if _expected_clicks(now, then) >= ENOUGH_CLICKS else "warning"
        )
    yield _mix(today, past)


def _of_listed_scenes(profile: Profile) -> Profile:
    """Return a profile without the rows and clicks of scenes that were removed from the settings since."""
    scenes = {name: counts for name, counts in profile["scenes"].items() if name in get_settings().scenes}
    return {"scenes": scenes} | {name: sum(scene[name] for scene in scenes.values()) for name in ("rows", "clicks")}


def _volume(subject: str, rows: int, past: list[int], severity: Severity) -> Check:
    mean = sum(past) / max(len(past), 1)
    low, high = get_settings().volume_band
    if mean < ENOUGH_ROWS:
        measure, expected = Measure(rows), _too_little(len(past))
    else:
        measure = Measure(rows, low * mean, high * mean)
        expected = f"{low:g} to {high:g} times the trailing mean of {mean:,.0f} rows"
    return check_result(
        "logs",
        "expect_usual_volume",
        measure.within,
        expected,
        f"{rows:,} rows",
        column=_scene(subject),
        severity=severity,
        measure=measure,
    )


def _expected_clicks(today: Profile, past: list[Profile]) -> float:
    """Return the clicks that a scene's rows of today would have at its trailing CTR: with many, a halved CTR is no chance."""
    rows, clicks = (sum(profile[name] for profile in past) for name in ("rows", "clicks"))
    return float(today["rows"] * clicks / max(rows, 1))


def _ctr(subject: str, today: Profile, past: list[Profile], severity: Severity) -> Check:
    rows, clicks = (sum(profile[name] for profile in past) for name in ("rows", "clicks"))
    low, high = get_settings().ctr_band
    now = today["clicks"] / max(today["rows"], 1)
    if rows < ENOUGH_ROWS or clicks < ENOUGH_ROWS / 10 or today["rows"] < ENOUGH_ROWS:
        measure, expected = Measure(now, unit="rate"), _too_little(len(past))
    else:
        measure = Measure(now, low * clicks / rows, high * clicks / rows, "rate")
        expected = f"{low:g} to {high:g} times the trailing {clicks / rows:.4f}"
    return check_result(
        "logs",
        "expect_usual_ctr",
        measure.within,
        expected,
        f"CTR {now:.4f} ({today['clicks']:,} clicks of {today['rows']:,} rows)",
        column=_scene(subject),
        severity=severity,
        measure=measure if today["rows"] else None,
    )


def _mix(today: Profile, past: list[Profile]) -> Check:
    rows = sum(profile["rows"] for profile in past)
    if rows < ENOUGH_ROWS or today["rows"] < ENOUGH_ROWS:
        expected = _too_little(len(past))
        return check_result(
            "logs", "expect_usual_scene_mix", True, expected, "not compared", column="scene", severity="warning"
        )
    shift = 0.0
    for scene in get_settings().scenes:
        then = sum(profile["scenes"].get(scene, {"rows": 0})["rows"] for profile in past) / rows
        shift += abs(today["scenes"].get(scene, {"rows": 0})["rows"] / today["rows"] - then) / 2
    return check_result(
        "logs",
        "expect_usual_scene_mix",
        shift <= MAX_MIX_SHIFT,
        f"at most {MAX_MIX_SHIFT:.0%} of rows moved between scenes",
        f"{shift:.1%}",
        column="scene",
        severity="warning",
        measure=Measure(shift, high=MAX_MIX_SHIFT, unit="share"),
    )


def _scene(subject: str) -> str | None:
    return subject if subject.startswith("scene ") else None


def _too_little(days: int) -> str:
    return "no earlier day to compare with" if days == 0 else "too few rows to compare"


def lineage(lake: Lake, manifest: Manifest) -> Iterator[Check]:
    """Check that features of a training row come from before its day.

    Three checks: the inputs that this manifest names, the inputs of those inputs, and the files that Spark read.
    """
    day = parse_day(manifest.day)
    used = [key for key in manifest.inputs if key.startswith("features/")]
    newest = max((parse_day(key.split("/")[1]) for key in used), default=None)
    age = None if newest is None else Measure((day - newest).days, low=1, unit="days")
    yield check_result(
        "training",
        "expect_features_before_the_day",
        age is None or age.within,
        f"features before {day}",
        f"features of {newest}" if newest else "no features",
        measure=age,
    )
    later = {}
    for key in used:
        newest_input = _newest_input(lake.manifest("features", parse_day(key.split("/")[1])))
        if newest_input is None or newest_input >= day:
            later[key] = newest_input or "unknown"
    yield check_result(
        "training",
        "expect_inputs_of_features_before_the_day",
        not later,
        f"features made from days before {day}",
        "; ".join(f"{key}: newest input {input_day}" for key, input_day in later.items())
        or f"{len(used)} days of features",
        measure=Measure(len(later), high=0, unit="days"),
    )
    late = [
        f"{table} of {last}"
        for table, last in sorted(manifest.profile["newest"].items())
        if (last > str(day) if table == "logs" else last >= str(day))
    ]
    yield check_result(
        "training",
        "expect_files_of_the_days_before",
        not late,
        f"no file of {day} or later but the logs of {day}",
        "; ".join(late) or f"{len(manifest.profile['newest'])} tables",
        measure=Measure(len(late), high=0, unit="tables"),
    )


def _newest_input(manifest: Manifest | None) -> date | None:
    return max((parse_day(key.split("/")[1]) for key in manifest.inputs), default=None) if manifest else None


def found_shares(rows: int, matched: dict[str, int], has_snapshot: bool) -> Iterator[Check]:
    """Check the share of training rows whose user and item are in the snapshot of the day before (`matched`: rows by entity)."""
    for entity, count in matched.items():
        least = MIN_FOUND[entity]
        share = Measure(count / max(rows, 1), low=least if has_snapshot and rows else None, unit="share")
        yield check_result(
            "training",
            f"expect_{entity}s_found",
            share.within,
            f"at least {least:.0%} of rows" if has_snapshot else "no day before",
            f"{share.value:.1%}",
            column=f"{entity}_id",
            severity="warning",
            measure=share,
        )
