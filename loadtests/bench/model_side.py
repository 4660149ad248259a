"""One model behind the hub's reader, as `cloud_verifier.model` puts it there: its answers, judged, and what it takes.

Next: `answers_models`, which holds two of them side by side.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from loadtests.bench.qa_sites import HALF, QaQuestion
from tidegate.schemas import Answer, Artefact, Escalated, Partial, Plan, Question, Speculation
from tidegate.services.answering.answerer import GroundedAnswerer
from tidegate.services.answering.grounded_writer import GroundedWriter
from tidegate.services.answering.model_writers import TargetWriter
from tidegate.services.answering.quantities import find_quantities, leave_out_quantities, split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.reader import RankedSpans
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer

MIB = 1 << 20
PLAN = Plan(
    where="cloud",
    may_escalate=True,
    k=8,
    model="",
    shares_ms={},
    config_version="bench",
    reason="bench",
    mode="cloud_stream",
    writing="grounded",
)


class ReadQuestion(msgspec.Struct, frozen=True):
    """A question with what the hub's reader makes of it."""

    question: QaQuestion
    reading: RankedSpans


class HubAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the hub, judged. `stands`: what the model said is what is answered; `is_retried`: a sentence was
    refused and written once more; no step: no model was called. `first_ms` is until something of it may be shown.
    """

    is_answerable: bool
    is_given: bool
    is_right: bool
    stands: bool = False
    is_retried: bool = False
    steps: int = 0
    tokens: int = 0
    first_ms: float = 0.0
    took_ms: float = 0.0


class ModelCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes before and beside its answers. `memory_mib` is what the process grew by, one answer given."""

    start_ms: float
    memory_mib: float
    disk_mib: float


class ModelBehindReader:
    """A model behind the hub's reader, as `cloud_verifier.model` puts it there."""

    def __init__(self, directory: Path, threads: int) -> None:
        """Load it. Raises `ModelRefusedError`."""
        self._before_mib, began_s = resident_mib(), time.perf_counter()
        self._target = EmbeddedTarget.load(directory, threads=threads, quotes=True)
        self._start_ms = (time.perf_counter() - began_s) * 1e3
        self._disk_mib = sum(path.stat().st_size for path in directory.iterdir()) / MIB
        self._reading: RankedSpans | None = None
        self._first_s = 0.0
        self._backend: GroundedWriter | GroundedAnswerer
        if isinstance(self._target.tokenizer, ChatTokenizer):
            self._backend = GroundedWriter(TargetWriter(self._target), self._read, self._publish)
        else:
            self._backend = GroundedAnswerer(self._target, self._read, self._publish)

    async def warm_up(self, asked: ReadQuestion) -> ModelCost:
        """Answer once, so that all memory is taken; what it took up to then."""
        await self.answer(asked)
        grown_mib = resident_mib() - self._before_mib
        return ModelCost(start_ms=self._start_ms, memory_mib=grown_mib, disk_mib=self._disk_mib)

    async def answer(self, asked: ReadQuestion) -> HubAnswer:
        """The hub's answer with this model; the time is without the reader's."""
        self._reading, self._first_s = asked.reading, 0.0
        began_s = time.perf_counter()
        answer, _ = await self._backend.answer(escalate(asked.question))
        ended_s = time.perf_counter()
        spent = answer.speculation or Speculation(steps=0, tokens=0)
        return msgspec.structs.replace(
            judge(asked.question, answer),
            stands=stands(answer),
            is_retried=answer.writing is not None and answer.writing.retried > 0,
            steps=spent.steps,
            tokens=spent.tokens,
            first_ms=((self._first_s or ended_s) - began_s) * 1e3,
            took_ms=(ended_s - began_s) * 1e3,
        )

    async def close(self) -> None:
        """Stop its threads."""
        await self._target.close()

    async def _read(self, _: Escalated) -> tuple[RankedSpans | None, tuple[Artefact, ...]]:
        return self._reading, ()

    async def _publish(self, _: Partial) -> None:
        self._first_s = self._first_s or time.perf_counter()


def escalate(question: QaQuestion) -> Escalated:
    """The question as a site asks the hub."""
    asked = Question(text=question.text, language=question.language, intent="", intent_confidence=0.0)
    return Escalated(
        rid="bench",
        tenant="bench",
        site="bench",
        asked_at_ms=0,
        deadline_at_ms=0,
        question=asked,
        plan=PLAN,
        reason="bench",
    )


def judge(question: QaQuestion, answer: Answer) -> HubAnswer:
    """Right is an answer that cites what answers the question and says it."""
    cites = any(question.is_answered_at(each.document_id, each.start, each.end) for each in answer.citations)
    is_right = cites and says(answer.text, question.answer, question.language)
    return HubAnswer(is_answerable=bool(question.evidence), is_given=bool(answer.text), is_right=is_right)


def says(text: str, wanted: str, language: str) -> bool:
    """Whether a text has every number of what is wanted and half of its other words."""
    words = split_words(text)
    numbers, own = ({each.value for each in find_quantities(some, language)} for some in (split_words(wanted), words))
    terms = set(find_terms(leave_out_quantities(wanted, language), language))
    return numbers <= own and len(terms & set(find_terms(text, language))) >= HALF * len(terms)


def stands(answer: Answer) -> bool:
    """Whether what the model said is what is answered: it chose as the reader had, or wrote what may be said."""
    if answer.writing is not None:
        return not answer.writing.replaced
    return any(check.name == "agreement" and check.passed for check in answer.checks)


def resident_mib() -> float:
    """What this process has in memory; of Linux alone."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
