"""The promotion gate: a verdict on the day's candidate, with its reasons and the evidence of every rule.

It decides from the day's record `evaluation`, and records; what promotes is `include.orchestration.decision.apply_decision`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import log

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake
from include.metrics_records import DayMetrics, value_of
from include.records import (
    Anchor,
    Comparison,
    Decision,
    EvaluatedVersion,
    Evaluation,
    Rule,
    RuleVerdict,
    SinceAnchor,
    Train,
    Verdict,
)
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.registry.outdated import ReplacedDays, outdated_versions, sentence
from include.settings import Settings
from training.evaluate.champion_status import champion_status
from training.gate.comparisons import with_anchor, with_champion
from training.gate.policy import Policy, load_policy
from training.gate.rules import (
    Levels,
    Pcoc,
    Sum,
    auc_is_sane,
    beside_anchor,
    beside_champion,
    calibrated,
)

HEADLINE = ("auc", "log loss")
"""The comparisons that the reasons of a promotion quote."""
EARLIER_NIGHTS = 28
"""Nights whose PCOC give its usual range."""
PCOC_CLICKS = 50
"""Clicks that a group needs for its PCOC to be judged."""
_SEVERITY: list[RuleVerdict] = ["pass", "note", "hold", "reject"]


@dataclass(frozen=True)
class Past:
    """Evidence of earlier nights.

    `sums` of the last decision since `anchor` (a version), by comparison; `pcoc`: the logarithms of the champions' PCOC
    of the nights before, by group.
    """

    anchor: int | None = None
    sums: Mapping[str, Sum] = field(default_factory=dict)
    pcoc: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """Rules and comparisons of a night, and what later nights need: sums of evidence, and logarithms of the champion's PCOC."""

    rules: list[Rule]
    comparisons: list[Comparison]
    sums: dict[str, Sum]
    pcoc: dict[str, float]

    @property
    def loss_is_proven(self) -> bool:
        """Whether the nights since the anchor prove a loss."""
        return any(rule.evidence.get("loss_shown") for rule in self.rules)


def run(day: date, may_promote: bool, settings: Settings) -> Decision:
    """Judge the candidate of `day` by the policy of the settings; write and return the record `decision`.

    Raises `MissingDataError` without a candidate and its evaluation, and `InvalidInputError` for an evaluation of others.
    """
    lake = Lake(settings.lake_url)
    policy = load_policy(settings.gate_policy)
    candidate, champion, evaluation = _evaluated(lake, day)
    status = champion_status(champion, candidate, day)
    outdated = outdated_versions(lake, registry.versions())
    rules = lineage_rules(candidate, champion, status, day, policy) + outdated_rules(candidate, champion, outdated)
    judgement = Judgement([], [], {}, {})
    if status != "same":
        judgement = judge(evaluation, evaluation.anchor, policy, _past(lake, day))
    rules += judgement.rules
    verdict = verdict_of(rules)
    anchor = evaluation.anchor
    record = Decision(
        day=day,
        verdict=verdict,
        reasons=reasons_of(rules, verdict),
        rules=rules,
        candidate=candidate.version,
        champion=champion.version if champion else None,
        may_promote=may_promote,
        policy=policy.model_dump(mode="json"),
        comparisons=judgement.comparisons,
        anchor=Anchor(**dict(anchor), loss_shown=judgement.loss_is_proven) if anchor else None,
        since_anchor={
            name: SinceAnchor(values=total.values, nights=total.nights) for name, total in judgement.sums.items()
        },
        pcoc=judgement.pcoc,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    lake.write_record(record)
    registry.set_verdict(candidate.version, verdict)
    return record


def _past(lake: Lake, day: date) -> Past:
    nights = [earlier for earlier in lake.record_days(Decision) if earlier < day][-EARLIER_NIGHTS:]
    decisions = [decision for night in nights if (decision := lake.record(Decision, night))]
    pcoc: dict[str, list[float]] = {}
    for decision in decisions:
        for group, value in decision.pcoc.items():
            pcoc.setdefault(group, []).append(value)
    last = decisions[-1] if decisions else None
    if last is None or last.anchor is None:
        return Past(pcoc=pcoc)
    sums = {name: Sum(total.values, total.nights) for name, total in last.since_anchor.items()}
    return Past(last.anchor.version, sums, pcoc)


def _evaluated(lake: Lake, day: date) -> tuple[ModelVersion, ModelVersion | None, Evaluation]:
    """Return candidate, champion and their evaluation; raises where it is not of these two."""
    train = lake.record(Train, day)
    evaluation = lake.record(Evaluation, day)
    if train is None or evaluation is None:
        raise MissingDataError(f"The gate of {day} needs a candidate and its evaluation. Next: run train and evaluate.")
    candidate = registry.get(train.version)
    champion = registry.champion()
    evaluated = evaluation.candidate.version, evaluation.champion.version if evaluation.champion else None
    current = candidate.version, champion.version if champion else None
    if evaluated != current:
        raise InvalidInputError(
            f"The evaluation of {day} compares versions {evaluated[0]} and {evaluated[1]}, but candidate and champion are "
            f"now {current[0]} and {current[1]}. Next: clear the evaluate task of that day."
        )
    return candidate, champion, evaluation


def lineage_rules(
    candidate: ModelVersion, champion: ModelVersion | None, status: str, day: date, policy: Policy
) -> list[Rule]:
    """Check, by the days that the models were trained on, that they may be judged on this day at all."""
    rules = [_unseen_by_candidate(candidate, day)]
    if status == "same":
        rules.append(Rule("champion", "pass", "The candidate is already the champion: nothing changes.", {}))
        return rules
    if candidate.rolled_back_at:
        rules.append(
            Rule(
                "rolled back",
                "hold",
                f"Version {candidate.version} was champion until it was rolled back at {candidate.rolled_back_at}. "
                "A person decides.",
                {"rolled_back_at": candidate.rolled_back_at},
            )
        )
    if champion is None:
        rules.append(Rule("champion", "pass", "There is no champion yet: only the absolute checks apply.", {}))
    elif status == "seen":
        evidence = {"trained_through": str(champion.trained_through), "log_day": str(champion.log_day)}
        sentence = (
            f"Champion {champion.version} was trained through {champion.trained_through} by the run of {champion.log_day}, "
            f"so a comparison on {day} would favour it. Next: `ctr rollback --to VERSION` returns to an older model."
        )
        rules.append(Rule("champion", policy.champion_has_seen_day, sentence, evidence))
    return rules


def outdated_rules(
    candidate: ModelVersion, champion: ModelVersion | None, outdated: dict[int, ReplacedDays]
) -> list[Rule]:
    """Check whether a model was trained on rows that were replaced since.

    A person decides on such a candidate, and a candidate need not be proven to be as good as such a champion.
    """
    rules = []
    if candidate.version in outdated:
        next_step = "Next: clear the train task of that day, so that it is trained on the present rows."
        rules.append(_outdated(candidate, "hold", outdated, next_step))
    if champion and champion.version in outdated:
        rules.append(
            _outdated(champion, "note", outdated, "It is replaced unless the candidate is proven to be worse.")
        )
    return rules


def _outdated(version: ModelVersion, verdict: RuleVerdict, outdated: dict[int, ReplacedDays], consequence: str) -> Rule:
    days = outdated[version.version]
    evidence = {"version": version.version, "replaced": {str(day): round(share, 4) for day, share in days.items()}}
    return Rule("outdated", verdict, f"{sentence(version.version, days)} {consequence}", evidence)


def _unseen_by_candidate(candidate: ModelVersion, day: date) -> Rule:
    """Check that the candidate, and every version that its weights come from, was trained on earlier days only."""
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
    sentence = (
        f"Version {latest.version} of its lineage was trained through {latest.trained_through}: it has seen {day}."
    )
    return Rule("lineage", "reject", sentence, evidence)


def judge(metrics: DayMetrics, anchor: EvaluatedVersion | None, policy: Policy, past: Past) -> Judgement:
    """Apply all rules to a day's metrics; `anchor` is that of the evaluation."""
    finite = _finite(metrics)
    if finite.verdict == "reject":
        return Judgement([finite], [], {}, {})
    pcoc = list(_pcoc(metrics, past))
    levels = Levels.of(policy.risks, len(pcoc))
    candidate = metrics.headline.candidate or {}
    rules = [finite, *auc_is_sane(candidate["auc"], policy.sanity)]
    rules += [calibrated(group, levels, policy.calibration) for group in pcoc]
    pcoc_of_champion = {group.group: round(log(group.champion), 6) for group in pcoc if group.champion}
    if metrics.unusable.get("champion"):
        sentence = (
            "Some predictions of the champion are missing or not in [0, 1]: the settings may have a scene that it was not "
            "trained for. Next: check the champion before promoting anything."
        )
        return Judgement([*rules, Rule("champion", "hold", sentence, {})], [], {}, {})
    if metrics.headline.change is None:
        return Judgement(rules, [], {}, pcoc_of_champion)
    tonight, comparisons = _beside_champion(metrics, policy)
    better = {comparison.name for comparison in comparisons if comparison.low is not None and comparison.low > 0}
    since, sums = _beside_anchor(metrics, anchor, policy, past, better)
    return Judgement([*rules, *tonight, *since], comparisons, sums, pcoc_of_champion)


def _beside_champion(metrics: DayMetrics, policy: Policy) -> tuple[list[Rule], list[Comparison]]:
    """Return rules, and the comparisons with their verdicts for the record."""
    comparisons = with_champion(metrics, policy.losses)
    levels = _levels(comparisons, policy)
    rules = [beside_champion(comparison, levels[comparison.family]) for comparison in comparisons]
    judged = []
    for comparison, rule in zip(comparisons, rules, strict=True):
        sees = None if comparison.se is None else round(levels[comparison.family].sees(comparison.se), 6)
        judged.append(comparison.model_copy(update={"verdict": rule.verdict, "sees": sees}))
    return rules, judged


def _beside_anchor(
    metrics: DayMetrics, anchor: EvaluatedVersion | None, policy: Policy, past: Past, better: set[str]
) -> tuple[list[Rule], dict[str, Sum]]:
    """Return rules, and the evidence since the anchor with tonight's."""
    if not anchor:
        return [], {}
    comparisons = with_anchor(metrics, policy.losses)
    if not comparisons:
        why = anchor.note or "it was not trained for a scene of the settings, or predicts values outside [0, 1]."
        sentence = f"Version {anchor.version} of {anchor.log_day}, the anchor, cannot be compared: {why}"
        return [Rule("anchor", "note", sentence, {})], {}
    levels = Levels.of(policy.risks, len(comparisons))
    rules = []
    sums = {}
    for comparison in comparisons:
        total = past.sums.get(comparison.name, Sum()) if past.anchor == anchor.version else Sum()
        if comparison.change is not None and comparison.se:
            total = total.with_night(-comparison.change - comparison.matters, comparison.se)
        sums[comparison.name] = total
        rules.append(beside_anchor(comparison, total, levels, anchor, comparison.name in better))
    return rules, sums


def _levels(comparisons: Sequence[Comparison], policy: Policy) -> dict[str, Levels]:
    """Return the levels of each family; a comparison without a change takes no share of the risks."""
    compared = [comparison.family for comparison in comparisons if comparison.change is not None]
    return {family: Levels.of(policy.risks, compared.count(family)) for family in ("overall", "scenes", "cold")}


def _pcoc(metrics: DayMetrics, past: Past) -> Sequence[Pcoc]:
    """Return the PCOC of all rows, and of each scene with enough clicks."""
    result = []
    for group in metrics.groups:
        if group.by not in ("all", "scene") or not group.candidate:
            continue
        interval = group.candidate["pcoc"].interval
        if interval is None or interval.low <= 0 or group.clicks < PCOC_CLICKS:
            continue
        key = group.scene or "all"
        name, title = ("pcoc", "PCOC") if key == "all" else (f"pcoc of scene {key}", f"PCOC of scene {key}")
        champion = value_of(group.champion, "pcoc")
        result.append(Pcoc(key, name, title, *interval, champion, past.pcoc.get(key, ())))
    return result


def verdict_of(rules: list[Rule]) -> Verdict:
    """Return the most severe of the rules' verdicts: promote, hold or reject."""
    worst = max((rule.verdict for rule in rules), key=_SEVERITY.index)
    return worst if worst in ("hold", "reject") else "promote"


def reasons_of(rules: list[Rule], verdict: str) -> list[str]:
    """Return the sentences that explain a verdict: the rules that block promotion, or else those that support it."""
    if verdict == "promote":
        telling = [rule for rule in rules if rule.name in (*HEADLINE, "champion", "outdated")]
        return [rule.sentence for rule in telling] or ["Every rule is met."]
    blocking = [rule for rule in rules if rule.verdict in ("hold", "reject")]
    return [rule.sentence for rule in sorted(blocking, key=lambda rule: -_SEVERITY.index(rule.verdict))]


def _finite(metrics: DayMetrics) -> Rule:
    wrong = metrics.unusable["candidate"]
    rows = metrics.rows
    if not wrong:
        return Rule("finite", "pass", f"All {rows:,} predictions are numbers in [0, 1].", {})
    sentence = f"{wrong:,} of {rows:,} predictions are not numbers in [0, 1]."
    return Rule("finite", "reject", sentence, {"wrong": wrong, "rows": rows})
