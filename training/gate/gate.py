"""The promotion gate: a verdict on the day's candidate, with its reasons and the evidence of every rule.

It decides from the day's record `evaluation`, and records; what promotes is `include.orchestration.decision.apply_decision`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from math import log
from typing import Any

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake
from include.registry import registry
from include.registry.outdated import ReplacedDays, outdated_versions, sentence
from include.registry.registry import ModelVersion
from include.settings import Settings
from training.evaluate.champion_status import champion_status
from training.gate.comparisons import Comparison, with_anchor, with_champion
from training.gate.policy import Policy, load_policy
from training.gate.rules import (
    Levels,
    Pcoc,
    Rule,
    Sum,
    Verdict,
    auc_is_sane,
    beside_anchor,
    beside_champion,
    calibrated,
)

HEADLINE = ("auc", "log loss")
"""The comparisons that a promotion is told by."""
EARLIER_NIGHTS = 28
"""Nights whose PCOC say how far from 1 is usual."""
PCOC_CLICKS = 50
"""Clicks from which on a group's PCOC is judged."""
_SEVERITY: list[Verdict] = ["pass", "note", "hold", "reject"]


@dataclass(frozen=True)
class Past:
    """What earlier nights say: the evidence that the last decision summed up since `anchor` (a version), by comparison, and the
    champions' PCOC of the nights before, by group."""

    anchor: int | None = None
    sums: Mapping[str, Sum] = field(default_factory=dict)
    pcoc: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """Rules, what each comparison saw, and what later nights need of it: sums of evidence, and PCOC of the champion."""

    rules: list[Rule]
    comparisons: list[dict[str, Any]]
    sums: dict[str, Sum]
    pcoc: dict[str, float]

    @property
    def loss_is_proven(self) -> bool:
        """Whether the nights since the anchor show a loss."""
        return any(rule.evidence.get("loss_shown") for rule in self.rules)


def run(day: date, may_promote: bool, settings: Settings) -> dict[str, Any]:
    """Judges the candidate of `day` by the policy of the settings; writes and returns the record `decision`."""
    lake = Lake(settings.lake_url)
    policy = load_policy(settings.gate_policy)
    candidate, champion, evaluation = _evaluated(lake, day)
    status = champion_status(champion, candidate, day)
    outdated = outdated_versions(lake, registry.versions())
    rules = lineage_rules(candidate, champion, status, day, policy) + outdated_rules(candidate, champion, outdated)
    judgement = Judgement([], [], {}, {})
    if status != "same":
        judgement = judge(evaluation, policy, _past(lake, day))
    rules += judgement.rules
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
        "comparisons": judgement.comparisons,
        "anchor": evaluation["anchor"] and {**evaluation["anchor"], "loss_shown": judgement.loss_is_proven},
        "since_anchor": {name: asdict(total) for name, total in judgement.sums.items()},
        "pcoc": judgement.pcoc,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    lake.write_record("decision", day, record, candidate.version)
    registry.set_verdict(candidate.version, verdict)
    return record


def _past(lake: Lake, day: date) -> Past:
    before = [earlier for earlier in lake.record_days("decision") if earlier < day][-EARLIER_NIGHTS:]
    pcoc: dict[str, list[float]] = {}
    decision: dict[str, Any] = {}
    for night in before:
        decision = lake.record("decision", night) or {}
        for group, value in (decision.get("pcoc") or {}).items():
            pcoc.setdefault(group, []).append(value)
    anchor = decision.get("anchor")
    if not anchor:
        return Past(pcoc=pcoc)
    sums = {name: Sum(tuple(total["values"]), total["nights"]) for name, total in decision["since_anchor"].items()}
    return Past(anchor["version"], sums, pcoc)


def _evaluated(lake: Lake, day: date) -> tuple[ModelVersion, ModelVersion | None, dict[str, Any]]:
    """Candidate, champion and their evaluation; raises where it is not of these two."""
    train = lake.record("train", day)
    evaluation = lake.record("evaluation", day)
    if train is None or evaluation is None:
        raise MissingDataError(f"The gate of {day} needs a candidate and its evaluation: run train and evaluate first.")
    candidate = registry.get(train["version"])
    champion = registry.champion()
    evaluated = evaluation["candidate"]["version"], (evaluation["champion"] or {}).get("version")
    current = candidate.version, champion.version if champion else None
    if evaluated != current:
        raise InvalidInputError(
            f"The evaluation of {day} compares versions {evaluated[0]} and {evaluated[1]}, but candidate and champion are "
            f"{current[0]} and {current[1]} by now. Clear the evaluate task of that day."
        )
    return candidate, champion, evaluation


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
    versions = {version.version: version for version in registry.versions()}
    chain: list[ModelVersion] = []
    link: ModelVersion | None = candidate
    while link is not None and link not in chain:
        chain.append(link)
        link = versions.get(link.base_version) if link.base_version is not None else None
    latest = max(chain, key=lambda version: version.trained_through)
    evidence = {"trained_through": str(latest.trained_through), "versions": [version.version for version in chain]}
    if latest.trained_through < day:
        return Rule("lineage", "pass", f"Trained through {latest.trained_through}, before the evaluated day.", evidence)
    sentence = f"Version {latest.version} in its line was trained through {latest.trained_through}: it has seen {day}."
    return Rule("lineage", "reject", sentence, evidence)


def judge(evaluation: Mapping[str, Any], policy: Policy, past: Past) -> Judgement:
    """All rules on a day's record `evaluation`."""
    finite = _finite(evaluation)
    if finite.verdict == "reject":
        return Judgement([finite], [], {}, {})
    pcoc = list(_pcoc(evaluation, past))
    levels = Levels.of(policy.risks, len(pcoc))
    rules = [finite, *auc_is_sane(evaluation["headline"]["candidate"]["auc"], policy.sanity)]
    rules += [calibrated(group, levels, policy.calibration) for group in pcoc]
    pcoc_of_champion = {group.group: round(log(group.champion), 6) for group in pcoc if group.champion}
    if evaluation["unusable"].get("champion"):
        sentence = (
            "The champion has no probability for every row: it predicts values that are none, or does not know a scene that "
            "the settings have got since. Look at it before anything is promoted."
        )
        return Judgement([*rules, Rule("champion", "hold", sentence, {})], [], {}, {})
    if evaluation["headline"]["change"] is None:
        return Judgement(rules, [], {}, pcoc_of_champion)
    tonight, seen, better = _beside_champion(evaluation, policy)
    since, sums = _beside_anchor(evaluation, policy, past, better)
    return Judgement([*rules, *tonight, *since], seen, sums, pcoc_of_champion)


def _beside_champion(
    evaluation: Mapping[str, Any], policy: Policy
) -> tuple[list[Rule], list[dict[str, Any]], set[str]]:
    """Rules, what each comparison saw, and the names of those in which the candidate is better."""
    comparisons = with_champion(evaluation, policy.losses)
    levels = _levels(comparisons, policy)
    rules = [beside_champion(comparison, levels[comparison.family]) for comparison in comparisons]
    entries = [
        {
            **asdict(comparison),
            "verdict": rule.verdict,
            "sees": None if comparison.se is None else round(levels[comparison.family].sees(comparison.se), 6),
        }
        for comparison, rule in zip(comparisons, rules, strict=True)
    ]
    return (
        rules,
        entries,
        {comparison.name for comparison in comparisons if comparison.low is not None and comparison.low > 0},
    )


def _beside_anchor(
    evaluation: Mapping[str, Any], policy: Policy, past: Past, better: set[str]
) -> tuple[list[Rule], dict[str, Sum]]:
    """Rules, and the evidence since the anchor with tonight's."""
    anchor = evaluation["anchor"]
    if not anchor:
        return [], {}
    comparisons = with_anchor(evaluation, policy.losses)
    if not comparisons:
        why = anchor["note"] or "It does not know a scene that the settings have got since, or predicts no numbers."
        sentence = f"Version {anchor['version']} of {anchor['log_day']}, the anchor, cannot be compared with: {why}"
        return [Rule("anchor", "note", sentence, {})], {}
    levels = Levels.of(policy.risks, len(comparisons))
    rules = []
    sums = {}
    for comparison in comparisons:
        total = past.sums.get(comparison.name, Sum()) if past.anchor == anchor["version"] else Sum()
        if comparison.change is not None and comparison.se:
            total = total.with_night(-comparison.change - comparison.matters, comparison.se)
        sums[comparison.name] = total
        rules.append(beside_anchor(comparison, total, levels, anchor, comparison.name in better))
    return rules, sums


def _levels(comparisons: Sequence[Comparison], policy: Policy) -> dict[str, Levels]:
    """Of each family; one that cannot be compared takes no share of the risks."""
    compared = [comparison.family for comparison in comparisons if comparison.change is not None]
    return {family: Levels.of(policy.risks, compared.count(family)) for family in ("overall", "scenes", "cold")}


def _pcoc(evaluation: Mapping[str, Any], past: Past) -> Sequence[Pcoc]:
    """Of all rows, and of each scene that has clicks enough."""
    result = []
    for group in evaluation["groups"]:
        if group["by"] not in ("all", "scene") or not group["candidate"]:
            continue
        estimate = group["candidate"]["pcoc"]
        if estimate["value"] is None or estimate["low"] <= 0 or group["clicks"] < PCOC_CLICKS:
            continue
        key = group["scene"] or "all"
        name, title = ("pcoc", "PCOC") if key == "all" else (f"pcoc of scene {key}", f"PCOC of scene {key}")
        champion = (group["champion"] or {}).get("pcoc", {}).get("value")
        result.append(
            Pcoc(
                key, name, title, estimate["value"], estimate["low"], estimate["high"], champion, past.pcoc.get(key, ())
            )
        )
    return result


def verdict_of(rules: list[Rule]) -> str:
    """The most severe of the rules' verdicts: promote, hold or reject."""
    worst = max((rule.verdict for rule in rules), key=_SEVERITY.index)
    return worst if worst in ("hold", "reject") else "promote"


def reasons_of(rules: list[Rule], verdict: str) -> list[str]:
    """The sentences that explain a verdict: what stands in the way, or else what speaks for promotion."""
    if verdict == "promote":
        telling = [rule for rule in rules if rule.name in (*HEADLINE, "champion", "outdated")]
        return [rule.sentence for rule in telling] or ["Every rule is met."]
    blocking = [rule for rule in rules if rule.verdict in ("hold", "reject")]
    return [rule.sentence for rule in sorted(blocking, key=lambda rule: -_SEVERITY.index(rule.verdict))]


def _finite(evaluation: Mapping[str, Any]) -> Rule:
    wrong = evaluation["unusable"]["candidate"]
    rows = evaluation["rows"]
    if not wrong:
        return Rule("finite", "pass", f"All {rows:,} predictions are numbers in [0, 1].", {})
    sentence = f"{wrong:,} of {rows:,} predictions are not numbers in [0, 1]."
    return Rule("finite", "reject", sentence, {"wrong": wrong, "rows": rows})
