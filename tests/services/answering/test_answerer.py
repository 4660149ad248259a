"""The hub speaks: tells its sentences as they are confirmed, and stops a model whose answer can no longer stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tests.support.escalation_site import escalated
from tests.support.prompt_contexts import ALL, BRIEF, OTHER, TOKENS, says
from tidegate.schemas import Artefact, Escalated, Partial, Speculation
from tidegate.services.answering.answerer import Speaker
from tidegate.services.knowledge.reader.reader import Survey
from tidegate.services.llm.targets.base import Generated, TargetState

pytestmark = pytest.mark.anyio

ASKED = escalated(BRIEF.question.text)
DOCUMENT, TARGET = Artefact("document", "fees", "v1"), Artefact("model", "target", "1")


class Model:
    """A model that says `steps`, one after the other, and then its end; or nothing more, for as long as it may."""

    def __init__(self, steps: Sequence[Sequence[int]], *, ends: bool) -> None:
        self.tokenizer = TOKENS
        self.artefact = TARGET
        self.has_said = asyncio.Event()
        self.was_stopped = False
        self._steps = steps
        self._ends = ends

    async def generate(
        self,
        rid: str,  # noqa: ARG002 - it is the protocol's signature
        prompt: Sequence[int],
        *,
        draft: Sequence[int] = (),  # noqa: ARG002
        max_tokens: int = 160,  # noqa: ARG002
        seed: int = 0,  # noqa: ARG002
        temperature: float = 0.0,  # noqa: ARG002
        said: Callable[[Sequence[int]], None] | None = None,
    ) -> Generated:
        assert tuple(prompt) == BRIEF.prompt
        assert said is not None
        try:
            for step in self._steps:
                said(step)
                await asyncio.sleep(0)
            self.has_said.set()
            if not self._ends:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_stopped = True
            raise
        ids = tuple(each for step in self._steps for each in step)
        return Generated(ids, Speculation(steps=len(self._steps) + 1, tokens=len(ids) + 1), True)

    async def late_draft(self, rid: str, draft: Sequence[int]) -> None:
        raise NotImplementedError

    def state(self) -> TargetState:
        return TargetState(0.0, 0)

    async def close(self) -> None:
        return


class Hub:
    """A speaker with what it told and counted."""

    def __init__(self, model: Model) -> None:
        self.told: list[Partial] = []
        self.counted: list[tuple[Speculation, bool]] = []
        self.speaker = Speaker(model, self._survey, self._tell, lambda *what: self.counted.append(what))

    async def _survey(self, _: Escalated) -> tuple[Survey, tuple[Artefact, ...]]:
        return BRIEF.survey, (DOCUMENT,)

    async def _tell(self, partial: Partial) -> None:
        self.told.append(partial)


def in_steps(ids: Sequence[int], size: int = 5) -> list[list[int]]:
    return [list(ids[at : at + size]) for at in range(0, len(ids), size)]


async def test_sentences_are_told_with_what_they_rest_on_and_the_last_one_says_that_it_is_the_last() -> None:
    hub = Hub(Model([*in_steps(says(*ALL)), [TOKENS.FIRST_MARK + ALL[0] - 1]], ends=True))
    answer, parts = await hub.speaker.answer(ASKED)
    assert parts == (DOCUMENT, TARGET)
    assert [partial.is_whole for partial in hub.told] == [*[False] * (len(hub.told) - 1), True]
    assert len(hub.told) == len(ALL) > 1
    assert hub.told[-1].answer.text == answer.text
    for partial in hub.told:
        assert partial.lineage == (DOCUMENT, TARGET)
        assert set(partial.answer.citations) <= set(answer.citations)
    assert len(hub.told[0].answer.citations) < len(answer.citations)
    assert hub.counted == [(answer.speculation, False)]


async def test_a_model_that_strays_is_stopped_the_reader_answers_and_its_steps_are_counted() -> None:
    steps = [*in_steps(says(1)), [TOKENS.FIRST_MARK + OTHER - 1]]
    model = Model(steps, ends=False)
    hub = Hub(model)
    async with asyncio.timeout(10):
        answer, parts = await hub.speaker.answer(ASKED)
    assert model.was_stopped
    assert (answer.text, answer.speculation) == (BRIEF.survey.answer.text, None)
    assert answer.checks[-1].name == "agreement"
    assert answer.checks[-1].score == 0.0
    assert parts == (DOCUMENT, TARGET)
    assert hub.counted == [(Speculation(steps=len(steps), tokens=sum(map(len, steps))), True)]


@pytest.mark.parametrize("strays", [False, True])
async def test_a_request_that_is_given_up_stops_its_model_and_ends_whether_it_strayed_or_not(strays: bool) -> None:
    model = Model(in_steps(says(OTHER if strays else 1, cut=2)), ends=False)
    hub = Hub(model)
    asking = asyncio.create_task(hub.speaker.answer(ASKED))
    async with asyncio.timeout(10):
        while not model.has_said.is_set() and not model.was_stopped:  # noqa: ASYNC110 - either may come first
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while not model.was_stopped:  # noqa: ASYNC110 - it hears of it in its own turn
            await asyncio.sleep(0)
    assert hub.counted == []
