"""What the site's verifier asks of a draft: whether what it cites bears it out and nothing else contradicts that, and
whether the policies would let it pass.

The time for it is what the plan leaves the drafter. Next: services/answering/verifier.py, the order and the budget;
handler.py, which escalates what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from tidegate.schemas import Answer, Retrieved
from tidegate.services.answering.contradictions import find_contradictions
from tidegate.services.answering.draft_support import check_draft
from tidegate.services.answering.verifier import CheckCosts, CheckName, CheckOutcome, VerifierCheck, verify, with_report
from tidegate.services.planning.degradation import allowance_ms
from tidegate.services.policies.case import Case
from tidegate.services.policies.evaluation import find_blocks
from tidegate.services.policies.facts import Circumstances
from tidegate.services.policies.high_risk import CHECK, risks_of
from tidegate.services.policies.policy import Policy
from tidegate.services.stages.threads import in_thread_unless, is_brief

INLINE_MS = 1.0
"""Checks that are expected to take less are run in the stage's own loop."""


class DraftVerifier:
    """The verifier of one process, which learns what its checks take. `clock_s` is Unix time."""

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        self._costs = CheckCosts()
        self._clock_s = clock_s

    async def verify(
        self, policies: Sequence[Policy], retrieved: Retrieved, answer: Answer
    ) -> tuple[Answer, CheckName | Literal[""]]:
        """See `DrafterPorts`."""
        checks = checks_of(policies, retrieved, answer)
        is_quick = is_brief(answer) and sum(self._costs.expected_ms(each.name) for each in checks) < INLINE_MS
        report = await in_thread_unless(
            is_quick, partial(verify, checks, self._budget_ms(retrieved), self._costs, _clock_ms)
        )
        failed = report.failed
        if not failed and CHECK in report.not_run and risks_of(retrieved.question, policies):
            failed = CHECK  # what may do harm is not left unverified where somebody can be asked
        return with_report(answer, report), failed

    def _budget_ms(self, retrieved: Retrieved) -> float:
        left_ms = retrieved.deadline_at_ms - self._clock_s() * 1000
        return allowance_ms("drafter", retrieved.plan.shares_ms, retrieved.timings, left_ms)


def checks_of(policies: Sequence[Policy], retrieved: Retrieved, answer: Answer) -> tuple[VerifierCheck, ...]:
    """The checks of a text; JSON is checked by its schema as it is made."""

    def entailment() -> CheckOutcome:
        found = find_contradictions(answer.citations, retrieved.passages)
        cited = max(1, len({citation.quote for citation in answer.citations}))
        contradicted = min(cited, len({one for one, _ in found}))
        support = check_draft(retrieved.question, answer, retrieved.passages)
        return CheckOutcome(not found and support.passed, min(support.score, 1.0 - contradicted / cited))

    def policy() -> CheckOutcome:
        given_up = tuple(dict.fromkeys(made.level for made in retrieved.degradations))
        here = Circumstances(tenant=retrieved.tenant, site=retrieved.site, degradations=given_up)
        case = Case(retrieved.question, answer, here)
        is_blocked = any(decision.verb == "block" for decision in find_blocks(case, policies))
        return CheckOutcome(not is_blocked, float(not is_blocked))

    return (VerifierCheck("entailment", entailment), VerifierCheck("policy", policy))


def _clock_ms() -> float:
    return time.perf_counter() * 1000
