"""The target on vLLM keeps what every target promises, and what it promises beyond."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from tests.support.target_conformance import ClosingActs, TargetActs
from tests.support.vllm_engine import MODEL, drafts_held, drafts_of, needs_vllm, pids_of, prompts_of_the_branch
from tidegate.schemas import RetryLaterError
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.errors import TargetClosedError
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, Target
from tidegate.services.llm.targets.vllm.engine import SamplingRefusedError
from tidegate.services.llm.targets.vllm.target import VllmRequest, VllmTarget
from tidegate.services.llm.text.tokenizer import TokenText

pytestmark = [pytest.mark.anyio, needs_vllm]

TOKENS = 48
DRAFTS_ALONE: dict[str, Any] = {"max_tokens": TOKENS, "lookup": False, "quotes": False}


@pytest.fixture(scope="session")
def prompt(tokens: TokenText) -> Sequence[int]:
    return prompts_of_the_branch(tokens, 2)[0]


@pytest.fixture(scope="session")
def other_prompt(tokens: TokenText) -> Sequence[int]:
    return prompts_of_the_branch(tokens, 2)[1]


@pytest.fixture
def target(engine: VllmTarget) -> VllmTarget:
    return engine


class TestVllm(TargetActs):
    """Drafts alone, in the model's own words: with the prompt looked up and the rule, hardly a step is left to save."""

    IS_INVARIANT_WHEN_HOT: ClassVar[bool] = False

    async def generated_by(
        self, target: Target, prompt: Sequence[int], rid: str = "r", on_tokens: OnTokens | None = None, **more: Any
    ) -> Generated:
        options = {"max_tokens": self.MAX_TOKENS, **DRAFTS_ALONE, **more}
        return await target.generate(VllmRequest(rid=rid, prompt=prompt, **options), on_tokens)


@pytest.mark.parametrize(("at_once", "count", "quotes"), [(1, 12, False), (16, 30, False), (16, 16, True)])
async def test_no_draft_changes_a_word_over_hundreds_of_requests(
    engine: VllmTarget, tokens: TokenText, at_once: int, count: int, *, quotes: bool
) -> None:
    prompts = prompts_of_the_branch(tokens, count, seed=at_once)
    gate = asyncio.Semaphore(at_once)
    dice = random.Random(at_once)

    async def say(name: str, prompt: Sequence[int], draft: Sequence[int] = (), *, lookup: bool) -> tuple[int, ...]:
        async with gate:
            generated = await engine.generate(
                VllmRequest(rid=name, prompt=prompt, draft=draft, max_tokens=TOKENS, lookup=lookup, quotes=quotes)
            )
            return generated.ids

    plain = await asyncio.gather(*(say(f"plain-{n}", prompt, lookup=False) for n, prompt in enumerate(prompts)))
    assert len({*plain}) > count / 4, "the prompts must not all be answered alike"
    cases = [
        (f"{name}-{n}", prompt, draft, answer)
        for n, (prompt, answer) in enumerate(zip(prompts, plain, strict=True))
        for name, draft in (drafts_of(answer, plain[n - 1], tokens.size, dice) | {"none": []}).items()
    ]
    dice.shuffle(cases)
    generated = await asyncio.gather(
        *(say(name, prompt, draft, lookup=n % 4 > 0) for n, (name, prompt, draft, _) in enumerate(cases))
    )
    changed = [case[0] for case, ids in zip(cases, generated, strict=True) if ids != case[3]]
    assert changed == []
    assert await drafts_held(engine) == 0


async def test_a_foreign_draft_in_flight_is_never_proposed_to_another(
    engine: VllmTarget, prompt: Sequence[int]
) -> None:
    """The very same prompt, side by side: with its draft, with another's and with none."""
    alone = await engine.generate(VllmRequest(rid="alone", prompt=prompt, **DRAFTS_ALONE))
    helped, misled, plain = await asyncio.gather(
        engine.generate(VllmRequest(rid="helped", prompt=prompt, draft=alone.ids, **DRAFTS_ALONE)),
        engine.generate(VllmRequest(rid="misled", prompt=prompt, draft=tuple(reversed(alone.ids)), **DRAFTS_ALONE)),
        engine.generate(VllmRequest(rid="plain", prompt=prompt, **DRAFTS_ALONE)),
    )
    assert helped.ids == misled.ids == plain.ids == alone.ids
    assert helped.speculation.steps * 3 < alone.speculation.steps
    assert plain.speculation.drafted == 0
    assert plain.speculation.steps == plain.speculation.tokens


async def test_a_request_given_up_leaves_nothing_in_the_engine(engine: VllmTarget, prompt: Sequence[int]) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(
        engine.generate(
            VllmRequest(rid="gone", prompt=prompt, draft=prompt[:100], max_tokens=400, quotes=False),
            lambda _: begun.set(),
        )
    )
    await begun.wait()
    assert await drafts_held(engine) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(10):
        while await drafts_held(engine):  # noqa: ASYNC110 - it is another process that lets go
            await asyncio.sleep(0.01)
    assert engine.state().queue == 0


async def test_what_would_end_the_engine_is_refused(engine: VllmTarget, prompt: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        await engine.generate(GenerationRequest(rid="r", prompt=[*prompt, 10**6]))
    assert (await engine.generate(GenerationRequest(rid="r", prompt=prompt, temperature=1.0, max_tokens=8))).ids


class TestClosing(ClosingActs):
    @pytest.fixture
    async def target(self) -> AsyncIterator[VllmTarget]:
        opened = await VllmTarget.open(MODEL)
        yield opened
        await opened.close()

    async def test_closing_ends_what_runs(self, target: Target, prompt: Sequence[int]) -> None:
        """As for every target, at a temperature that vLLM takes: it refuses any above 2."""
        with pytest.raises(SamplingRefusedError, match="temperature"):
            await target.generate(GenerationRequest(rid="r", prompt=prompt, temperature=3.0))
        begun = asyncio.Event()
        running = asyncio.ensure_future(
            target.generate(
                GenerationRequest(rid="r", prompt=prompt, max_tokens=500, temperature=1.5), lambda _: begun.set()
            )
        )
        await begun.wait()
        await target.close()
        with pytest.raises(TargetClosedError):
            await asyncio.wait_for(running, 30)


async def test_an_engine_that_died_is_noticed_and_started_again(engine: VllmTarget, prompt: Sequence[int]) -> None:
    whole = await engine.generate(GenerationRequest(rid="before", prompt=prompt, max_tokens=TOKENS))
    before = pids_of(engine)
    begun = asyncio.Event()
    running = asyncio.ensure_future(
        engine.generate(
            VllmRequest(rid="dying", prompt=prompt, temperature=1.5, max_tokens=500, quotes=False),
            lambda _: begun.set(),
        )
    )
    await begun.wait()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RetryLaterError):
        await running
    with pytest.raises(RetryLaterError):
        await engine.generate(GenerationRequest(rid="meanwhile", prompt=prompt))
    async with asyncio.timeout(900):
        while not pids_of(engine):  # noqa: ASYNC110 - it is another process that comes up
            await asyncio.sleep(0.2)
    assert not {*before} & {*pids_of(engine)}
    after = await engine.generate(GenerationRequest(rid="after", prompt=prompt, draft=whole.ids, max_tokens=TOKENS))
    assert after.ids == whole.ids
    assert after.speculation.accepted
