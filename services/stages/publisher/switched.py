"""What the switch to evidence-only does to an answer at its last stop, whatever the stages before it were told.

Pure; what is in force is looked up for each answer, never taken from the request. Next: services/fleet/switches.py;
services/policies/evidence_only.py, what is left of an answer."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas import Answer, Approved, Artefact, Decision, Withheld, replace
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.services.stages.publisher.handler import EVIDENCE_ONLY
from tidegate.sync.trust.switches import HeldSwitch

RULE = "switch/evidence_only"
KeepToEvidence = Callable[[Answer], tuple[Answer, Decision] | None]
"""The quotations that an answer rests on, and how that was decided; None where it holds none."""


def enforce(approved: Approved, held: HeldSwitch, keep_to_evidence: KeepToEvidence) -> Approved | Withheld:
    """The answer in the words of documents alone, or none. The receipt names the switch, and why it is on."""
    part, why = artefact_of(held), f"evidence-only is on for {held.switch.scope}: {held.switch.why}"
    kept = keep_to_evidence(approved.answer)
    if kept is not None:
        answer, found = kept
        decision = Decision(RULE, found.verb, f"{found.reason}; {why}")
        lineage = (*approved.lineage, part)
        return replace(approved, answer=answer, decisions=(*approved.decisions, decision), lineage=lineage)
    language = approved.question.language
    return approved.followed_by(
        Withheld,
        part,
        reason=EVIDENCE_ONLY,
        stage="publisher",
        language=language,
        text=refusal_text(EVIDENCE_ONLY, language),
        plan=approved.plan,
        route=approved.route,
        decisions=(*approved.decisions, Decision(RULE, "block", f"it quotes nothing; {why}")),
        question=approved.question,
        speculation=approved.answer.speculation,
    )


def artefact_of(held: HeldSwitch) -> Artefact:
    """A switch as receipts name it: by the digest that the hub has signed, or as an incident's."""
    return Artefact("switch", held.switch.name, held.digest[:12] or "incident", held.epoch)
