"""The vocabulary of the wire: every message, what it is made of, and the one codec; next: schemas/facts.py."""

from tidegate.schemas.answer import Answer, Check, Citation, Format, Outcome, Passage
from tidegate.schemas.errors import RejectError, RetryLaterError, TidegateError, UnreadableError
from tidegate.schemas.facts import (
    PIPELINE,
    Approved,
    Drafted,
    Escalated,
    Fact,
    Published,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
)
from tidegate.schemas.message import Message, changed, decode, encode, encode_json, is_json
from tidegate.schemas.plan import Concession, Draft, Guess, Mode, Plan, Rung, Speculation, Where
from tidegate.schemas.question import Question, Workload
from tidegate.schemas.receipt import Artefact, Decision, Receipt, Spent
from tidegate.schemas.request import Asked, Refused
from tidegate.schemas.stream import Committed, Cursor, Delta, Evidence, Partial, Resume, State
from tidegate.schemas.uplink import Begin, CloudState, Propose, Stood

__all__ = [
    "PIPELINE",
    "Answer",
    "Approved",
    "Artefact",
    "Asked",
    "Begin",
    "Check",
    "Citation",
    "CloudState",
    "Committed",
    "Concession",
    "Cursor",
    "Decision",
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
    "Rung",
    "Screened",
    "Speculation",
    "Spent",
    "State",
    "Stood",
    "TidegateError",
    "UnreadableError",
    "Verified",
    "Where",
    "Withheld",
    "Workload",
    "changed",
    "decode",
    "encode",
    "encode_json",
    "is_json",
]
