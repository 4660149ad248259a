"""A request that was accepted, and the right to its answer, with the asker's own values in place of vault tokens.

Waiting for it may be given up at any time: the request is processed all the same. Next: pending.py, ingress.py."""

from __future__ import annotations

import asyncio
import json

from msgspec.structs import replace

from tidegate.schemas import Asked, ExtractedField, Published, Refused
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.answer_store import AnswerStore
from tidegate.services.gateway.pending import PendingReplies, Reply
from tidegate.services.privacy.vault import Vault
from tidegate.services.streaming.reidentify import ValueOf, reidentify_text


def reidentify(published: Published, value_of: ValueOf) -> Published:
    """`published` with the values of its vault tokens, in text and citations; the receipt stays as it was stored.

    In a JSON answer a value is escaped, so that a quotation mark in it cannot break the document; all else stays as it
    is, to the character, so that the text equals that of a stream of it.
    """
    text = reidentify_text(published.text, value_of, is_json=published.format == "json")
    citations = tuple(replace(each, quote=reidentify_text(each.quote, value_of)) for each in published.citations)
    fields = tuple(reidentify_field(each, value_of) for each in published.fields)
    return replace(published, text=text, citations=citations, fields=fields)


def reidentify_field(field: ExtractedField, value_of: ValueOf) -> ExtractedField:
    """A field with the values of the vault tokens in its value and its evidence."""
    written = reidentify_text(json.dumps(field.value, ensure_ascii=False), value_of, is_json=True)
    return replace(field, value=json.loads(written), evidence=reidentify_text(field.evidence, value_of))


class PendingRequest:
    """Waits for the one answer of an accepted request, and puts the asker's own values back into it."""

    def __init__(
        self, asked: Asked, reply: asyncio.Future[Reply], store: AnswerStore, replies: PendingReplies, vault: Vault
    ) -> None:
        self.asked = asked
        """The request as it is stored: its words sealed, digests for its asker and its session."""
        self.rid = asked.rid
        self._reply = reply
        self._store = store
        self._replies = replies
        self._vault = vault

    async def answer(self) -> Published | Refused:
        """The answer with the asker's own words in it, or why there is none. Never raises for want of one.

        Cancelling it gives up the wait and nothing else: the request is processed all the same, and its answer can
        be asked for again under the same id.
        """
        reply = await self.reply()
        return reply if isinstance(reply, Refused) else self.reidentify(reply)

    async def reply(self) -> Published | Refused:
        """As `answer`, with vault tokens in it as they are stored."""
        reply = await self._reply
        if reply is None:
            reply = await self._store.answer(self.asked.tenant, self.rid) or refusal("late", self.rid)
        return replace(reply, rid=self.rid) if isinstance(reply, Refused) else reply

    def reidentify(self, published: Published) -> Published:
        """`published` with the asker's own words in it. Neither logged nor stored; nobody else ever gets them."""
        return reidentify(published, self.value_of)

    def value_of(self, token: str) -> str:
        """What a vault token stands for that was made for this request or its session; any other stays a token."""
        return self._vault.detokenise(token, self.asked.tenant, self.asked.asker, "answer", self.asked.session)

    @property
    def is_over(self) -> bool:
        """Whether nobody need wait any more."""
        return self._reply.done()

    def end(self, refused: Refused) -> None:
        """Wait no more: there will be no answer here."""
        if not self.is_over:
            self._reply.set_result(refused)

    async def check_store(self) -> None:
        """End the wait if the answer is stored: its live copy may have been lost with a connection."""
        if not self.is_over and (answer := await self._store.answer(self.asked.tenant, self.rid)) is not None:
            self._replies.resolve(self.asked.tenant, self.rid, answer)
