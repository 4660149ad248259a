"""Values of the types on the wire with what the golden files do not have: fields that came later, other values."""

from __future__ import annotations

import msgspec

from tests.support.message_parts import (
    ANSWER,
    BASIS,
    CHECKS,
    CITATION,
    FIELD,
    FOLLOW_UP,
    INSTRUCTED,
    LINEAGE,
    MISSING_FIELD,
    PASSAGE,
    PLAN,
    QUESTION,
    RACE,
    RECEIPT,
    REPLICATED,
    REPORT,
    SUGGESTION,
    WHOSE,
)
from tests.support.message_samples import SAMPLES
from tidegate.schemas import (
    ArtefactDescriptor,
    CloudState,
    Degradation,
    Delta,
    DownlinkReply,
    DownlinkRequest,
    Draft,
    Escalated,
    Evidence,
    ForecastOutcome,
    InstructionsReport,
    Message,
    Partial,
    Published,
    ReplicaStatus,
    Replied,
    Retrieved,
    Rewriting,
    Speculation,
    StreamCheck,
    StreamReport,
    Turn,
    Verified,
    Withheld,
)
from tidegate.schemas.lease import MirrorState
from tidegate.schemas.switch import Switch, SwitchStatus

SWITCH = Switch(
    tenant="kiosk", site="site1", class_name="fees", is_on=True, why="a wrong list", at_ms=1_700_000_000_000
)

MORE_SAMPLES: tuple[Message, ...] = (
    msgspec.structs.replace(SAMPLES[0], can_retract=True),
    msgspec.structs.replace(SAMPLES[0], history=(Turn("user", "Was kostet das?"), Turn("assistant", "Nichts."))),
    *(
        msgspec.structs.replace(sample, suggestions=(SUGGESTION,))
        for sample in SAMPLES
        if isinstance(sample, Withheld | Verified | Published)
    ),
    *(
        msgspec.structs.replace(sample, fields=(FIELD, MISSING_FIELD))
        for sample in SAMPLES
        if isinstance(sample, Withheld | Published)
    ),
    Retrieved(
        **WHOSE,
        question=QUESTION,
        plan=PLAN,
        passages=(msgspec.structs.replace(PASSAGE, page=3, page_breaks=(20, 30), recognised=((10, 20), (30, 41))),),
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        citations=(msgspec.structs.replace(CITATION, page=3, is_recognised=True),),
        suggestions=(msgspec.structs.replace(SUGGESTION, page=4, is_recognised=True),),
        receipt=RECEIPT,
    ),
    Retrieved(**WHOSE, question=QUESTION, plan=PLAN, passages=(msgspec.structs.replace(PASSAGE, **REPLICATED),)),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        citations=(msgspec.structs.replace(CITATION, **REPLICATED),),
        suggestions=(msgspec.structs.replace(SUGGESTION, signer="site1/0123456789abcdef", is_fresh=False),),
        receipt=msgspec.structs.replace(RECEIPT, stale_citations=1),
    ),
    Withheld(**WHOSE, reason="unclear", stage="prefilter", question=FOLLOW_UP),
    msgspec.structs.replace(SAMPLES[0], instructions="Antworte kurz."),
    *(
        msgspec.structs.replace(sample, instructions="0a1b2c3d4e5f")
        for sample in SAMPLES
        if isinstance(sample, Replied)
    ),
    Escalated(**WHOSE, question=INSTRUCTED, plan=RACE, reason="planned"),
    Verified(**WHOSE, question=INSTRUCTED, plan=RACE, answer=msgspec.structs.replace(ANSWER, writing=REPORT)),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        receipt=msgspec.structs.replace(
            RECEIPT, writing=REPORT, instructions=InstructionsReport(digest="0a1b2c3d4e5f", is_used=True)
        ),
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        receipt=msgspec.structs.replace(RECEIPT, rewriting=Rewriting("rules", FOLLOW_UP.text)),
    ),
    Escalated(
        **WHOSE,
        degradations=(Degradation("router", "no_race", 300.0, 450.0),),
        can_retract=True,
        question=QUESTION,
        plan=RACE,
        reason="low_confidence",
        edge_confidence=0.25,
        draft=Draft(ids=(10, 512, 77), tokenizer="0a1b2c3d4e5f", drafter="lookup"),
    ),
    Delta(
        rid="Req_1-a",
        tenant="kiosk",
        state="committed",
        text='{"fee": 0}',
        format="json",
        evidence=Evidence(citations=(CITATION,), checks=CHECKS, confidence=0.625, lineage=LINEAGE, writing=REPORT),
        is_whole=True,
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        reason="cloud_unreachable",
        receipt=msgspec.structs.replace(RECEIPT, finished_by="edge", is_cut=True, committed_chars=31, retractions=1),
    ),
    DownlinkRequest(mirrors={"OBJ_policy": MirrorState(12, 1189, 1200, {1200: 1_790_000_000_100})}),
    DownlinkReply(stale=("OBJ_policy",)),
    CloudState(step_ms=21.5, queue=3, verifies_drafts=True, keeps_sessions=True),
    StreamCheck(),
    StreamReport(),
    CloudState(verifies_drafts=True, model="target@0a1b2c3d4e5f", writes=("grounded", "free")),
    CloudState(verifies_drafts=True, writes=()),
    Published(
        **WHOSE,
        outcome="abstained",
        text="",
        receipt=msgspec.structs.replace(
            RECEIPT,
            plan=msgspec.structs.replace(RACE, basis=BASIS),
            speculation=Speculation(steps=9, tokens=30, forced=4, draft_bytes=300, model="target@0a1b2c3d4e5f"),
            forecast=ForecastOutcome("race", 654.0, 702.5),
        ),
    ),
    Withheld(**WHOSE, reason="abstained", stage="policy", speculation=Speculation(steps=0, tokens=0, draft_bytes=40)),
    CloudState(step_ms=21.5, queue=3, verifies_drafts=True, keeps_sessions=True, writes=("quote", "grounded")),
    Escalated(
        **WHOSE,
        degradations=(Degradation("drafter", "no_remote_speculation", 300.0, 450.0, "the cloud cannot be reached"),),
        question=QUESTION,
        plan=msgspec.structs.replace(PLAN, mode="remote_speculation"),
        reason="low_confidence",
    ),
    *(
        msgspec.structs.replace(sample, guess="cached_answer")
        for sample in SAMPLES
        if isinstance(sample, Partial | Delta)
    ),
    *(
        msgspec.structs.replace(
            sample,
            receipt=msgspec.structs.replace(RECEIPT, guess="draft", withdrawn_chars=12, checks_not_run=("entailment",)),
        )
        for sample in SAMPLES
        if isinstance(sample, Published)
    ),
    *(
        msgspec.structs.replace(
            sample, state="withdrawn", epoch=2, offset=0, ids=(), position=0, reason="policy_block", withdrawn=12
        )
        for sample in SAMPLES
        if isinstance(sample, Delta)
    ),
    *(
        msgspec.structs.replace(sample, switches=(SwitchStatus(switch=SWITCH, epoch=3, raised_by="incident"),))
        for sample in SAMPLES
        if isinstance(sample, ReplicaStatus)
    ),
    *(
        msgspec.structs.replace(sample, kind="switch", name=SWITCH.name, switch=SWITCH)
        for sample in SAMPLES
        if isinstance(sample, ArtefactDescriptor)
    ),
)
"""Fields and values that the golden files do not have."""
