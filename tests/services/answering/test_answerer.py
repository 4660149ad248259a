"""The hub generates: its sentences are shown once confirmed, and a model whose answer can no longer stand is
stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.support.escalation_site import escalated
from tests.support.prompt_contexts import ALL, CONTEXT, OTHER, TOKENS, quote
from tidegate.schemas import Artefact, Escalated, Partial, Speculation
from tidegate.services.answering.answerer import GroundedAnswerer
from tidegate.services.knowledge.reader.reader import RankedSpans
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, TargetState

pytestmark = pytest.mark.anyio

ASKED = escalated(CONTEXT.question.text)
DOCUMENT, TARGET = Artefact("document", "fees", "v1"), Artefact("model", "target", "1")


class Model:
    """A model that generates `steps`, one after the other, and then its end; or nothing more, for as long as it may."""

    def __init__(self, steps: Sequence[Sequence[int]], *, ends: bool) -> None:
        self.tokenizer = TOKENS
        self.artefact = TARGET
        self.has_generated = asyncio.Event()
        self.was_stopped = False
        self._steps = steps
        self._ends = ends

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        assert tuple(request.prompt) == CONTEXT.prompt
        assert on_tokens is not None
        try:
            for step in self._steps:
                on_tokens(step)
                await asyncio.sleep(0)
            self.has_generated.set()
            if not self._ends:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_stopped = True
            raise
        ids = tuple(each for step in self._steps for each in step)
        return Generated(ids, Speculation(steps=len(self._steps) + 1, tokens=len(ids) + 1), True)

    def state(self) -> TargetState:
        return TargetState(0.0, 0)

    async def close(self) -> None:
        return


class Hub:
    """An answerer with what it published and counted."""

    def __init__(self, model: Model) -> None:
        self.published: list[Partial] = []
        self.counted: list[tuple[Speculation, bool]] = []
        self.answerer = GroundedAnswerer(
            model, self._read_corpus, self._publish, lambda *what: self.counted.append(what)
        )

    async def _read_corpus(self, _: Escalated) -> tuple[RankedSpans, tuple[Artefact, ...]]:
        return CONTEXT.reading, (DOCUMENT,)

    async def _publish(self, partial: Partial) -> None:
        self.published.append(partial)


def in_steps(ids: Sequence[int], size: int = 5) -> list[list[int]]:
    return [list(ids[at : at + size]) for at in range(0, len(ids), size)]


async def test_sentences_are_shown_with_what_they_rest_on_and_the_last_one_is_marked_as_the_last() -> None:
    hub = Hub(Model([*in_steps(quote(*ALL)), [TOKENS.FIRST_MARK + ALL[0] - 1]], ends=True))
    answer, parts = await hub.answerer.answer(ASKED)
    assert parts == (DOCUMENT, TARGET)
    assert [partial.is_whole for partial in hub.published] == [*[False] * (len(hub.published) - 1), True]
    assert len(hub.published) == len(ALL) > 1
    assert hub.published[-1].answer.text == answer.text
    for partial in hub.published:
        assert partial.lineage == (DOCUMENT, TARGET)
        assert set(partial.answer.citations) <= set(answer.citations)
    assert len(hub.published[0].answer.citations) < len(answer.citations)
    assert hub.counted == [(answer.speculation, False)]


async def test_a_model_that_diverges_is_stopped_the_reader_answers_and_its_steps_are_counted() -> None:
    steps = [*in_steps(quote(1)), [TOKENS.FIRST_MARK + OTHER - 1]]
    model = Model(steps, ends=False)
    hub = Hub(model)
    async with asyncio.timeout(10):
        answer, parts = await hub.answerer.answer(ASKED)
    assert model.was_stopped
    spent = Speculation(steps=len(steps), tokens=sum(map(len, steps)), model="target@1")
    assert answer.text == CONTEXT.reading.answer.text
    assert answer.speculation == msgspec.structs.replace(spent, forced=spent.tokens - spent.steps)
    assert answer.speculation.saved == 0, "what drafts saved of an answer that was stopped is not known"
    assert answer.checks[-1].name == "agreement"
    assert answer.checks[-1].score == 0.0
    assert parts == (DOCUMENT, TARGET)
    assert hub.counted == [(answer.speculation, True)]


@pytest.mark.parametrize("diverges", [False, True])
async def test_a_request_that_is_given_up_stops_its_model_and_ends_whether_it_diverged_or_not(diverges: bool) -> None:
    model = Model(in_steps(quote(OTHER if diverges else 1, cut=2)), ends=False)
    hub = Hub(model)
    asking = asyncio.create_task(hub.answerer.answer(ASKED))
    async with asyncio.timeout(10):
        while not model.has_generated.is_set() and not model.was_stopped:  # noqa: ASYNC110 - either may come first
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while not model.was_stopped:  # noqa: ASYNC110 - it hears of it in its own turn
            await asyncio.sleep(0)
    assert hub.counted == []
