"""A chat server as a writer: it is sent what it accepts, and what it answers is found wherever it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.support.chat_hub import WHOLE, answer_of, asked, hub
from tests.support.chat_server import Refusal, as_fastapi, as_openai, in_words
from tidegate.schemas import RetryLaterError
from tidegate.services.answering.model_writers import MOST_SERVER_TOKENS
from tidegate.services.llm.targets.openai_compatible.client import CapabilityError, ServedChoice

pytestmark = pytest.mark.anyio

EVERYTHING = {"temperature", "max_tokens", "stream"}


@pytest.mark.parametrize("refuse_as", [as_openai, in_words, as_fastapi])
@pytest.mark.parametrize(
    ("refuses", "accepted"),
    [
        ({"max_tokens", "temperature"}, {"max_completion_tokens", "stream"}),
        ({"temperature"}, {"max_tokens", "stream"}),
        ({"max_tokens", "max_completion_tokens"}, {"temperature", "stream"}),
        ({"stream"}, {"temperature", "max_tokens"}),
        ({"max_tokens", "max_completion_tokens", "temperature", "stream"}, set()),
        (set(), EVERYTHING),
    ],
)
async def test_only_what_the_server_accepts_is_sent_once_it_has_refused_the_rest(
    refuses: set[str], accepted: set[str], refuse_as: Callable[[str, object], Refusal]
) -> None:
    async with hub() as opened:
        opened.server.refuses, opened.server.refuse_as = refuses, refuse_as
        assert await answer_of(opened) == WHOLE
        assert opened.names[0] == EVERYTHING
        assert opened.names[-1] == accepted
        assert len(opened.names) == 1 + len(refuses), "each refusal is learned from once"
        if "max_completion_tokens" in accepted:
            assert opened.server.requests[-1]["max_completion_tokens"] == MOST_SERVER_TOKENS
        opened.server.requests.clear()
        assert await answer_of(opened) == WHOLE
        assert opened.names == [accepted], "what was learned is remembered"


async def test_what_is_learned_holds_for_every_client_of_the_model_and_for_no_other_model() -> None:
    async with hub() as opened:
        opened.server.refuses = {"max_tokens", "temperature"}
        await answer_of(opened)
        opened.server.requests.clear()
        again, other = opened.open("echo"), opened.open("another")
        await again.answer(asked())
        await other.answer(asked())
        assert opened.names == [
            {"max_completion_tokens", "stream"},
            EVERYTHING,
            *[opened.names[2], {"max_completion_tokens", "stream"}],
        ]


async def test_many_at_once_learn_together_and_all_are_answered() -> None:
    async with hub() as opened:
        opened.server.refuses = {"max_tokens", "temperature"}
        facts = [asked(f"r{number}") for number in range(6)]
        answers = await asyncio.gather(*(answer_of(opened, fact) for fact in facts))
        assert set(answers) == {WHOLE}


@pytest.mark.parametrize(
    "fault",
    [
        {"error": {"message": "Unsupported parameter: 'messages' is not supported.", "param": "messages"}},
        {"error": {"message": "Unsupported value: 'model'", "param": "model", "code": "unsupported_value"}},
        {"error": {"message": "max_tokens is too large: 400", "param": "max_tokens", "code": "invalid_value"}},
        {
            "error": {
                "message": "This model's maximum context length is 100 tokens, however you asked for max_tokens=400"
            }
        },
        {"error": "bad request"},
        {"detail": "no"},
        {"detail": [3]},
        ["strange"],
    ],
)
async def test_a_refusal_of_another_kind_is_quoted_and_nothing_is_tried_again(fault: object) -> None:
    async with hub() as opened:
        opened.server.refuses = {"messages"}
        opened.server.refuse_as = lambda _, __: (400, fault)  # type: ignore[assignment,return-value]
        with pytest.raises(CapabilityError, match="answered 400") as raised:
            await answer_of(opened)
        assert raised.value.hint
        assert len(opened.names) == 1


async def test_a_server_that_goes_on_refusing_is_not_asked_for_ever() -> None:
    async with hub() as opened:
        opened.server.refuses = {"messages"}
        opened.server.refuse_as = lambda _, value: as_openai("temperature", value)
        with pytest.raises(CapabilityError, match="answered 400"):
            await answer_of(opened)
        assert opened.names == [EVERYTHING, EVERYTHING - {"temperature"}]


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "ignored"])
async def test_where_the_server_does_not_stream_the_answer_comes_in_one_piece(*, refuses: bool) -> None:
    async with hub() as opened:
        opened.server.refuses = {"stream"} if refuses else set()
        opened.server.ignores_stream = True
        assert await answer_of(opened) == WHOLE
        assert [partial.answer.text for partial in opened.shown][-1] == WHOLE


async def test_a_stream_that_breaks_off_is_tried_again_later() -> None:
    async with hub() as opened:
        opened.server.breaks_after = 3
        with pytest.raises(RetryLaterError, match="broke off"):
            await answer_of(opened)
        opened.server.breaks_after = 0
        assert await answer_of(opened) == WHOLE


async def test_a_model_that_spends_the_limit_before_it_answers_is_given_none() -> None:
    async with hub() as opened:
        opened.server.thinks = 2 * MOST_SERVER_TOKENS
        opened.server.refuses = {"max_tokens", "temperature"}
        assert await answer_of(opened) == WHOLE
        assert opened.names[-1] == {"stream"}
        opened.server.requests.clear()
        await answer_of(opened)
        assert opened.names == [{"stream"}]


@pytest.mark.parametrize(
    "choice",
    [
        {"text": "It opens."},
        {"delta": {"content": "It opens."}},
        {"message": {"role": "assistant", "content": "It opens.", "refusal": None}, "logprobs": None},
        {"delta": {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "It opens."}]}},
    ],
)
def test_the_text_of_a_choice_is_found_wherever_a_server_puts_it(choice: dict[str, object]) -> None:
    assert msgspec.convert(choice, ServedChoice).content == "It opens."


@pytest.mark.parametrize("choice", [{}, {"delta": {}}, {"delta": {"content": None}}, {"delta": {"reasoning": "Hm."}}])
def test_a_choice_without_text_is_empty(choice: dict[str, object]) -> None:
    assert msgspec.convert(choice, ServedChoice).content == ""
