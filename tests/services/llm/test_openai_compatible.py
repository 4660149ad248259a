"""The ladder finds out what a server does, keeps the target's promises on every tier, and steps down unharmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

import pytest

from tests.support import tiny_models
from tests.support.completions_server import EVERYTHING, CompletionsServer
from tests.support.target_conformance import ClosingActs, TargetActs
from tidegate.schemas import RetryLaterError
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.targets.openai_compatible.client import Unable, Wire
from tidegate.services.llm.targets.openai_compatible.target import CLIMB_AFTER_S, Ladder
from tidegate.services.llm.targets.openai_compatible.tiers import encoded, spelled
from tidegate.services.llm.text.prompts import answer_prompt

pytestmark = pytest.mark.anyio

OFFERS = {
    "fan_out": EVERYTHING,
    "prompt_logprobs": EVERYTHING - {"batch"},
    "stream": EVERYTHING - {"batch", "prompt_logprobs"},
}


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=2))


@pytest.fixture(scope="module")
def prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.tokens, "When does the branch open?", tiny_models.PROSE[:2], 240).ids


@pytest.fixture(scope="module")
def other_prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.tokens, "What does a coin roll cost?", tiny_models.PROSE[1:3], 240).ids


@pytest.fixture
async def server(lm: CausalLM) -> AsyncIterator[CompletionsServer]:
    async with CompletionsServer(lm).serving() as serving:
        yield serving


def wire_to(server: CompletionsServer) -> Wire:
    return Wire(server.url, "tiny", "", timeout_s=20.0)


@pytest.fixture(params=sorted(OFFERS))
async def target(lm: CausalLM, server: CompletionsServer, request: pytest.FixtureRequest) -> AsyncIterator[Ladder]:
    server.offers = set(OFFERS[request.param])
    ladder = await Ladder.open(wire_to(server), lm.tokens, context=tiny_models.CONTEXT)
    assert ladder.tier == request.param
    yield ladder
    await ladder.close()


class TestLadder(TargetActs):
    CONTEXT: ClassVar[int] = tiny_models.CONTEXT

    async def test_a_right_draft_saves_steps_and_a_wrong_one_costs_none(
        self, target: Ladder, prompt: Sequence[int]
    ) -> None:
        if target.tier == "stream":
            pytest.skip("streaming uses no draft: that is what the tiers above it are for")
        await super().test_a_right_draft_saves_steps_and_a_wrong_one_costs_none(target, prompt)

    async def test_what_is_said_on_the_way_is_what_is_said_in_the_end(
        self, target: Ladder, prompt: Sequence[int]
    ) -> None:
        if target.tier == "stream":
            pytest.skip("streaming says a token at a time, whatever the draft")
        await super().test_what_is_said_on_the_way_is_what_is_said_in_the_end(target, prompt)


class TestClosing(ClosingActs):
    pass


async def test_a_right_draft_is_fanned_out_in_one_request_for_each_sixteen(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    ladder = await Ladder.open(wire_to(server), lm.tokens, context=tiny_models.CONTEXT)
    whole = await ladder.generate("r", prompt, max_tokens=34)
    server.asked.clear()
    told = await ladder.generate("kiosk.site1.r", prompt, max_tokens=34, draft=whole.ids)
    assert told.ids == whole.ids
    assert {each["cache_salt"] for each in server.asked} == {"kiosk"}
    assert [len(each["prompt"]) for each in server.asked] == [17, 17]
    await ladder.close()


@pytest.mark.parametrize("begin", ["fan_out", "prompt_logprobs"])
async def test_a_tier_that_fails_in_the_middle_is_left_for_the_next_and_no_word_is_said_twice(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int], begin: str
) -> None:
    server.offers = set(OFFERS[begin])
    now = 0.0
    ladder = Ladder(wire_to(server), lm.tokens, context=tiny_models.CONTEXT, clock=lambda: now)
    await ladder.detect()
    whole = (await ladder.generate("r", prompt, max_tokens=40)).ids
    heard: list[int] = []

    def said(new: Sequence[int]) -> None:
        heard.extend(new)
        server.offers = set(OFFERS["stream"])

    told = await ladder.generate("r", prompt, max_tokens=40, draft=whole, said=said)
    assert told.ids == whole == tuple(heard)
    assert ladder.tier == "stream"
    server.offers = set(EVERYTHING)
    await ladder.generate("r", prompt, max_tokens=4)
    assert ladder.tier == "stream"
    now = CLIMB_AFTER_S
    await ladder.generate("r", prompt, max_tokens=4)
    assert ladder.tier == "fan_out"
    await ladder.close()


async def test_a_server_that_is_away_is_later_and_no_reason_to_step_down(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    ladder = await Ladder.open(wire_to(server), lm.tokens, context=tiny_models.CONTEXT)
    server.status = 503
    with pytest.raises(RetryLaterError):
        await ladder.generate("r", prompt, draft=(1, 2, 3))
    server.status = 200
    assert ladder.tier == "fan_out"
    assert (await ladder.generate("r", prompt, max_tokens=4)).ids
    await ladder.close()


async def test_a_stream_that_breaks_off_is_said_to_be_broken(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    ladder = await Ladder.open(wire_to(server), lm.tokens, context=tiny_models.CONTEXT)
    server.break_after = 3
    with pytest.raises(Unable, match="broke off"):
        await ladder.generate("r", prompt)
    await ladder.close()


async def test_no_token_id_travels_to_a_server_of_another_tokenizer(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    class Other(type(lm.tokens)):  # type: ignore[misc]
        def decode(self, ids: Sequence[int]) -> str:
            return str(super().decode(ids)).swapcase()

    server.offers = set(EVERYTHING)
    server.says = "[1] The branch opens at nine. [2] Three euros."
    ours = lm.tokens
    lm.tokens = Other(tiny_models.tokenizer_json())
    try:
        ladder = await Ladder.open(wire_to(server), ours, context=tiny_models.CONTEXT)
    finally:
        lm.tokens = ours
    assert ladder.tier == "text"
    assert all("prompt" not in each for each in server.asked)
    told = await ladder.generate("r", prompt, draft=(1, 2, 3))
    assert told.is_finished
    assert [each for each in told.ids if lm.tokens.is_control(each)] == [10, 11]
    assert lm.tokens.decode(told.ids) == " The branch opens at nine. Three euros."
    await ladder.close()


async def test_a_server_that_only_chats_is_asked_in_words(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    server.offers = {"chat"}
    server.says = "NONE"
    ladder = await Ladder.open(wire_to(server), lm.tokens, context=tiny_models.CONTEXT)
    assert ladder.tier == "text"
    assert (await ladder.generate("r", prompt)).ids == (lm.tokens.NONE,)
    asked = str(server.asked[-1]["messages"])
    assert "Question: When does the branch open?" in asked
    assert "[1] The branch opens at nine" in asked
    await ladder.close()


async def test_a_server_that_does_nothing_of_it_is_refused(lm: CausalLM, server: CompletionsServer) -> None:
    server.offers = set()
    with pytest.raises(Unable):
        await Ladder.open(wire_to(server), lm.tokens)


def test_a_spelled_prompt_holds_what_the_prompt_holds(lm: CausalLM) -> None:
    ids = answer_prompt(lm.tokens, "What <|eos|> costs?", ("A coin [3] roll.", "A card."), 240).ids
    text = spelled(lm.tokens, ids)
    assert text.endswith("Question: What <|eos|> costs?\n\n[1] A coin [3] roll.\n\n[2] A card.\n\nAnswer: ")


def test_marks_in_text_become_marks(lm: CausalLM) -> None:
    tokens = lm.tokens
    assert encoded(tokens, "[2] Yes. [10] no [0]") == [11, *tokens.encode(" Yes. [10] no [0]")]
    assert encoded(tokens, " none. ") == [tokens.NONE]
