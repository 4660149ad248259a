"""The ladder on vLLM's own OpenAI server: it is recognised, and each tier says what the stream says."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.vllm_engine import MODEL, drafts_of, needs_vllm, prompts_of_the_branch
from tidegate.services.llm.targets.openai_compatible.client import Wire
from tidegate.services.llm.targets.openai_compatible.target import Ladder
from tidegate.services.llm.targets.openai_compatible.tiers import FanOut, Run, Scoring, Streamed, Text, Tier
from tidegate.services.llm.targets.vllm.engine import ENVIRONMENT
from tidegate.services.llm.text.tokenizer import TokenText

pytestmark = [pytest.mark.anyio, needs_vllm]

PROMPTS = 4
TOKENS = 32


@pytest.fixture(scope="module")
async def wire() -> AsyncIterator[Wire]:
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
    wire = Wire(f"http://127.0.0.1:{port}/v1", "target", "", timeout_s=120.0)
    try:
        async with asyncio.timeout(600), httpx.AsyncClient() as client:
            while not await is_up(client, f"http://127.0.0.1:{port}/health"):
                assert process.returncode is None, "the server ended"
                await asyncio.sleep(0.5)
        yield wire
    finally:
        await wire.close()
        process.terminate()
        await process.wait()


async def is_up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def test_the_server_is_found_to_do_the_best(wire: Wire, tokens: TokenText) -> None:
    ladder = await Ladder.open(wire, tokens)
    assert ladder.tier == "fan_out"
    prompt, *_ = prompts_of_the_branch(tokens, 1)
    alone = await ladder.generate("r", prompt, max_tokens=TOKENS)
    helped = await ladder.generate("r", prompt, max_tokens=TOKENS, draft=alone.ids)
    assert helped.ids == alone.ids
    assert helped.speculation.steps * 3 < alone.speculation.steps


@pytest.mark.parametrize("tier", [FanOut, Scoring])
async def test_a_tier_says_what_the_stream_says(
    wire: Wire, tokens: TokenText, tier: type[FanOut] | type[Scoring]
) -> None:
    dice = random.Random(5)
    stream = Streamed(wire, tokens)
    for prompt in prompts_of_the_branch(tokens, PROMPTS, seed=5):
        short = prompt[-250:]  # or scoring would stream
        alone = await said_by(stream, short)
        for name, draft in drafts_of(alone.ids, alone.ids[::-1], tokens.size, dice).items():
            known = [each for each in draft if 0 <= each < tokens.size]
            told = await said_by(tier(wire, tokens), short, known)
            assert (told.ids, told.is_finished) == (alone.ids, alone.is_finished), name
            if name == "right":
                assert told.following.accepted == told.following.drafted > 0


async def test_the_text_tier_is_answered_by_a_server_of_any_tokenizer(wire: Wire, tokens: TokenText) -> None:
    (prompt,) = prompts_of_the_branch(tokens, 1, seed=6)
    told = await said_by(Text(wire, tokens, "completions"), prompt)
    assert told.is_over
    assert told.steps


async def said_by(tier: Tier, prompt: tuple[int, ...], draft: list[int] | tuple[int, ...] = ()) -> Run:
    run = Run(prompt, draft, TOKENS, None)
    await tier.go_on(run)
    return run
