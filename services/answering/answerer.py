"""The backends that generate: the hub's passages before a language model, its sentences told as they are confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tidegate.schemas import Answer, Artefact, Escalated, Partial, Speculation
from tidegate.services.answering import Brief, answer_of, brief_of, sentences_of, strays
from tidegate.services.knowledge.reader.reader import Survey
from tidegate.services.llm.targets.base import Generated, Target
from tidegate.services.llm.text.answers import Reading, read_answer, sentences_so_far
from tidegate.services.llm.text.tokenizer import TokenText

Surveying = Callable[[Escalated], Awaitable[tuple[Survey | None, tuple[Artefact, ...]]]]
"""From an escalated question to what the hub's reader makes of its own corpus; None for an unknown tenant."""

Tell = Callable[[Partial], Awaitable[None]]

NONE_BELOW = 0.25
"""Confidence under which the hub says that it has no answer, rather than a wrong one."""
MOST_TOKENS = 160


def uncounted(_: Speculation, __: bool) -> None:
    """Nobody watches."""


class Speaker:
    """Answers from passages with a target model, using the edge's draft where it holds. One target for all requests."""

    def __init__(
        self, target: Target, survey: Surveying, tell: Tell, count: Callable[[Speculation, bool], None] = uncounted
    ) -> None:
        """`count` is called with what each answer took, and whether it strayed: then with what is known of it."""
        self._target = target
        self._survey = survey
        self._tell = tell
        self._count = count

    async def answer(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The answer of reader and model, with what drafting saved. Raises what the target raises.

        The model is stopped as soon as what it says can no longer stand; the reader's answer stands then, and the steps
        that it took are counted all the same.
        """
        brief, parts = await self.briefed(escalated)
        if brief is None:
            return Answer(text=""), parts
        telling = self.telling(brief, escalated, parts)
        weight = len(msgspec.msgpack.encode(escalated.draft.ids)) if escalated.draft else 0
        generated = await self._generated(escalated, brief, telling)
        await telling.told()
        if generated is None:
            steps, tokens = telling.heard
            self._count(Speculation(steps=steps, tokens=tokens, draft_bytes=weight), True)
            return answer_of(brief, Reading(())), parts
        speculation = msgspec.structs.replace(generated.speculation, draft_bytes=weight)
        return self.judged(brief, generated.ids, speculation), parts

    async def _generated(self, escalated: Escalated, brief: Brief, telling: Telling) -> Generated | None:
        """What the model says; None where it strayed and was stopped. A request that is given up is stopped too."""
        generating = asyncio.create_task(
            self._target.generate(
                f"{escalated.tenant}.{escalated.site}.{escalated.rid}",
                brief.prompt,
                draft=self._draft(escalated),
                max_tokens=MOST_TOKENS,
                said=telling.hear,
            )
        )
        telling.on_stray = generating.cancel
        try:
            return await generating
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if not telling.has_strayed or (asking is not None and asking.cancelling()):
                generating.cancel()
                raise
            return None

    async def briefed(self, escalated: Escalated) -> tuple[Brief | None, tuple[Artefact, ...]]:
        """What the target is to answer, and what has a part in the answer; None where it is not worth asking."""
        survey, parts = await self._survey(escalated)
        brief = brief_of(self._target.tokenizer, escalated.question, survey) if survey else None
        if brief is None or brief.survey.answer.confidence < NONE_BELOW:
            return None, tuple(part for part in parts if part.kind != "document")
        return brief, (*parts, self._target.artefact)

    def telling(self, brief: Brief, escalated: Escalated, parts: tuple[Artefact, ...]) -> Telling:
        """Who tells the answer's sentences as they are confirmed."""
        return Telling(brief, escalated, parts, self._target.tokenizer, self._tell)

    def judged(self, brief: Brief, ids: Sequence[int] | None, speculation: Speculation) -> Answer:
        """The answer of reader and model once the model has said `ids` (None: it strayed); what it cost is counted."""
        self._count(speculation, ids is None)
        reading = Reading(()) if ids is None else read_answer(self._target.tokenizer, ids)
        return answer_of(brief, reading, speculation)

    def _draft(self, escalated: Escalated) -> Sequence[int]:
        """The shipped draft, if it was made with this target's tokenizer; to any other its ids are noise."""
        draft = escalated.draft
        return draft.ids if draft is not None and draft.tokenizer == self._target.tokenizer.digest else ()


class Telling:
    """Tells the sentences of one answer, each once it is whole and confirmed, in order."""

    def __init__(
        self, brief: Brief, escalated: Escalated, parts: tuple[Artefact, ...], tokens: TokenText, tell: Tell
    ) -> None:
        """`parts` are what has had a part in the answer at the hub."""
        self._brief = brief
        self._escalated = escalated
        self._parts = parts
        self._tokens = tokens
        self._tell = tell
        self._ids: list[int] = []
        self._steps = 0
        self._text = ""
        self.has_strayed = False
        self.on_stray: Callable[[], object] = lambda: None
        self._last: asyncio.Task[None] | None = None

    def hear(self, ids: Sequence[int]) -> None:
        """Take in what the target has said since the last call."""
        self._ids += ids
        self._steps += 1
        if not self.has_strayed and strays(self._brief, self._tokens, self._ids):
            self.has_strayed = True
            self.on_stray()
        answer = sentences_of(self._brief, sentences_so_far(self._tokens, self._ids))
        if answer is None or len(answer.text) <= len(self._text):
            return
        self._text = answer.text
        partial = self._escalated.followed_by(
            Partial,
            *self._parts,
            source="cloud",
            question=self._escalated.question,
            plan=self._escalated.plan,
            answer=answer,
            ids=tuple(self._tokens.encode(answer.text)),
            is_whole=answer.text == self._brief.survey.answer.text,
        )
        self._last = asyncio.create_task(self._after(self._last, partial))

    @property
    def heard(self) -> tuple[int, int]:
        """The steps in which something was said, and the tokens."""
        return self._steps, len(self._ids)

    async def told(self) -> None:
        """Return when everything is told; raises what telling raised."""
        if self._last is not None:
            await self._last

    async def _after(self, before: asyncio.Task[None] | None, partial: Partial) -> None:
        if before is not None:
            await before
        await self._tell(partial)
