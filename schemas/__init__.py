"""The vocabulary of the wire: every message, what it is made of, and the one codec; next: schemas/facts.py."""

from tidegate.schemas.answer import Answer, Check, Citation, Format, Outcome, Passage
from tidegate.schemas.errors import RejectError, RetryLaterError, TidegateError, UnreadableError
from tidegate.schemas.facts import (
    PIPELINE,
    Approved,
    Drafted,
    Escalated,
    Fact,
    PlannedFact,
    Published,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
)
from tidegate.schemas.message import Message, decode, encode, encode_json, is_json, replace
from tidegate.schemas.plan import Degradation, DegradationLevel, Draft, Guess, Mode, Plan, Speculation, Where
from tidegate.schemas.question import Question, Workload
from tidegate.schemas.receipt import Artefact, Decision, Receipt, StageTiming
from tidegate.schemas.request import Asked, Refused
from tidegate.schemas.stream import Committed, Cursor, Delta, Evidence, Partial, Resume, State
from tidegate.schemas.uplink import Accepted, Begin, CloudState, Propose

__all__ = [
    "PIPELINE",
    "Accepted",
    "Answer",
    "Approved",
    "Artefact",
    "Asked",
    "Begin",
    "Check",
    "Citation",
    "CloudState",
    "Committed",
    "Cursor",
    "Decision",
    "Degradation",
    "DegradationLevel",
    "Delta",
    "Draft",
    "Drafted",
    "Escalated",
    "Evidence",
    "Fact",
    "Format",
    "Guess",
    "Message",
    "Mode",
    "Outcome",
    "Partial",
    "Passage",
    "Plan",
    "PlannedFact",
    "Propose",
    "Published",
    "Question",
    "Receipt",
    "Refused",
    "RejectError",
    "Resume",
    "Retrieved",
    "RetryLaterError",
    "Routed",
    "Screened",
    "Speculation",
    "StageTiming",
    "State",
    "TidegateError",
    "UnreadableError",
    "Verified",
    "Where",
    "Withheld",
    "Workload",
    "decode",
    "encode",
    "encode_json",
    "is_json",
    "replace",
]
