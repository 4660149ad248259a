"""The token plane: partial answers, and the log of what was shown of an answer. Nothing here is a fact yet.

Policies judge whole sentences; the gateway cuts smaller pieces. Next: services/streaming/log.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.answer import Answer, Check, Citation, Format, WritingReport
from tidegate.schemas.facts import Fact
from tidegate.schemas.message import Message, Name, Rid, Share
from tidegate.schemas.plan import Guess, Plan, Where
from tidegate.schemas.question import Question
from tidegate.schemas.receipt import Artefact

State = Literal["provisional", "committed", "retracted", "withdrawn"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Partial(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One side's answer so far, in whole sentences. Sent on the core plane, never stored.

    Each one begins with the text of those before it, so a lost one does no harm; `ids` are the tokens of that text.
    `is_whole`: nothing more will come. `guess` is what the edge's text is; the cloud's is none. `notices` go with it.
    """

    source: Where
    question: Question
    plan: Plan
    answer: Answer
    ids: tuple[int, ...] = ()
    is_whole: bool = False
    guess: Guess | None = None
    notices: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a committed text rests on: the citations of its own sentences, and no others.

    `confidence` is that of the whole answer that the text begins. `lineage` names what contributed to it, `writing` how
    a model's own words came to be in it; `notices` have to be shown with it.
    """

    citations: tuple[Citation, ...] = ()
    checks: tuple[Check, ...] = ()
    confidence: Share = 0.0
    lineage: tuple[Artefact, ...] = ()
    writing: WritingReport | None = None
    notices: tuple[str, ...] = ()


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The final part of an answer. `is_whole`: its side has finished generating; `is_closed`: no more can come.

    What is closed and not whole was cut. `withdrawn` characters that were committed before were taken back.
    """

    text: str = ""
    evidence: Evidence = Evidence()
    is_whole: bool = False
    is_closed: bool = False
    withdrawn: Count = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing may follow it."""
        return self.is_whole or self.is_closed


class Delta(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the log of what was shown for a request; the log is the order of the stream.

    `provisional`: `text` is shown from character `offset` on, and may be retracted; only in epoch 0. `committed`: the
    characters from `offset` on are `text`, finally; what was shown there as provisional is the same text. `retracted`:
    epoch 1 begins, and of the shown text the first `offset` characters are left; at most once, and never below what is
    committed. `withdrawn`: epoch 2 and the end: what was shown may not stand, whatever was committed; `text` is in its
    stead, `reason` says why, and `withdrawn` characters were committed before. `is_last`: the text is whole; `offset`
    plus the length of `text` is its length.
    `ids` are the tokens of `text`, `position` is the number of tokens before them. Vault tokens stay as they are.
    `guess` says what provisional text is; `format` is the answer's. On a committed line, `evidence` is what the whole
    committed text rests on, and `is_whole` means that its side has finished generating; a last line without it ends
    an answer that was cut.
    """

    rid: Rid
    tenant: Name
    state: State
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    position: Count = 0
    ids: tuple[int, ...] = ()
    offset: Count = 0
    text: str = ""
    is_last: bool = False
    format: Format = "text"
    evidence: Evidence | None = None
    is_whole: bool = False
    guess: Guess | None = None
    reason: str = ""
    withdrawn: Count = 0


class Cursor(msgspec.Struct, frozen=True, order=True):
    """How far a client is: the epoch, the characters that it shows, and how many of them are committed.

    Written `epoch.shown.committed`: the id of every event of a stream, and all that it takes to go on elsewhere.
    """

    epoch: int = 0
    shown: int = 0
    committed: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.shown}.{self.committed}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """The cursor that `str` wrote as `text`. Raises `ValueError` for anything else."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts):
            raise ValueError(f"{text[:64]!r} is no cursor: epoch.shown.committed is expected")
        cursor = cls(*map(int, parts))
        if str(cursor) != text or cursor.epoch > 2 or cursor.committed > cursor.shown:
            raise ValueError(f"{text[:64]!r} is no cursor that any event of a stream has had")
        return cursor


class Resume(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Resume the stream of an accepted request from `cursor`, from its start where that is empty.

    `asker` is as in the request. `can_retract` may be less than in the request, never more.
    """

    rid: Rid
    tenant: Name | Literal[""] = ""
    asker: Annotated[str, msgspec.Meta(max_length=128)] = ""
    cursor: str = ""
    can_retract: bool = True
