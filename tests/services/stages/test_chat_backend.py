"""The backend `openai`: it sends what the server accepts, and shows sentences while the server streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from tests.support.chat_server import ModelServer, Refusal, as_fastapi, as_openai, in_words
from tests.support.escalation_site import escalated
from tidegate.schemas import Artefact, Escalated, Partial, Passage, RetryLaterError
from tidegate.services.answering.citations import check_citations, confirmed_text
from tidegate.services.llm.targets.openai_compatible.client import CapabilityError, ServedChoice
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.stages.cloud_verifier.chat_backend import MAX_TOKENS, ChatBackend

pytestmark = pytest.mark.anyio

INDEX = Artefact("index", "hub/kiosk", "1")
PASSAGES = tuple(
    Passage(
        document_id=name,
        document_version="v",
        title="Fees",
        text=text,
        language="en",
        start=0,
        end=len(text),
        score=1.0,
    )
    for name, text in (
        ("draft", "A banker's draft costs £12.50. It is paid at once."),
        ("coins", "Foreign coins are not exchanged. Mr. Okonjo decides otherwise."),
    )
)
REPLY = "A banker's draft costs £12.50 [1]. It is paid at once [1]. Foreign coins are not exchanged. [2]"
ASKED = escalated("What does a banker's draft cost?")


class Hub:
    """A backend of a server, with what it has shown."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.shown: list[Partial] = []
        self.has_shown = asyncio.Event()
        self.backend = self.open("echo")

    def open(self, model: str) -> ChatBackend:
        settings = OpenAICompatibleSettings(base_url=self.server.url, model=model, timeout_s=10.0)
        return ChatBackend(settings, self._find, self._publish)

    async def _find(self, _: Escalated) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        return PASSAGES, (INDEX,)

    async def _publish(self, partial: Partial) -> None:
        self.shown.append(partial)
        self.has_shown.set()

    @property
    def names(self) -> list[set[str]]:
        """The parameters of each request, beside those that every request has."""
        return [set(request) - {"model", "messages"} for request in self.server.requests]


@asynccontextmanager
async def hub() -> AsyncIterator[Hub]:
    async with ModelServer().serving() as server:
        server.reply = REPLY
        opened = Hub(server)
        yield opened
        await opened.backend.close()


async def answer_of(opened: Hub, fact: Escalated = ASKED) -> str:
    answer, _ = await opened.backend.answer(fact)
    return answer.text


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
        expected = check_citations(REPLY, PASSAGES).text
        assert await answer_of(opened) == expected
        assert opened.names[0] == EVERYTHING
        assert opened.names[-1] == accepted
        assert len(opened.names) == 1 + len(refuses), "each refusal is learned from once"
        if "max_completion_tokens" in accepted:
            assert opened.server.requests[-1]["max_completion_tokens"] == MAX_TOKENS
        opened.server.requests.clear()
        assert await answer_of(opened) == expected
        assert opened.names == [accepted], "what was learned is remembered"


async def test_what_is_learned_holds_for_every_client_of_the_model_and_for_no_other_model() -> None:
    async with hub() as opened:
        opened.server.refuses = {"max_tokens", "temperature"}
        await answer_of(opened)
        opened.server.requests.clear()
        again, other = opened.open("echo"), opened.open("another")
        await again.answer(ASKED)
        await other.answer(ASKED)
        assert opened.names == [
            {"max_completion_tokens", "stream"},
            EVERYTHING,
            *[opened.names[2], {"max_completion_tokens", "stream"}],
        ]
        await again.close()
        await other.close()


async def test_many_at_once_learn_together_and_all_are_answered() -> None:
    async with hub() as opened:
        opened.server.refuses = {"max_tokens", "temperature"}
        facts = [escalated(f"What does a banker's draft cost? {number}", rid=f"r{number}") for number in range(6)]
        answers = await asyncio.gather(*(answer_of(opened, fact) for fact in facts))
        assert set(answers) == {check_citations(REPLY, PASSAGES).text}


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


async def test_sentences_are_shown_while_the_server_still_streams() -> None:
    async with hub() as opened:
        opened.server.holds_after = len(["A", "banker's", "draft", "costs", "£12.50", "[1].", "It"])
        answering = asyncio.create_task(opened.backend.answer(ASKED))
        async with asyncio.timeout(10):
            await opened.has_shown.wait()
        assert not answering.done()
        assert "".join(opened.server.sent) == "A banker's draft costs £12.50 [1]. It "
        (first,) = opened.shown
        assert first.answer.text == "A banker's draft costs £12.50."
        assert [citation.document_id for citation in first.answer.citations] == ["draft"]
        opened.server.go_on.set()
        answer, parts = await answering
        texts = [partial.answer.text for partial in opened.shown]
        assert texts == ["A banker's draft costs £12.50.", "A banker's draft costs £12.50. It is paid at once."]
        assert all(answer.text.startswith(text) for text in texts)
        assert answer == check_citations(REPLY, PASSAGES)
        model, documents = (
            Artefact("model", "echo", "echo-1"),
            [Artefact("document", n, "v") for n in ("draft", "coins")],
        )
        assert parts == (INDEX, model, *documents)
        assert all(partial.lineage[:2] == (INDEX, model) and not partial.is_whole for partial in opened.shown)


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "ignored"])
async def test_where_the_server_does_not_stream_the_answer_comes_in_one_piece(*, refuses: bool) -> None:
    async with hub() as opened:
        opened.server.refuses = {"stream"} if refuses else set()
        opened.server.ignores_stream = True
        assert await answer_of(opened) == check_citations(REPLY, PASSAGES).text
        assert [partial.answer.text for partial in opened.shown] == [
            "A banker's draft costs £12.50. It is paid at once.",
        ]


async def test_a_stream_that_breaks_off_is_tried_again_later() -> None:
    async with hub() as opened:
        opened.server.breaks_after = 3
        with pytest.raises(RetryLaterError, match="broke off"):
            await answer_of(opened)
        opened.server.breaks_after = 0
        assert await answer_of(opened) == check_citations(REPLY, PASSAGES).text


async def test_a_model_that_spends_the_limit_before_it_answers_is_given_none() -> None:
    async with hub() as opened:
        opened.server.thinks = 2 * MAX_TOKENS
        opened.server.refuses = {"max_tokens", "temperature"}
        assert await answer_of(opened) == check_citations(REPLY, PASSAGES).text
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


@pytest.mark.parametrize(
    ("generated", "shown"),
    [
        ("", None),
        ("A banker's draft costs £12.50 [1].", None),  # it may go on: nothing is behind it
        ("A banker's draft costs £12.50 [1]. ", None),
        ("A banker's draft costs £12.50 [1]. [2", None),  # another mark may come
        ("A banker's draft costs £12.50 [1]. I", "A banker's draft costs £12.50."),
        ("A banker's draft costs £12.50. [1] I", "A banker's draft costs £12.50."),
        ("A banker's draft costs £12.50. [1] [2] I", "A banker's draft costs £12.50."),
        ("A banker's draft costs £12.50. I", None),  # no mark
        ("A banker's draft costs £12.50 [7]. I", None),  # of nothing
        ("A banker's draft costs £13 [1]. I", None),  # another number
        ("Mr. Okonjo decides [2]. I", "Mr. Okonjo decides."),  # an abbreviation ends nothing
        ("It is paid at once [1]. Elephants wear purple hats [1]. It is paid at once [1]. I", "It is paid at once."),
        ("NONE", None),
    ],
)
def test_a_sentence_is_shown_once_it_is_whole_and_borne_out(generated: str, shown: str | None) -> None:
    answer = confirmed_text(generated, PASSAGES)
    assert (answer and answer.text) == shown


@pytest.mark.parametrize("reply", [REPLY, "NONE", "A banker's draft costs £12.50 [1, 2]! Foreign coins? [2] No."])
def test_what_is_shown_begins_the_answer_and_only_grows(reply: str) -> None:
    whole = check_citations(reply, PASSAGES).text
    shown: Sequence[str] = [
        answer.text for end in range(len(reply) + 1) if (answer := confirmed_text(reply[:end], PASSAGES))
    ]
    assert all(whole.startswith(text) for text in shown)
    assert list(shown) == sorted(shown, key=len)
