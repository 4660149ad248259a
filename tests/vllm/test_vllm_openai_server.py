"""vLLM's own OpenAI server as a target: its capabilities are recognised, and all give what the stream gives."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from tests.support.vllm_engine import MODEL, drafts_of, needs_vllm, prompts_of_the_branch
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.openai_compatible.capabilities import (
    Capability,
    FanOutCapability,
    PromptLogprobsCapability,
    RemoteRun,
    TextStreamCapability,
    TokenStreamCapability,
)
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.llm.targets.openai_compatible.target import OpenAICompatibleTarget
from tidegate.services.llm.targets.vllm.engine import ENVIRONMENT
from tidegate.services.llm.text.tokenizer import TokenText

pytestmark = [pytest.mark.anyio, needs_vllm]

PROMPTS = 4
TOKENS = 32


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[CompletionsClient]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"model": MODEL, "served-model-name": "target", "port": port, "host": "127.0.0.1", "dtype": "float32"}
    options |= {"max-model-len": 1024, "max-num-seqs": 64, "generation-config": "vllm"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--enforce-eager",
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        env=ENVIRONMENT | os.environ,
    )
    client = CompletionsClient(
        OpenAICompatibleSettings(base_url=f"http://127.0.0.1:{port}/v1", model="target", timeout_s=120.0), ""
    )
    try:
        async with asyncio.timeout(600), httpx.AsyncClient() as http:
            while not await is_up(http, f"http://127.0.0.1:{port}/health"):
                assert process.returncode is None, "the server ended"
                await asyncio.sleep(0.5)
        yield client
    finally:
        await client.close()
        process.terminate()
        await process.wait()


async def is_up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def test_the_server_is_found_to_do_the_best(client: CompletionsClient, tokens: TokenText) -> None:
    remote = await OpenAICompatibleTarget.open(client, tokens)
    assert remote.capability == "fan_out"
    prompt, *_ = prompts_of_the_branch(tokens, 1)
    alone = await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=TOKENS))
    helped = await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=TOKENS, draft=alone.ids))
    assert helped.ids == alone.ids
    assert helped.speculation.steps * 3 < alone.speculation.steps


@pytest.mark.parametrize("capability", [FanOutCapability, PromptLogprobsCapability])
async def test_with_drafts_it_generates_what_the_stream_does(
    client: CompletionsClient, tokens: TokenText, capability: type[FanOutCapability] | type[PromptLogprobsCapability]
) -> None:
    dice = random.Random(5)
    stream = TokenStreamCapability(client, tokens)
    for prompt in prompts_of_the_branch(tokens, PROMPTS, seed=5):
        short = prompt[-250:]  # or scoring would stream
        alone = await generated_by(stream, tokens, short)
        for name, draft in drafts_of(alone.ids, alone.ids[::-1], tokens.size, dice).items():
            generated = await generated_by(capability(client, tokens), tokens, short, draft)
            assert (generated.ids, generated.is_finished) == (alone.ids, alone.is_finished), name
            if name == "right":
                assert generated.alignment.accepted == generated.alignment.drafted > 0


async def test_text_is_answered_by_a_server_of_any_tokenizer(client: CompletionsClient, tokens: TokenText) -> None:
    (prompt,) = prompts_of_the_branch(tokens, 1, seed=6)
    generated = await generated_by(TextStreamCapability(client, tokens, "completions"), tokens, prompt)
    assert generated.is_over
    assert generated.alignment.steps


async def generated_by(
    capability: Capability, tokens: TokenText, prompt: tuple[int, ...], draft: Sequence[int] = ()
) -> RemoteRun:
    run = RemoteRun(GenerationRequest(rid="r", prompt=prompt, draft=draft, max_tokens=TOKENS), tokens)
    await capability.go_on(run)
    return run
