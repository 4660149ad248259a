"""Answers in a model's own words, each sentence held against what it cites before anybody sees it.

Promises that no sentence is said which its passages do not bear out, whatever the asker's instructions are; what fails
twice gives way to the reader's own quotation, and the report says so. Next: `written_answer`, `model_writers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tidegate.schemas import Answer, Artefact, Escalated, Speculation
from tidegate.services.answering.answerer import NONE_BELOW, ReadCorpus
from tidegate.services.answering.model_writers import ModelWriter, WritingRequest
from tidegate.services.answering.prompt_context import order_units
from tidegate.services.answering.sentence_stream import PublishPartial, SentenceStream
from tidegate.services.answering.shipped_drafts import ReceivedDraft, receive_draft, spent_by, uncalled
from tidegate.services.answering.writing_prompts import NONE, writing_messages
from tidegate.services.answering.written_answer import WrittenAnswer
from tidegate.services.answering.written_sentences import JudgedSentence, split_written
from tidegate.services.llm.errors import ContextOverflowError

MOST_UNITS = 4
"""Passages before the model: a small one loses the question among more."""
MOST_CITED_UNITS = 8
"""Passages before a model that is told to cite them."""


class GroundedWriter:
    """Answers as the plan says: by quoting, or in the words of a model. One for all requests."""

    def __init__(
        self,
        writer: ModelWriter,
        read_corpus: ReadCorpus,
        publish: PublishPartial,
        count: Callable[[Speculation, bool], None] = lambda *_: None,
    ) -> None:
        """`count` is called with what each answer took, where that is known."""
        self._writer = writer
        self._read_corpus = read_corpus
        self._publish = publish
        self._count = count

    async def answer(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The answer, with what writing took. Raises what the writer raises."""
        reading, parts = await self._read_corpus(escalated)
        if reading is None or not reading.selected or reading.answer.confidence < NONE_BELOW:
            return Answer(text="", speculation=self._uncalled(escalated)), without_documents(parts)
        if escalated.plan.writing == "quote":
            return msgspec.structs.replace(reading.answer, speculation=self._uncalled(escalated)), parts
        units = order_units(reading)[: MOST_CITED_UNITS if self._writer.cites else MOST_UNITS]
        selected = frozenset(unit.span for unit in reading.selected)
        question = escalated.question
        written = WrittenAnswer(escalated.plan.writing, question.text, units, selected, question.instructions)
        draft, expected = self._expect(escalated, reading.answer)
        sentences = SentenceStream(escalated, self._publish)

        def show() -> None:
            answer = written.shown(reading)
            sentences.show(answer, (*parts, self._writer.artefact, *documents_of(answer)))

        try:
            await self._write(escalated, written, expected, show)
        except ContextOverflowError:
            if not written.instructions:
                raise
            written.instructions = ""  # an answer without them is better than none, and the report says so
            await self._write(escalated, written, expected, show)
        await sentences.drain()
        if written.spent is not None:
            written.spent = spent_by(self._writer.artefact, draft.counted(written.spent))
            self._count(written.spent, False)
        answer = written.concluded(reading)
        used = parts if answer.text else without_documents(parts)
        return answer, tuple(dict.fromkeys((*used, self._writer.artefact, *documents_of(answer))))

    def _uncalled(self, escalated: Escalated) -> Speculation | None:
        return uncalled(escalated.draft, self._writer.artefact)

    def _expect(self, escalated: Escalated, quote: Answer) -> tuple[ReceivedDraft, Sequence[int]]:
        """The site's draft, and the ids that the answer is expected to have: its, or those of the quotation."""
        tokens = self._writer.tokens
        if tokens is None:
            return ReceivedDraft(), ()
        draft = receive_draft(tokens, escalated.draft)
        return draft, draft.ids or (*tokens.encode(quote.text), tokens.end)

    async def _write(
        self, escalated: Escalated, written: WrittenAnswer, expected: Sequence[int], show: Callable[[], None]
    ) -> None:
        cites = self._writer.cites
        question = escalated.question
        messages = writing_messages(question, written.units, instructions=written.instructions, cites=cites)
        failed_at = -1
        while not written.is_over:
            attempt = Attempt(written, show, may_decline=cites)
            request = WritingRequest(
                rid=f"{escalated.tenant}.{escalated.site}.{escalated.rid}",
                messages=messages,
                written=written.text,
                expected=expected,
                is_retry=failed_at == len(written.kept),
            )
            done = await self._writer.write(request, attempt.push)
            written.spend(done.spent)
            if done.is_finished:
                attempt.finish(done.text)
            if attempt.refused is None:
                return
            written.refuse(attempt.refused, is_second=request.is_retry)
            failed_at = len(written.kept)


class Attempt:
    """What a model writes in one go: whole sentences are judged as they come, and the first bad one ends it."""

    def __init__(self, written: WrittenAnswer, show: Callable[[], None], *, may_decline: bool) -> None:
        """`may_decline`: the model is told to say so where the passages hold no answer."""
        self.refused: JudgedSentence | None = None
        self._written = written
        self._show = show
        self._may_decline = may_decline
        self._judged = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing that comes now counts."""
        return self.refused is not None or self._written.is_over

    def push(self, text: str) -> bool:
        """Take in all that was written so far; whether more is wanted."""
        if not self.is_over:
            self._judge(text, is_whole=False)
        return not self.is_over

    def finish(self, text: str) -> None:
        """The model has said all that it wanted."""
        if not self.is_over:
            self._judge(text, is_whole=True)

    def _judge(self, text: str, *, is_whole: bool) -> None:
        sentences = split_written(text, is_whole=is_whole)
        for sentence in sentences[self._judged :]:
            if self._may_decline and not self._written.kept and sentence.text.rstrip(".").upper() == NONE:
                self._written.is_none = True
                return
            judged = self._written.judge(sentence)
            if not self._written.take(judged):
                self.refused = judged
                return
            self._judged += 1
            self._show()
            if self._written.is_over:
                return


def documents_of(answer: Answer) -> tuple[Artefact, ...]:
    """The documents that an answer cites."""
    return tuple(
        dict.fromkeys(Artefact("document", cited.document_id, cited.document_version) for cited in answer.citations)
    )


def without_documents(parts: Sequence[Artefact]) -> tuple[Artefact, ...]:
    """What has a part in an answer that says nothing."""
    return tuple(part for part in parts if part.kind != "document")
