"""The white paper's policy, and any policy as the file of a pack states it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Degradation, Drafted, Escalated, Question, Suggestion, Verified
from tidegate.services.policies.case import Case
from tidegate.services.policies.circumstances import describe_circumstances
from tidegate.services.policies.evaluation import PolicyEvaluation, evaluate
from tidegate.services.policies.facts import Circumstances
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.suggestions import allow_suggestions
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import JudgingRules, evaluate_answer
from tidegate.services.stages.policy import open as open_policy
from tidegate.services.stages.policy.handler import PolicyPorts

WHITE_PAPER = """\
policy_id: safe-answers-v3
allow:
  - grounded_claims
transform:
  - redact_pii
block:
  - speculative_financial_promises
abstain_thresholds:
  entailment: 0.85
"""


HERE = Circumstances(tenant="kiosk", site="site1")


def judge_here(
    question: Question,
    answer: Answer,
    policies: Sequence[Policy],
    find_personal: FindPersonal = lambda _: (),
    here: Circumstances = HERE,
) -> PolicyEvaluation:
    """What the policies say of an answer that the site gives."""
    return evaluate(Case(question, answer, here), policies, find_personal)


def policy(tmp_path: Path, text: str = WHITE_PAPER, name: str = "p.yaml") -> Policy:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_policies([path])[0]


def ports(
    *policies: Policy,
    find_personal: FindPersonal = lambda _: (),
    required_degradation: Callable[[Drafted], Degradation | None] = lambda _: None,
    escalated: Escalated | None = None,
) -> PolicyPorts:
    """The policy stage's ports over these policies, evaluated as in the product."""

    async def suggest(answered: Drafted | Verified) -> tuple[Suggestion, ...]:
        own = answered.suggestions if isinstance(answered, Verified) else ()
        here = describe_circumstances(answered, is_provisional=False)
        return allow_suggestions(answered.question, own, policies, find_personal, here)

    async def own_escalation(_: Verified) -> Escalated | None:
        return escalated

    return PolicyPorts(
        partial(evaluate_answer, JudgingRules(policies, find_personal)),
        required_degradation,
        suggest,
        own_escalation,
    )


def open_stage(pack: Path) -> AbstractAsyncContextManager[Handler]:
    """The stage with the policies of a pack's folder, in a state directory of its own: the usual one may be in use."""
    return open_policy(Settings(pack_dir=str(pack), state_dir=str(pack / "state")), MemoryBus("site1"))
