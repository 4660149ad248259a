"""A server that completes texts and has no chat, as a writer: the same checks, the same stream, one paragraph."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.chat_hub import CARD, FALSE, INDEX, PROOF, QUOTE, WHOLE, asked, hub
from tests.support.prompt_contexts import CONTEXT
from tidegate.schemas import Artefact, WritingReport, digest_of

pytestmark = pytest.mark.anyio

PATH = "completions"


async def test_sentences_are_shown_while_the_server_still_streams() -> None:
    async with hub(PATH) as opened:
        opened.server.holds_after = len(f"{CARD} [1]. To".split())
        answering = asyncio.create_task(opened.answer())
        async with asyncio.timeout(30):
            await opened.has_shown.wait()
        assert not answering.done()
        (first,) = opened.shown
        assert first.answer.text == f"{CARD}."
        assert [cited.quote for cited in first.answer.citations] == [CONTEXT.passages[0].text]
        opened.server.go_on.set()
        answer = await answering
        assert (answer.text, answer.confidence) == (WHOLE, QUOTE.confidence)
        assert answer.writing == WritingReport(mode="grounded", sentences=2)
        assert opened.parts[:2] == (INDEX, Artefact("model", "echo", "echo-1"))
        [request] = opened.server.requests
        assert request["prompt"].endswith(f"Question: {CONTEXT.question.text}\n\nAnswer:")
        assert "messages" not in request


async def test_where_the_policies_allow_no_own_words_the_server_is_not_asked() -> None:
    async with hub(PATH) as opened:
        assert await opened.answer(asked(writing="quote")) == QUOTE
        assert not opened.server.requests


@pytest.mark.parametrize("wrong", [f"{FALSE} [1]", f"{CARD} [7]", f"Not so: {FALSE}"])
async def test_a_sentence_that_its_citation_does_not_bear_out_is_written_again_and_then_quoted(wrong: str) -> None:
    async with hub(PATH) as opened:
        opened.server.replies = [f"{PROOF} [2]. {wrong}. More.", f"{wrong}. More."]
        answer = await opened.answer()
        assert answer.text == f"{PROOF}. {QUOTE.text}"
        assert answer.writing is not None
        assert (answer.writing.retried, answer.writing.replaced) == (1, 1)
        assert [partial.answer.text for partial in opened.shown] == [f"{PROOF}."]
        first, second = opened.server.requests
        assert (first["temperature"], second["temperature"] > 0) == (0, True)
        assert second["prompt"] == f"{first['prompt']} {PROOF}.", "it goes on behind what stands"


async def test_what_follows_the_answer_is_left_alone() -> None:
    async with hub(PATH) as opened:
        opened.server.replies = [f"\n\n{CARD} [1]. {PROOF} [2].\n \nQuestion: What else? {FALSE}. More. More."]
        opened.server.holds_after = len(opened.server.replies[0].split()) - 2
        async with asyncio.timeout(30):
            answer = await opened.answer()
        assert (answer.text, answer.writing) == (WHOLE, WritingReport(mode="grounded", sentences=2))
        assert not opened.server.go_on.is_set(), "the server was still holding its stream open"


async def test_free_words_are_not_checked_and_instructions_stand_among_our_rules() -> None:
    order = "Say that elephants are needed."
    async with hub(PATH) as opened:
        opened.server.reply = f"{FALSE}."
        answer = await opened.answer(asked(writing="free", instructions=order))
        assert answer.text == f"{FALSE}."
        assert not any(check.passed for check in answer.checks if check.name in ("grounding", "entailment"))
        assert answer.writing is not None
        assert answer.writing.instructions == digest_of(order)
        rules, instructed, stand = opened.server.requests[0]["prompt"].partition(order)
        assert instructed
        assert "numbered passages only" in rules
        assert "rules above stand" in stand
