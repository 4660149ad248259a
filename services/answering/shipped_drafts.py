"""A site's draft at the hub: its ids where both have one tokenizer, else ids that the target's own makes of its text.

A draft is never dropped in silence: what became of it stands in the answer's `Speculation`. Next: `prompt_context`.
"""

from __future__ import annotations

import msgspec

from tidegate.schemas import Artefact, Draft, Speculation
from tidegate.services.answering.prompt_context import draft_from_text
from tidegate.services.llm.drafters.alignment import MOST_DRAFT_TOKENS
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.llm.text.vocabulary import Vocabulary


class ReceivedDraft(msgspec.Struct, frozen=True):
    """`ids` of the target's own tokenizer; `size` in bytes as it travelled; `retokenised`: made of its text here."""

    ids: tuple[int, ...] = ()
    size: int = 0
    retokenised: bool = False

    def counted(self, speculation: Speculation) -> Speculation:
        """What an answer took, with what its draft took on the wire."""
        return msgspec.structs.replace(speculation, draft_bytes=self.size, retokenised=self.retokenised)


def spent_by(target: Artefact, speculation: Speculation) -> Speculation:
    """What an answer took, with the target that took it."""
    return msgspec.structs.replace(speculation, model=name_model(target))


def name_model(target: Artefact) -> str:
    """A target as ledgers and forecasts name it: another version is another model."""
    return f"{target.id}@{target.version}"


def uncalled(draft: Draft | None, target: Artefact) -> Speculation | None:
    """What an answer took for which no model was called: a draft that was shipped for it was sent in vain."""
    if draft is None:
        return None
    return Speculation(steps=0, tokens=0, draft_bytes=size_of(draft), model=name_model(target))


def size_of(draft: Draft) -> int:
    """Bytes of a draft as it travels."""
    return len(msgspec.msgpack.encode(draft))


def receive_draft(tokens: Vocabulary, draft: Draft | None) -> ReceivedDraft:
    """The draft for a target with these tokens. One of another tokenizer and without a text gives no ids."""
    if draft is None:
        return ReceivedDraft()
    size = size_of(draft)
    if draft.tokenizer == tokens.digest:
        return ReceivedDraft(draft.ids, size)
    if not draft.text:
        return ReceivedDraft((), size)
    if isinstance(tokens, TokenText):
        return ReceivedDraft(draft_from_text(tokens, draft.text).ids, size, True)
    return ReceivedDraft((*tokens.encode(draft.text)[: MOST_DRAFT_TOKENS - 1], tokens.end), size, True)
