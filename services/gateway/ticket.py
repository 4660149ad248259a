"""A request that was accepted, and the right to its answer.

Waiting for it may be given up at any time: the request is processed all the same. Next: pending.py, ingress.py."""

from __future__ import annotations

import asyncio

import msgspec

from tidegate.schemas import Asked, Published, Refused
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.answer_store import AnswerStore
from tidegate.services.gateway.pending import PendingReplies, Reply
from tidegate.services.gateway.reidentify import reidentify
from tidegate.services.privacy.vault import Vault


class PendingRequest:
    """Waits for the one answer of an accepted request, and puts the asker's own values back into it."""

    def __init__(
        self, asked: Asked, reply: asyncio.Future[Reply], store: AnswerStore, replies: PendingReplies, vault: Vault
    ) -> None:
        self.asked = asked
        """The request as it is stored: its words sealed, a digest for its asker."""
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
        return msgspec.structs.replace(reply, rid=self.rid) if isinstance(reply, Refused) else reply

    def reidentify(self, published: Published) -> Published:
        """`published` with the asker's own words in it."""
        return reidentify(published, self._vault, self.asked.asker)

    def value_of(self, token: str) -> str:
        """What a vault token stands for, or the token where it is not this asker's."""
        return self._vault.detokenise(token, self.asked.tenant, self.asked.asker)

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
