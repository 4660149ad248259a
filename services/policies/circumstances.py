"""Reads from a fact of the pipeline where and for whom its answer is judged, in the stage as in a replay of its facts.

Pure. Next: facts.py; services/stages/policy."""

from __future__ import annotations

from tidegate.schemas import Drafted, Partial, Verified
from tidegate.services.planning.standing import rung_of
from tidegate.services.policies.facts import Circumstances


def describe_circumstances(answered: Drafted | Verified | Partial, *, is_provisional: bool) -> Circumstances:
    """Those of an answer, whole or in the making; the tools are those of its lineage."""
    from_cloud = isinstance(answered, Verified) or (isinstance(answered, Partial) and answered.source == "cloud")
    return Circumstances(
        tenant=answered.tenant,
        site=answered.site,
        route="cloud" if from_cloud else "edge",
        tools=tuple(dict.fromkeys(part.id for part in answered.lineage if part.kind == "tool")),
        degradations=tuple(dict.fromkeys(made.level for made in answered.degradations)),
        is_provisional=is_provisional,
        is_evidence_only=rung_of(answered.degradations) == "evidence-only",
    )
