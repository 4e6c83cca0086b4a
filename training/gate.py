"""The promotion gate: a verdict on the day's candidate, with its reasons and the evidence of every rule.

It decides and records; what promotes is `include.decision.apply_decision`.
"""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from include import registry
from include.errors import InvalidInputError, MissingDataError
from include.lake import Lake
from include.outdated import ReplacedDays, outdated_versions, sentence
from include.registry import ModelVersion
from include.settings import Settings
from training import predictions
from training.comparison import ColdPool, Comparison, cold_pools
from training.evaluation import champion_status
from training.gate_policy import Margin, Policy, load_policy
from training.gate_rules import Change, Levels, Rule, Verdict, auc_is_sane, beside_noise, non_inferior, within_band
from training.predictions import EvaluationRows, usable

HEADLINE = "scene mean gauc"
_SEVERITY: list[Verdict] = ["pass", "note", "hold", "reject"]


def run(day: date, may_promote: bool, settings: Settings) -> dict[str, Any]:
    """Judges the candidate of `day` by the policy of the settings; writes and returns the record `decision`."""
    lake = Lake(settings.lake_url)
    policy = load_policy(settings.gate_policy)
    candidate, champion = _models(lake, day)
    status = champion_status(champion, candidate, day)
    outdated = outdated_versions(lake, registry.versions())
    rules = lineage_rules(candidate, champion, status, day, policy) + outdated_rules(candidate, champion, outdated)
    if champion and champion.version in outdated:
        policy = policy.without_doubt()
    power = None
    if status != "same":
        rows = predictions.read(lake, day)
        judged, power = judge(
            rows, policy, settings.scenes, settings.bootstrap_resamples, (settings.seed, day.toordinal())
        )
        rules += judged
    verdict = verdict_of(rules)
    record = {
        "day": str(day),
        "verdict": verdict,
        "reasons": reasons_of(rules, verdict),
        "rules": [asdict(rule) for rule in rules],
        "candidate": candidate.version,
        "champion": champion.version if champion else None,
        "may_promote": may_promote,
        "policy": policy.model_dump(mode="json"),
        "power": power,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    lake.write_record("decision", day, record, candidate.version)
    registry.set_verdict(candidate.version, verdict)
    return record


def _models(lake: Lake, day: date) -> tuple[ModelVersion, ModelVersion | None]:
    """Candidate and champion; raises where the evaluation is not of these two."""
    train, evaluation = lake.record("train", day), lake.record("evaluation", day)
    if train is None or evaluation is None:
        raise MissingDataError(f"The gate of {day} needs a candidate and its evaluation: run train and evaluate first.")
    candidate, champion = registry.get(train["version"]), registry.champion()
    evaluated = evaluation["candidate"]["version"], (evaluation["champion"] or {}).get("version")
    current = candidate.version, champion.version if champion else None
    if evaluated != current:
        raise InvalidInputError(
            f"The evaluation of {day} compares versions {evaluated[0]} and {evaluated[1]}, but candidate and champion are "
            f"{current[0]} and {current[1]} by now. Clear the evaluate task of that day."
        )
    return candidate, champion


def lineage_rules(
    candidate: ModelVersion, champion: ModelVersion | None, status: str, day: date, policy: Policy
) -> list[Rule]:
    """Whether the models may be judged on this day at all, by what they were trained on."""
    rules = [_unseen_by_candidate(candidate, day)]
    if status == "same":
        rules.append(Rule("champion", "pass", "The candidate is the champion already: nothing changes.", {}))
        return rules
    if candidate.rolled_back_at:
        rules.append(
            Rule(
                "rolled back",
                "hold",
                f"Version {candidate.version} was champion and was rolled back at {candidate.rolled_back_at}: a person decides.",
                {"rolled_back_at": candidate.rolled_back_at},
            )
        )
    if champion is None:
        rules.append(Rule("champion", "pass", "There is no champion yet: absolute checks only.", {}))
    elif status == "seen":
        evidence = {"trained_through": str(champion.trained_through), "log_day": str(champion.log_day)}
        sentence = (
            f"Champion {champion.version} was trained through {champion.trained_through} by the run of {champion.log_day}, "
            f"so it cannot be compared honestly on {day}. To return to an older model: `ctr rollback --to VERSION`."
        )
        rules.append(Rule("champion", policy.champion_has_seen_day, sentence, evidence))
    return rules


def outdated_rules(
    candidate: ModelVersion, champion: ModelVersion | None, outdated: dict[int, ReplacedDays]
) -> list[Rule]:
    """Whether a model has learnt rows that were replaced since: on such a candidate a person decides, and against such a champion
    a candidate need not be proven to be as good."""
    rules = []
    if candidate.version in outdated:
        next_step = "Clear the train task of that day, so that it learns the rows as they are now."
        rules.append(_outdated(candidate, "hold", outdated, next_step))
    if champion and champion.version in outdated:
        rules.append(
            _outdated(champion, "note", outdated, "Where the day cannot tell which is better, it is replaced.")
        )
    return rules


def _outdated(version: ModelVersion, verdict: Verdict, outdated: dict[int, ReplacedDays], consequence: str) -> Rule:
    days = outdated[version.version]
    evidence = {"version": version.version, "replaced": {str(day): round(share, 4) for day, share in days.items()}}
    return Rule("outdated", verdict, f"{sentence(version.version, days)} {consequence}", evidence)


def _unseen_by_candidate(candidate: ModelVersion, day: date) -> Rule:
    """The candidate, and every version that its weights come from, was trained on earlier days only."""
    known = {version.version: version for version in registry.versions()}
    chain: list[ModelVersion] = []
    link: ModelVersion | None = candidate
    while link is not None and link not in chain:
        chain.append(link)
        link = known.get(link.base_version) if link.base_version is not None else None
    latest = max(chain, key=lambda version: version.trained_through)
    evidence = {"trained_through": str(latest.trained_through), "versions": [version.version for version in chain]}
    if latest.trained_through < day:
        return Rule("lineage", "pass", f"Trained through {latest.trained_through}, before the evaluated day.", evidence)
    sentence = f"Version {latest.version} in its line was trained through {latest.trained_through}: it has seen {day}."
    return Rule("lineage", "reject", sentence, evidence)


def judge(
    rows: EvaluationRows, policy: Policy, scenes: tuple[str, ...], resamples: int, seed: tuple[int, ...]
) -> tuple[list[Rule], dict[str, Any] | None]:
    """All rules on a day's predictions, and the power of the comparison (None without a champion)."""
    finite = _finite(rows)
    if finite.verdict == "reject":
        return [finite], None
    champion_usable = rows.champion is None or usable(rows.champion)
    if not champion_usable:
        rows = EvaluationRows(**{**vars(rows), "champion": None})
    pools = cold_pools(rows, scenes, policy.cold_auc)
    comparison = Comparison(rows, scenes, pools, resamples, seed)
    rules = [finite, *_absolute(comparison, policy)]
    if not champion_usable:
        sentence = (
            "The champion has no probability for every row: it predicts values that are none, or does not know a scene that "
            "the settings have got since. Look at it before anything is promoted."
        )
        return [*rules, Rule("champion", "hold", sentence, {})], None
    if not comparison.paired:
        return rules, None
    relative, power = _relative(comparison, pools, policy)
    return rules + relative, power


def verdict_of(rules: list[Rule]) -> str:
    """The most severe of the rules' verdicts: promote, hold or reject."""
    worst = max((rule.verdict for rule in rules), key=_SEVERITY.index)
    return worst if worst in ("hold", "reject") else "promote"


def reasons_of(rules: list[Rule], verdict: str) -> list[str]:
    """The sentences that explain a verdict: what stands in the way, or else what speaks for promotion."""
    if verdict == "promote":
        telling = [rule for rule in rules if rule.name in (HEADLINE, "champion", "outdated")]
        return [rule.sentence for rule in telling] or ["Every rule is met."]
    blocking = [rule for rule in rules if rule.verdict in ("hold", "reject")]
    return [rule.sentence for rule in sorted(blocking, key=lambda rule: -_SEVERITY.index(rule.verdict))]


def _finite(rows: EvaluationRows) -> Rule:
    if usable(rows.candidate):
        return Rule("finite", "pass", f"All {len(rows.candidate):,} predictions are numbers in [0, 1].", {})
    wrong = int((~((rows.candidate >= 0) & (rows.candidate <= 1))).sum())
    sentence = f"{wrong:,} of {len(rows.candidate):,} predictions are not numbers in [0, 1]."
    return Rule("finite", "reject", sentence, {"wrong": wrong, "rows": len(rows.candidate)})


def _absolute(comparison: Comparison, policy: Policy) -> list[Rule]:
    auc, bounds = comparison.auc()
    if bounds is None:
        sentence = "The day has too few clicks or non-clicks for an AUC."
        return [Rule("auc above chance", "hold", sentence, {})]
    rules = auc_is_sane(auc, bounds, policy.sanity)
    scenes = [scene for scene in comparison.scenes if comparison.clicks[scene] >= policy.scene_pcoc.min_clicks]
    for group in ["all", *scenes]:
        whole = group == "all"
        # Each scene gets its share of the 5 % in which an interval misses the truth.
        level = 0.95 if whole else 1 - 0.05 / len(scenes)
        value, interval, other = comparison.pcoc(group, level)
        name, what = ("pcoc", "PCOC") if whole else (f"pcoc of scene {group}", f"PCOC of scene {group}")
        if interval is not None:
            rules.append(within_band(name, what, value, interval, policy.pcoc if whole else policy.scene_pcoc, other))
    return [beside_noise(rule, policy.noise) for rule in rules]


def _relative(
    comparison: Comparison, pools: list[ColdPool], policy: Policy
) -> tuple[list[Rule], dict[str, Any] | None]:
    by_gauc = comparison.scenes_by_users(policy.scene_gauc.min_users)
    by_auc = comparison.scenes_by_clicks(policy.scene_auc)
    judged_pools = [pool for pool in pools if pool.enough(policy.cold_auc)]
    levels = Levels(policy.alpha, policy.reject_alpha, len(by_gauc) + len(by_auc) + len(judged_pools) + 2)
    mean = comparison.scene_mean_gauc(levels)
    if mean is None:
        sentence = "No scene has enough users with a click and a non-click to compare the models by GAUC."
        return [Rule(HEADLINE, "hold", sentence, {})], None
    rules = [non_inferior(HEADLINE, "Per-scene mean GAUC", mean, policy.scene_mean_gauc)]
    for scene in comparison.scenes:
        change = comparison.scene_change("gauc", scene, levels) if scene in by_gauc else None
        lacks = f"{comparison.users_with_both[scene]} users with both classes"
        rules.append(_judged(f"gauc of scene {scene}", f"GAUC of scene {scene}", change, policy.scene_gauc, lacks))
    for scene in comparison.scenes:
        change = comparison.scene_change("auc", scene, levels) if scene in by_auc else None
        lacks = _counted(comparison.clicks[scene], comparison.non_clicks[scene])
        rules.append(_judged(f"auc of scene {scene}", f"AUC of scene {scene}", change, policy.scene_auc, lacks))
    for pool in pools:
        change = comparison.cold_auc(pool.name, levels) if pool in judged_pools else None
        what = f"AUC of {pool.name} ({' and '.join(pool.levels)})"
        rules.append(_judged(pool.name, what, change, policy.cold_auc, _counted(pool.clicks, pool.non_clicks)))
    rules.append(_judged("ece", "ECE, sign reversed,", comparison.ece(levels), policy.ece, "too few rows"))
    margin = policy.scene_mean_gauc.margin
    return [beside_noise(rule, policy.noise) for rule in rules], {
        "metric": HEADLINE,
        "standard_error": round(mean.se, 6),
        "smallest_detectable": round(mean.detectable, 6),
        "margin": margin,
        "passes_if_equal": round(mean.passes_if_equal(margin, policy.alpha), 4),
    }


def _judged(name: str, what: str, change: Change | None, margin: Margin, lacks: str) -> Rule:
    """The margin rule, or a note where the data is insufficient."""
    if change is None:
        return Rule(name, "note", f"{what} is insufficient to compare: {lacks}.", {"insufficient": lacks})
    return non_inferior(name, what, change, margin)


def _counted(clicks: int, non_clicks: int) -> str:
    return f"{clicks} clicks and {non_clicks} non-clicks"
