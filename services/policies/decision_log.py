"""An answer that is put to policies by hand, and what they decide, in the field names of OPA's decision log.

Pure but for the time that it is given. Next: evaluation.py; testing.py, which expects such results.
Source: https://www.openpolicyagent.org/docs/management-decision-logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from tidegate.schemas import Answer, Check, Citation, Decision, Question, Where, Workload, Writing, WritingReport
from tidegate.schemas.answer import Format
from tidegate.schemas.message import Share
from tidegate.services.policies.case import Case
from tidegate.services.policies.evaluation import PolicyEvaluation, evaluate
from tidegate.services.policies.facts import Circumstances
from tidegate.services.policies.policy import FindPersonal, Policy

PATH = "tidegate/policy/answer"
PASSES_FROM = 0.5
"""The score from which a check of an input counts as passed."""
PolicyVerdict = Literal["allow", "transform", "abstain", "block"]


class CitedInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A citation: of which document, in which words, and what is known of it."""

    document: str
    quote: str
    signer: str = ""
    collection: str = ""
    is_fresh: bool = True


class PolicyInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An answer (`text`) to a `question`, with as much of its facts as matters; `checks` are scores by name."""

    text: str
    question: str = ""
    language: str = "en"
    intent: str = ""
    intent_confidence: Share = 1.0
    workload: Workload = "assist"
    format: Format = "text"
    writing: Writing = "quote"
    confidence: Share = 1.0
    checks: dict[str, Share] = {}
    citations: Annotated[tuple[CitedInput, ...], msgspec.Meta(max_length=256)] = ()
    personal_tokens: tuple[str, ...] = ()
    tenant: str = "tenant"
    site: str = "site1"
    route: Where = "edge"
    tools: tuple[str, ...] = ()
    degradations: tuple[str, ...] = ()
    is_provisional: bool = False
    is_evidence_only: bool = False

    def to_case(self) -> Case:
        """What the policy stage would be given."""
        question = Question(
            text=self.question,
            language=self.language,
            intent=self.intent,
            intent_confidence=self.intent_confidence,
            workload=self.workload,
            vault_tokens=self.personal_tokens,
        )
        answer = Answer(
            text=self.text,
            format=self.format,
            citations=tuple(map(_cite, self.citations)),
            confidence=self.confidence,
            checks=tuple(Check(name, score >= PASSES_FROM, score) for name, score in self.checks.items()),
            writing=None if self.writing == "quote" else WritingReport(mode=self.writing, sentences=1),
        )
        here = Circumstances(
            tenant=self.tenant,
            site=self.site,
            route=self.route,
            tools=self.tools,
            degradations=self.degradations,
            is_provisional=self.is_provisional,
            is_evidence_only=self.is_evidence_only,
        )
        return Case(question, answer, here)


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the policies decide: the strongest of their verbs, the refusal's code, the text as it may pass."""

    verb: PolicyVerdict
    reason: str = ""
    text: str = ""
    notices: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a decision log. `decision_id` is the same for the same input under the same policies."""

    decision_id: str
    labels: dict[str, str]
    bundles: dict[str, dict[str, str]]
    path: str
    input: Any
    result: PolicyResult
    timestamp: str


def decide(case: Case, policies: Sequence[Policy], find_personal: FindPersonal) -> PolicyResult:
    """What the policies decide on a case."""
    found = evaluate(case, policies, find_personal)
    return PolicyResult(
        verb=name_verdict(found),
        reason=found.refusal,
        text="" if found.refusal else found.answer.text,
        notices=found.notices,
        decisions=found.decisions,
    )


def name_verdict(found: PolicyEvaluation) -> PolicyVerdict:
    """One verb for an evaluation."""
    if found.refusal:
        return "abstain" if found.refusal == "abstained" else "block"
    return "transform" if any(each.verb == "transform" for each in found.decisions) else "allow"


def record_decision(
    given: PolicyInput, policies: Sequence[Policy], find_personal: FindPersonal, *, at_s: float, version: str
) -> DecisionRecord:
    """The line for one input; `at_s` is Unix time, `version` that of the software."""
    revisions = {policy.id: {"revision": policy.version} for policy in policies}
    known = msgspec.json.encode([msgspec.to_builtins(given), revisions], order="deterministic")
    return DecisionRecord(
        decision_id=str(UUID(bytes=sha256(known).digest()[:16], version=5)),
        labels={"id": given.site, "tenant": given.tenant, "version": version},
        bundles=revisions,
        path=PATH,
        input=given,
        result=decide(given.to_case(), policies, find_personal),
        timestamp=datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


def _cite(cited: CitedInput) -> Citation:
    return Citation(
        document_id=cited.document,
        document_version="",
        start=0,
        end=len(cited.quote),
        quote=cited.quote,
        signer=cited.signer,
        collection=cited.collection,
        is_fresh=cited.is_fresh,
    )
