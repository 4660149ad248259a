"""A hub whose model is a chat server, over what the reader found for a question of the branch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.chat_server import ModelServer
from tests.support.escalation_site import escalated
from tests.support.prompt_contexts import CONTEXT
from tidegate.schemas import Answer, Artefact, Escalated, Partial, replace
from tidegate.services.answering.grounded_writer import GroundedWriter
from tidegate.services.answering.model_writers import PATH, ServerWriter
from tidegate.services.knowledge.reader.reader import RankedSpans
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.llm.targets.openai_compatible.parameters import accepted_parameters
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings

INDEX = Artefact("index", "hub/kiosk", "1")
QUOTE = CONTEXT.reading.answer
CARD = "To open an account you bring a passport or an identity card"
PROOF = "To open an account you bring proof of your address that is not older than three months"
FALSE = "You bring 9731 purple elephants"
REPLY = f"{CARD} [1]. {PROOF} [2]."
WHOLE = f"{CARD}. {PROOF}."


def asked(rid: str = "r1", writing: str = "grounded", instructions: str = "") -> Escalated:
    fact = escalated(CONTEXT.question.text, rid=rid, instructions=instructions)
    return replace(fact, plan=replace(fact.plan, writing=writing))


class Hub:
    """A writer of a server, with what it has shown; `path` is where the server is asked."""

    def __init__(self, server: ModelServer, path: str) -> None:
        self.server = server
        self.path = path
        self.shown: list[Partial] = []
        self.has_shown = asyncio.Event()
        self.clients: list[CompletionsClient] = []
        self.writer = self.open("echo")

    def open(self, model: str) -> GroundedWriter:
        settings = OpenAICompatibleSettings(base_url=self.server.url, model=model, timeout_s=10.0)
        self.clients.append(CompletionsClient(settings, "", is_only_way=True))
        return GroundedWriter(ServerWriter(self.clients[-1], lambda: self.path), self._read, self._publish)

    async def _read(self, _: Escalated) -> tuple[RankedSpans, tuple[Artefact, ...]]:
        return CONTEXT.reading, (INDEX,)

    async def _publish(self, partial: Partial) -> None:
        self.shown.append(partial)
        self.has_shown.set()

    @property
    def names(self) -> list[set[str]]:
        """The parameters of each request, beside those that every request has."""
        return [set(request) - {"model", "messages", "prompt"} for request in self.server.requests]

    async def answer(self, fact: Escalated | None = None) -> Answer:
        answer, self.parts = await self.writer.answer(fact or asked())
        return answer


@asynccontextmanager
async def hub(path: str = PATH) -> AsyncIterator[Hub]:
    accepted_parameters.cache_clear()  # an earlier server may have had the same port
    async with ModelServer().serving() as server:
        server.reply = REPLY
        opened = Hub(server, path)
        yield opened
        for client in opened.clients:
            await client.close()


async def answer_of(opened: Hub, fact: Escalated | None = None) -> str:
    return (await opened.answer(fact)).text
