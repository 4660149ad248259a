"""One answer in a model's own words, in the making: which sentences stand, and what became of the others.

Promises that in the mode `grounded` no sentence stands that its passages do not bear out. Next: `grounded_writer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from tidegate.schemas import Answer, Check, Speculation, Writing, WritingReport, digest_of
from tidegate.services.answering.sentence_check import SentenceCheck
from tidegate.services.answering.written_sentences import JudgedSentence, WrittenSentence, cite, judge
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.reader import RankedSpans

MOST_SENTENCES = 4
COUNTED = ("steps", "tokens", "drafted", "accepted", "forced")


@dataclass
class WrittenAnswer:
    """One answer in the making: the sentences that stand, and what became of the others."""

    mode: Writing
    question: str
    units: tuple[Candidate, ...]
    selected: frozenset[tuple[str, int]]
    """The spans of the units that answer the question, as the reader says."""
    instructions: str = ""
    """The asker's, as long as they stand in the prompt."""
    kept: list[JudgedSentence] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    retried: int = 0
    is_replaced: bool = False
    is_none: bool = False
    """The model says that the passages hold no answer."""
    spent: Speculation | None = None

    @property
    def text(self) -> str:
        """What stands so far."""
        return " ".join(sentence.text for sentence in self.kept)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be written."""
        return self.is_replaced or self.is_none or len(self.kept) >= MOST_SENTENCES

    def judge(self, sentence: WrittenSentence) -> JudgedSentence:
        """What bears a sentence out; true words that rest on nothing that answers the question are no answer."""
        judged = judge(sentence, self.units, self.question)
        if not judged.check.passed or any(unit.span in self.selected for unit in judged.units):
            return judged
        return JudgedSentence(judged.text, SentenceCheck(judged.check.score, "what it cites does not answer"))

    def take(self, sentence: JudgedSentence) -> bool:
        """Keep a sentence that may be said, once; False for one that may not.

        A yes or no that nothing bears out is left out, and `faults` say so."""
        if self.mode == "grounded" and sentence.check.doubtful.says:
            self.faults.append(f"its {sentence.check.doubtful.says} was left out: nothing that it cites says so")
            if not sentence.check.doubtful.rest:
                return True
            sentence = sentence.without_lead()
        if not sentence.check.passed and self.mode == "grounded":
            return False
        if all(sentence.text != each.text for each in self.kept):
            self.kept.append(sentence)
        return True

    def refuse(self, sentence: JudgedSentence, *, is_second: bool) -> None:
        """A sentence may not be said: it is written once more, and the second time replaced."""
        self.faults.append(sentence.check.fault)
        self.is_replaced = is_second
        self.retried += not is_second

    def spend(self, more: Speculation | None) -> None:
        """Count what an attempt took, where that is known."""
        if more is None or self.spent is None:
            self.spent = more or self.spent
            return
        sums = {name: getattr(self.spent, name) + getattr(more, name) for name in COUNTED}
        self.spent = msgspec.structs.replace(self.spent, **sums)

    def shown(self, reading: RankedSpans) -> Answer:
        """What stands so far, as an answer; its confidence is the reader's, for only that is calibrated."""
        borne = [each for each in self.kept if each.check.passed]
        share = len(borne) / len(self.kept) if self.kept else 0.0
        least = min((each.check.score for each in self.kept), default=0.0)
        others = [each for each in reading.answer.checks if each.name not in ("grounding", "entailment")]
        checks = (Check("grounding", share == 1.0, share), Check("entailment", share == 1.0, least), *others)
        citations = cite([unit for each in borne for unit in each.units])
        fields = {"text": self.text, "citations": citations, "checks": checks, "writing": self._report()}
        return msgspec.structs.replace(reading.answer, **fields)

    def concluded(self, reading: RankedSpans) -> Answer:
        """The whole answer: with the reader's quotation behind it, or in its place, where a sentence was replaced. An
        empty one where the model says that there is none."""
        quote = reading.answer
        if self.is_none:
            return Answer(text="", writing=self._report(), speculation=self.spent)
        if not self.kept:
            answer, self.is_replaced = quote, True
            self.faults = self.faults or ["it wrote no whole sentence"]
        else:
            answer = self.shown(reading)
            if self.is_replaced and quote.text not in answer.text:
                whole = dict.fromkeys((*answer.citations, *quote.citations))
                text = f"{answer.text} {quote.text}"
                answer = msgspec.structs.replace(answer, text=text, citations=tuple(whole))
        return msgspec.structs.replace(answer, writing=self._report(), speculation=self.spent)

    def _report(self) -> WritingReport:
        return WritingReport(
            mode=self.mode,
            sentences=len(self.kept) + self.is_replaced,
            retried=self.retried,
            replaced=int(self.is_replaced),
            faults=tuple(self.faults),
            instructions=digest_of(self.instructions),
        )
