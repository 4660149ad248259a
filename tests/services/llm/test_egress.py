"""A model server that no permit names is sent nothing, at no try, and one that redirects is not followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.message_samples import SAMPLES
from tidegate.brokers.egress import EgressDeniedError, EgressGate
from tidegate.schemas import Answer, Artefact, Escalated
from tidegate.services.llm.targets.openai_compatible.client import (
    CapabilityError,
    CompletionResponse,
    CompletionsClient,
)
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.stages.cloud_verifier.backends import name_permits

pytestmark = pytest.mark.anyio
FAR = OpenAICompatibleSettings(base_url="https://llm.example/v1", model="m", timeout_s=2.0)
GATE = EgressGate.of({"llm.example": "inference documents"})
PERMIT = Artefact("egress", "llm.example:443", "inference/documents")


class EndingGate(EgressGate):
    """Permits that end after so many requests."""

    left = 1

    def check(self, *_: object) -> None:
        """As of now."""
        self.left -= 1
        if self.left < 0:
            raise EgressDeniedError("not any more")


@pytest.mark.parametrize(
    "permits", [{}, {"llm.example": "inference questions"}, {"llm.example": "telemetry documents"}]
)
async def test_a_server_without_a_permit_for_prompts_is_not_opened(permits: dict[str, str]) -> None:
    with pytest.raises(EgressDeniedError):
        CompletionsClient(FAR, "", gate=EgressGate.of(permits))


async def test_each_request_is_held_against_the_permits_anew() -> None:
    async with answering(b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}') as (url, seen):
        gate = EndingGate()
        gate.left = 2  # to open it, and for one request
        client = CompletionsClient(OpenAICompatibleSettings(base_url=url, model="m"), "", gate=gate)
        await client.post("completions", CompletionResponse)
        with pytest.raises(EgressDeniedError):
            await client.post("completions", CompletionResponse)
        assert len(seen) == 1
        await client.close()


async def test_a_server_that_names_another_host_is_not_followed() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n"
    async with answering(b"") as (other, reached), answering(moved % other.encode()) as (url, seen):
        client = CompletionsClient(OpenAICompatibleSettings(base_url=url, model="m"), "")
        with pytest.raises(CapabilityError, match="307"):
            await client.post("completions", CompletionResponse)
        assert (len(seen), reached) == (1, [])
        await client.close()


async def test_an_answer_names_the_permit_by_which_its_prompt_left() -> None:
    [escalated] = [each for each in SAMPLES if isinstance(each, Escalated)]
    model = Artefact("model", "m", "1")

    async def backend(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return Answer(text="Yes."), (model,)

    client = CompletionsClient(FAR, "", gate=GATE)
    assert (await name_permits(client, backend)(escalated))[1] == (model, PERMIT)
    await client.close()


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server of this machine that answers everything so, and what it was sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", seen
