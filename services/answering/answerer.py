"""Generation that is grounded: the hub's passages before a language model, its sentences shown once confirmed.

Promises that the answer is the reader's own, which the model has chosen too, or marks that it has not; next:
`agreement`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas import Answer, Artefact, Escalated, Speculation
from tidegate.services.answering.agreement import combine, confirmed_beginning, has_diverged
from tidegate.services.answering.prompt_context import PromptContext, build_prompt_context
from tidegate.services.answering.sentence_stream import PublishPartial, SentenceStream
from tidegate.services.answering.shipped_drafts import ReceivedDraft, receive_draft, spent_by, uncalled
from tidegate.services.knowledge.reader.reader import RankedSpans
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.targets.base import GenerationRequest, Target
from tidegate.services.llm.text.answers import ParsedAnswer, parse_answer, parse_complete_sentences
from tidegate.services.llm.text.tokenizer import TokenText

ReadCorpus = Callable[[Escalated], Awaitable[tuple[RankedSpans | None, tuple[Artefact, ...]]]]
"""From an escalated question to what the hub's reader makes of its own corpus; None for an unknown tenant."""

NONE_BELOW = 0.25
"""Confidence under which the hub gives no answer, rather than a wrong one."""
MOST_TOKENS = 160


class GroundedAnswerer:
    """Answers from passages with a target model, using the edge's draft where it holds. One target for all requests."""

    def __init__(
        self,
        target: Target,
        read_corpus: ReadCorpus,
        publish: PublishPartial,
        count: Callable[[Speculation, bool], None] = lambda *_: None,
    ) -> None:
        """`count` is called with what each answer took, and whether it diverged: then with what is known of it.

        Raises `TypeError` for a target of another tokenizer; see `GroundedWriter`.
        """
        if not isinstance(target.tokenizer, TokenText):
            raise TypeError("quoting needs a model with our own control tokens")
        self._target = target
        self._tokens = target.tokenizer
        self._read_corpus = read_corpus
        self._publish = publish
        self._count = count

    async def answer(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The answer of reader and model, with what drafting saved. Raises what the target raises.

        The model is stopped as soon as its answer can no longer stand; the reader's answer stands then, and the steps
        that it took are counted all the same.
        """
        context, parts = await self.prepare(escalated)
        if context is None:
            return Answer(text="", speculation=uncalled(escalated.draft, self._target.artefact)), parts
        stream = self.open_stream(context, escalated, parts)
        draft = receive_draft(self._tokens, escalated.draft)
        generated = await self._generate(escalated, context, stream, draft)
        await stream.drain()
        ids, spent = (None, stream.spent) if generated is None else (generated.ids, generated.speculation)
        return self.conclude(context, ids, draft.counted(spent)), parts

    async def prepare(self, escalated: Escalated) -> tuple[PromptContext | None, tuple[Artefact, ...]]:
        """What the target is to answer, and what has a part in the answer; None where it is not worth asking."""
        reading, parts = await self._read_corpus(escalated)
        context = build_prompt_context(self._tokens, escalated.question, reading) if reading else None
        if context is None or context.reading.answer.confidence < NONE_BELOW:
            return None, tuple(part for part in parts if part.kind != "document")
        return context, (*parts, self._target.artefact)

    def open_stream(self, context: PromptContext, escalated: Escalated, parts: tuple[Artefact, ...]) -> AnswerStream:
        """Publishes the answer's sentences as they are confirmed."""
        sentences = SentenceStream(escalated, self._publish)
        return AnswerStream(context, parts, self._tokens, sentences)

    def conclude(self, context: PromptContext, ids: Sequence[int] | None, speculation: Speculation) -> Answer:
        """The answer of reader and model, which generated `ids` (None: it diverged); what it cost is counted."""
        speculation = spent_by(self._target.artefact, speculation)
        self._count(speculation, ids is None)
        parsed = ParsedAnswer(()) if ids is None else parse_answer(self._tokens, ids)
        return combine(context, parsed, speculation)

    async def _generate(
        self, escalated: Escalated, context: PromptContext, stream: AnswerStream, draft: ReceivedDraft
    ) -> Generated | None:
        """The model's answer; None where it diverged and was stopped. A request that is given up is stopped too."""
        request = GenerationRequest(
            rid=f"{escalated.tenant}.{escalated.site}.{escalated.rid}",
            prompt=context.prompt,
            draft=draft.ids,
            max_tokens=MOST_TOKENS,
        )
        generating = asyncio.create_task(self._target.generate(request, stream.push))
        stream.on_divergence = generating.cancel
        try:
            return await generating
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if not stream.has_diverged or (asking is not None and asking.cancelling()):
                generating.cancel()
                raise
            return None


class AnswerStream:
    """Watches one answer while it is generated: shows the sentences that are confirmed, notices when it diverges."""

    def __init__(
        self, context: PromptContext, parts: tuple[Artefact, ...], tokens: TokenText, sentences: SentenceStream
    ) -> None:
        """`parts` are what has had a part in the answer at the hub."""
        self._context = context
        self._parts = parts
        self._tokens = tokens
        self._sentences = sentences
        self._ids: list[int] = []
        self._steps = 0
        self.has_diverged = False
        self.on_divergence: Callable[[], object] = lambda: None

    def push(self, ids: Sequence[int]) -> None:
        """Take in what the target has generated since the last call."""
        self._ids += ids
        self._steps += 1
        if not self.has_diverged and has_diverged(self._context, self._tokens, self._ids):
            self.has_diverged = True
            self.on_divergence()
        answer = confirmed_beginning(self._context, parse_complete_sentences(self._tokens, self._ids))
        if answer is not None:
            is_whole = answer.text == self._context.reading.answer.text
            self._sentences.show(answer, self._parts, ids=self._tokens.encode(answer.text), is_whole=is_whole)

    @property
    def spent(self) -> Speculation:
        """What is known of an answer that was stopped: its steps and tokens. What drafts saved of it is not known."""
        tokens = len(self._ids)
        return Speculation(steps=self._steps, tokens=tokens, forced=max(0, tokens - self._steps))

    async def drain(self) -> None:
        """See `SentenceStream`."""
        await self._sentences.drain()
