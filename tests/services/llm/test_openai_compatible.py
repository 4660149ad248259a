"""The target finds out what a server can do, keeps its promises with every capability, and steps down unharmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

import pytest

from tests.support import tiny_models
from tests.support.completions_server import EVERYTHING, CompletionsServer
from tests.support.target_conformance import ClosingActs, TargetActs
from tidegate.schemas import RetryLaterError
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.targets.base import GenerationRequest, Target
from tidegate.services.llm.targets.openai_compatible.capabilities import encode_answer, prompt_as_text
from tidegate.services.llm.targets.openai_compatible.client import CapabilityError, CompletionsClient
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.llm.targets.openai_compatible.target import PROBE_AGAIN_S, OpenAICompatibleTarget
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
    return answer_prompt(lm.own_tokens, "When does the branch open?", tiny_models.PROSE[:2], 240).ids


@pytest.fixture(scope="module")
def other_prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.own_tokens, "What does a coin roll cost?", tiny_models.PROSE[1:3], 240).ids


@pytest.fixture
async def server(lm: CausalLM) -> AsyncIterator[CompletionsServer]:
    async with CompletionsServer(lm).serving() as serving:
        yield serving


def client_of(server: CompletionsServer) -> CompletionsClient:
    return CompletionsClient(OpenAICompatibleSettings(base_url=server.url, model="tiny", timeout_s=20.0), "")


@pytest.fixture(params=sorted(OFFERS))
async def target(
    lm: CausalLM, server: CompletionsServer, request: pytest.FixtureRequest
) -> AsyncIterator[OpenAICompatibleTarget]:
    server.offers = set(OFFERS[request.param])
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT)
    assert remote.capability == request.param
    yield remote
    await remote.close()


class TestOpenAICompatible(TargetActs):
    CONTEXT: ClassVar[int] = tiny_models.CONTEXT

    async def test_a_right_draft_saves_steps_and_a_wrong_one_costs_none(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        assert isinstance(target, OpenAICompatibleTarget)
        if target.capability == "stream":
            pytest.skip("streaming uses no draft: that is what the other capabilities are for")
        await super().test_a_right_draft_saves_steps_and_a_wrong_one_costs_none(target, prompt)

    async def test_what_is_said_on_the_way_is_what_is_said_in_the_end(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        assert isinstance(target, OpenAICompatibleTarget)
        if target.capability == "stream":
            pytest.skip("streaming gives a token at a time, whatever the draft")
        await super().test_what_is_said_on_the_way_is_what_is_said_in_the_end(target, prompt)


class TestClosing(ClosingActs):
    pass


async def test_a_right_draft_is_fanned_out_in_one_request_for_each_sixteen(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT)
    whole = await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=34))
    server.asked.clear()
    generated = await remote.generate(
        GenerationRequest(rid="kiosk.site1.r", prompt=prompt, max_tokens=34, draft=whole.ids)
    )
    assert generated.ids == whole.ids
    assert {each["cache_salt"] for each in server.asked} == {"kiosk"}
    assert [len(each["prompt"]) for each in server.asked] == [17, 17]
    await remote.close()


@pytest.mark.parametrize("begin", ["fan_out", "prompt_logprobs"])
async def test_a_tier_that_fails_in_the_middle_is_left_for_the_next_and_no_word_is_said_twice(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int], begin: str
) -> None:
    server.offers = set(OFFERS[begin])
    now = 0.0
    remote = OpenAICompatibleTarget(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT, clock=lambda: now)
    await remote.negotiate()
    whole = (await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=40))).ids
    received: list[int] = []

    def receive(new: Sequence[int]) -> None:
        received.extend(new)
        server.offers = set(OFFERS["stream"])

    generated = await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=40, draft=whole), receive)
    assert generated.ids == whole == tuple(received)
    assert remote.capability == "stream"
    server.offers = set(EVERYTHING)
    await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=4))
    assert remote.capability == "stream"
    now = PROBE_AGAIN_S
    await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=4))
    assert remote.capability == "fan_out"
    await remote.close()


async def test_a_server_that_is_away_is_later_and_no_reason_to_step_down(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT)
    server.status = 503
    with pytest.raises(RetryLaterError):
        await remote.generate(GenerationRequest(rid="r", prompt=prompt, draft=(1, 2, 3)))
    server.status = 200
    assert remote.capability == "fan_out"
    assert (await remote.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=4))).ids
    await remote.close()


async def test_a_stream_that_breaks_off_is_said_to_be_broken(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT)
    server.break_after = 3
    with pytest.raises(CapabilityError, match="broke off"):
        await remote.generate(GenerationRequest(rid="r", prompt=prompt))
    await remote.close()


async def test_no_token_id_travels_to_a_server_of_another_tokenizer(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    class Other(type(lm.own_tokens)):  # type: ignore[misc]
        def decode(self, ids: Sequence[int]) -> str:
            return str(super().decode(ids)).swapcase()

    server.offers = set(EVERYTHING)
    server.says = "[1] The branch opens at nine. [2] Three euros."
    ours = lm.own_tokens
    lm.tokens = Other(tiny_models.tokenizer_json())
    try:
        remote = await OpenAICompatibleTarget.open(client_of(server), ours, context=tiny_models.CONTEXT)
    finally:
        lm.tokens = ours
    assert remote.capability == "text"
    assert all("prompt" not in each for each in server.asked)
    generated = await remote.generate(GenerationRequest(rid="r", prompt=prompt, draft=(1, 2, 3)))
    assert generated.is_finished
    assert [each for each in generated.ids if lm.own_tokens.is_control(each)] == [10, 11]
    assert lm.own_tokens.decode(generated.ids) == " The branch opens at nine. Three euros."
    await remote.close()


async def test_a_server_that_only_chats_is_asked_in_words(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    server.offers = {"chat"}
    server.says = "NONE"
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens, context=tiny_models.CONTEXT)
    assert remote.capability == "text"
    assert (await remote.generate(GenerationRequest(rid="r", prompt=prompt))).ids == (lm.own_tokens.NONE,)
    asked = str(server.asked[-1]["messages"])
    assert "Question: When does the branch open?" in asked
    assert "[1] The branch opens at nine" in asked
    await remote.close()


async def test_a_server_is_sent_no_parameter_that_it_has_refused(
    lm: CausalLM, server: CompletionsServer, prompt: Sequence[int]
) -> None:
    server.offers = {"chat"}
    server.refuses = {"max_tokens", "temperature"}
    server.says = "NONE"
    remote = await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens)
    server.asked.clear()
    request = GenerationRequest(rid="r", prompt=prompt, max_tokens=40)
    assert (await remote.generate(request)).ids == (lm.own_tokens.NONE,)
    assert [set(body) for body in server.asked] == [{"model", "messages", "max_completion_tokens", "stream"}]
    assert server.asked[0]["max_completion_tokens"] == 40
    await remote.close()


async def test_a_server_that_does_nothing_of_it_is_refused(lm: CausalLM, server: CompletionsServer) -> None:
    server.offers = set()
    with pytest.raises(CapabilityError):
        await OpenAICompatibleTarget.open(client_of(server), lm.own_tokens)


def test_a_spelled_prompt_holds_what_the_prompt_holds(lm: CausalLM) -> None:
    ids = answer_prompt(lm.own_tokens, "What <|eos|> costs?", ("A coin [3] roll.", "A card."), 240).ids
    text = prompt_as_text(lm.own_tokens, ids)
    assert text.endswith("Question: What <|eos|> costs?\n\n[1] A coin [3] roll.\n\n[2] A card.\n\nAnswer: ")


def test_marks_in_text_become_marks(lm: CausalLM) -> None:
    tokens = lm.own_tokens
    assert encode_answer(tokens, "[2] Yes. [10] no [0]") == [11, *tokens.encode(" Yes. [10] no [0]")]
    assert encode_answer(tokens, " none. ") == [tokens.NONE]
