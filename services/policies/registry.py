"""Every rule that a policy can name, with its meaning, what it takes, and whether provisional answers must pass it too.

The language, the pack validator and the evaluation know no other list; next: services/policies/language.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from tidegate.services.policies.content_rules import legal_advice, medical_advice, speculative_financial_promises
from tidegate.services.policies.grounding import confidence, entailment, grounded_claims
from tidegate.services.policies.policy import AllowRule, BlockRule, PolicyVerb, ScoreRule, TransformRule
from tidegate.services.policies.redaction import redact_pii

R = TypeVar("R")


def _by_name(*verbs: PolicyVerb[R]) -> Mapping[str, PolicyVerb[R]]:
    return MappingProxyType({verb.name: verb for verb in verbs})


ALLOW: Mapping[str, PolicyVerb[AllowRule]] = _by_name(
    PolicyVerb("grounded_claims", grounded_claims, "every claim rests on a citation, or the JSON fits its schema"),
)
TRANSFORM: Mapping[str, PolicyVerb[TransformRule]] = _by_name(
    PolicyVerb("redact_pii", redact_pii, "personal values become [redacted], but for public contacts"),
)
BLOCK: Mapping[str, PolicyVerb[BlockRule]] = _by_name(
    PolicyVerb("speculative_financial_promises", speculative_financial_promises, "the answer promises a gain of money"),
    PolicyVerb("legal_advice", legal_advice, "the answer advises one person as only a lawyer may"),
    PolicyVerb("medical_advice", medical_advice, "the answer advises one person as only a doctor may"),
)
THRESHOLDS: Mapping[str, PolicyVerb[ScoreRule]] = _by_name(
    PolicyVerb(
        "entailment",
        entailment,
        "how far the cited passages entail the answer",
        "a number from 0 to 1",
        judges_provisional=False,
    ),
    PolicyVerb(
        "confidence",
        confidence,
        "the calibrated share of right answers",
        "a number from 0 to 1",
        judges_provisional=False,
    ),
)
PARTS: Mapping[str, Mapping[str, PolicyVerb[Any]]] = MappingProxyType(
    {"allow": ALLOW, "transform": TRANSFORM, "block": BLOCK, "abstain_thresholds": THRESHOLDS}
)
"""The parts of a policy, each with the rules that it may name."""


def describe(part: str) -> str:
    """The rules of a part in one line, as a hint names them."""
    return "; ".join(f"{verb.name} ({verb.meaning})" for verb in PARTS[part].values())
