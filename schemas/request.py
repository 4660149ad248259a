"""A client's request, and the refusal that it gets instead of an answer; next: schemas/refusals.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Message, Millis, Name, Rid
from tidegate.schemas.question import Turn, Workload
from tidegate.schemas.receipt import StageTiming

MAX_TURNS = 256
"""Turns of a conversation that a request may bring along."""
MAX_INSTRUCTIONS = 32_768
"""Characters that instructions may have; the gateway's budget of tokens is less."""


class Asked(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A request. Only `text` is needed; the gateway fills in the rest.

    The tenant and the asker are the credential's: another tenant is refused, and `asker` is what an application calls
    its user.

    `text` is in clear between the client and the gateway only; what is stored has it in `sealed`, under a key of the
    asker's.
    `asker` says for whom vault tokens may be re-identified; the gateway replaces it by a digest under the site's key.
    `session` is what the client calls the conversation: in one session of an asker a value has one vault token, in
    another it has another, and so has each request without a session. The gateway replaces it by a digest, too.
    `schema` is the JSON schema that an `extract` must fill. `budget_ms` is what the asker is willing to wait.
    `can_retract` says that the client can retract text that it has shown; others get committed text only.
    `history` is what was said before, oldest first, so that a follow-up is understood; it is sealed with the text.
    `instructions` are the client's to the model that writes the answer, where one writes it: its system prompt. They
    are sealed with the text, and refused where no model can write.
    """

    tenant: Name | Literal[""] = ""
    text: str = ""
    rid: Rid | Literal[""] = ""
    asker: Annotated[str, msgspec.Meta(max_length=128)] = ""
    workload: Workload | Literal[""] = ""
    language: Annotated[str, msgspec.Meta(max_length=8)] = ""
    schema: Annotated[str, msgspec.Meta(max_length=16384)] = ""
    budget_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)] = 4000
    site: Name | Literal[""] = ""
    asked_at_ms: Millis = 0
    deadline_at_ms: Millis = 0
    sealed: bytes = b""
    timings: tuple[StageTiming, ...] = ()
    can_retract: bool = False
    history: Annotated[tuple[Turn, ...], msgspec.Meta(max_length=MAX_TURNS)] = ()
    instructions: Annotated[str, msgspec.Meta(max_length=MAX_INSTRUCTIONS)] = ""
    session: Annotated[str, msgspec.Meta(max_length=128)] = ""


class Refused(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The request was not accepted, or has no answer yet: see the code in schemas/refusals.py."""

    code: str
    reason: str
    hint: str = ""
    rid: str = ""
