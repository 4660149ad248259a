"""What a policy is, and the four kinds of rules that it is made of: types only.

Next: services/policies/registry.py, every rule by its name; services/policies/language.py, the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tidegate.schemas import Answer, Question
from tidegate.services.policies.boundaries import Boundaries
from tidegate.services.policies.conditions import Condition
from tidegate.services.policies.obligations import Obligation
from tidegate.services.policies.sources import SourceRules
from tidegate.services.policies.stated import StatedRules
from tidegate.services.privacy.dlp.finding import Finding

FindPersonal = Callable[[str], Sequence[Finding]]
"""The personal data in a text."""
AllowRule = Callable[[Answer], tuple[bool, str]]
"""Whether the answer may pass, and why or why not."""
TransformRule = Callable[[Answer, FindPersonal], tuple[Answer, str]]
"""The answer as it may pass, and what was changed in it; empty when nothing was."""
BlockRule = Callable[[Question, Answer], str]
"""Why the answer may not pass; empty when it may."""
ScoreRule = Callable[[Answer], float | None]
"""The answer's score in 0…1; None where it cannot have one, or has not been measured though it should."""

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class PolicyVerb(Generic[R_co]):
    """A rule under the name by which policies ask for it. `parameter` says what it takes there, if anything.

    `judges_provisional`: an answer that can still be retracted must pass it too.
    """

    name: str
    rule: R_co
    meaning: str
    parameter: str = ""
    judges_provisional: bool = True

    def applies(self, is_provisional: bool) -> bool:
        """Whether it has to judge an answer that is provisional, or is not."""
        return self.judges_provisional or not is_provisional


@dataclass(frozen=True)
class Policy:
    """One policy in force. `version` is the first 12 hex digits of the sha256 of its canonical JSON."""

    id: str
    version: str
    allow: Mapping[str, PolicyVerb[AllowRule]]
    transform: Mapping[str, PolicyVerb[TransformRule]]
    block: Mapping[str, PolicyVerb[BlockRule]]
    abstain_thresholds: Mapping[str, tuple[PolicyVerb[ScoreRule], float]]
    class_thresholds: Mapping[str, Mapping[str, tuple[PolicyVerb[ScoreRule], float]]] = field(default_factory=dict)
    """For intents and workloads their own thresholds, in place of those of `abstain_thresholds`."""
    no_suggestions: frozenset[str] = frozenset()
    """The intents and workloads whose abstentions come without the nearest passages."""
    high_risk: frozenset[str] = frozenset()
    """The intents and workloads that are of high risk beside the shipped classes; see `high_risk`."""
    sources: SourceRules = field(default_factory=SourceRules)
    """Whose documents an answer may rest on."""
    writing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For `grounded`, `free` and `egress` the intents and workloads that they are allowed for; see `writing`."""
    when: Mapping[str, Condition] = field(default_factory=dict)
    """For rules of the registry, as `block/legal_advice`, which cases they are asked about; others: about every one."""
    stated: Mapping[str, StatedRules] = field(default_factory=dict)
    """For `allow` and `block` the rules that the policy states itself."""
    boundaries: Boundaries = field(default_factory=Boundaries)
    """The languages of questions, how far these may go, and the tools that may help to answer them."""
    obligations: tuple[Obligation, ...] = ()
    """What has to be done with an answer that passes."""
    part: str = ""
    """The name under which it was published; empty where it is read from a pack."""
    epoch: int = 0
    """How many versions were published under that name, this one included; 0 where it is read from a pack."""
    canonical: str = ""
    """The canonical JSON that `version` is the digest of."""

    def stated_under(self, part: str) -> StatedRules:
        """The rules of its own under `allow` or `block`."""
        return self.stated.get(part, StatedRules())

    def thresholds_for(self, question: Question) -> dict[str, tuple[PolicyVerb[ScoreRule], float]]:
        """What the scores of an answer to the question must reach; of an intent and a workload the higher one."""
        found = dict(self.abstain_thresholds)
        own: dict[str, tuple[PolicyVerb[ScoreRule], float]] = {}
        for each in (question.workload, question.intent):
            for score, (verb, least) in self.class_thresholds.get(each, {}).items():
                own[score] = (verb, max(least, own[score][1]) if score in own else least)
        return found | own
