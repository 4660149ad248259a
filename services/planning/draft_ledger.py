"""What shipped drafts cost and save, by class of answer, and whether they earn their keep: pure arithmetic.

A draft is held against answers of its class that had none, for the hub drafts out of its own prompt too. Few requests
are planned against the verdict, so that either side stays known and a class can come back. Next: experience.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import msgspec
from cachetools import LRUCache

from tidegate.schemas import Speculation
from tidegate.services.planning.answer_class import AnswerClass

MOST_CLASSES = 256
LEAST_SEEN = 4
"""Answers on a side before anything is concluded from it."""
EXPLORED = 16
"""One request in so many is planned against the verdict."""
KEEP = 0.9
"""What every further answer leaves of the weight of those before it on the same side."""


class DraftArm(msgspec.Struct, frozen=True, gc=False):
    """Answers of one class that had a shipped draft, or that had none: how many, and their weighted sums of passes
    that were chosen token by token, of passes that were taken, and of bytes that were sent."""

    seen: int = 0
    weight: float = 0.0
    chosen: float = 0.0
    steps: float = 0.0
    sent: float = 0.0

    def after(self, spent: Speculation, sent: int) -> DraftArm:
        """With one more answer."""
        return DraftArm(
            self.seen + 1,
            KEEP * self.weight + 1,
            KEEP * self.chosen + spent.chosen,
            KEEP * self.steps + spent.steps,
            KEEP * self.sent + sent,
        )

    @property
    def steps_share(self) -> float:
        """Passes taken for each token that the model chose; 1 where it chose none."""
        return self.steps / self.chosen if self.chosen > 0 else 1.0


class DraftRecord(msgspec.Struct, frozen=True, gc=False):
    """What the planner knows of a class: its answers with a shipped draft, and those without."""

    shipped: DraftArm = DraftArm()
    plain: DraftArm = DraftArm()

    @property
    def seen(self) -> int:
        return self.shipped.seen + self.plain.seen

    @property
    def chosen(self) -> float:
        """Tokens of an answer that the model chooses itself: the passes that it takes where nobody drafts."""
        weight = self.shipped.weight + self.plain.weight
        return (self.shipped.chosen + self.plain.chosen) / weight if weight > 0 else 0.0

    @property
    def saved(self) -> float:
        """Passes of an answer that a shipped draft saves beyond what is saved without one."""
        without = self.plain.steps_share if self.plain.seen >= LEAST_SEEN else 1.0
        return (without - self.shipped.steps_share) * self.chosen

    @property
    def sent(self) -> float:
        """Bytes of a shipped draft."""
        return self.shipped.sent / self.shipped.weight if self.shipped.weight > 0 else 0.0


UNSEEN = DraftRecord()


def drafts_pay(record: DraftRecord, step_ms: float, ms_per_byte: float, worth_ms: float) -> bool | None:
    """Whether a shipped draft saves `worth_ms` of the hub's passes beyond what sending it takes; None: not known yet.

    Where the model chooses nothing itself (it is not called, or may only quote) no draft can save anything.
    """
    if record.shipped.seen < LEAST_SEEN:
        return None
    return record.saved * step_ms - record.sent * ms_per_byte >= worth_ms


def explores(rid: str) -> bool:
    """Whether this request is planned against the verdict: by its id, so that it is planned alike at every try."""
    return bool(rid) and zlib.crc32(rid.encode()) % EXPLORED == 0


class LedgerLine(msgspec.Struct, kw_only=True):
    """The account of one class since it was opened: answers of the hub, of which with a shipped draft; drafted tokens,
    accepted ones, passes saved, bytes of shipped drafts, and how many drafts were shipped to where no model was called.
    """

    answers: AnswerClass
    count: int = 0
    shipped: int = 0
    uncalled: int = 0
    drafted: int = 0
    accepted: int = 0
    saved: int = 0
    draft_bytes: int = 0
    record: DraftRecord = UNSEEN
    pays: bool | None = None
    """The verdict when it was last asked for."""

    @property
    def wasted(self) -> int:
        """Drafted tokens that were not accepted."""
        return self.drafted - self.accepted

    @property
    def bytes_per_accepted(self) -> float | None:
        """Bytes of shipped drafts for each accepted token; None where none was accepted."""
        return self.draft_bytes / self.accepted if self.accepted else None

    def enter(self, spent: Speculation) -> None:
        """Account for an answer."""
        sent = spent.draft_bytes
        self.count += 1
        self.shipped += sent > 0
        self.uncalled += sent > 0 and spent.steps == 0
        self.drafted += spent.drafted
        self.accepted += spent.accepted
        self.saved += spent.saved
        self.draft_bytes += sent
        arm = "shipped" if sent else "plain"
        after = {arm: getattr(self.record, arm).after(spent, sent)}
        self.record = msgspec.structs.replace(self.record, **after)


class DraftLedger:
    """The account of every class; at most `classes` of them, the longest unseen go first."""

    def __init__(self, lines: Iterable[LedgerLine] = (), *, classes: int = MOST_CLASSES) -> None:
        """`lines` are what was kept, the longest unseen first."""
        self._lines: LRUCache[AnswerClass, LedgerLine] = LRUCache(classes)
        for line in lines:
            self._lines[line.answers] = line

    def observe(self, answers: AnswerClass, spent: Speculation) -> None:
        """Enter what an answer of the class took; one whose counts contradict each other is left out."""
        if not 0 <= spent.accepted <= spent.drafted or spent.forced > spent.tokens:
            return
        answers = answers._replace(evidence=0)  # what the site found says nothing of how well it drafts
        for each in (*answers.wider, answers):
            line = self._lines.pop(each, None) or LedgerLine(answers=each)  # what was seen last stands last
            line.enter(spent)
            self._lines[each] = line

    @property
    def records(self) -> Mapping[AnswerClass, DraftRecord]:
        """What the planner goes by."""
        return {line.answers: line.record for line in self.lines}

    @property
    def lines(self) -> tuple[LedgerLine, ...]:
        """The accounts, the longest unseen first."""
        return tuple(self._lines[each] for each in [*self._lines])


def record_of(answers: AnswerClass, known: Mapping[AnswerClass, DraftRecord]) -> DraftRecord:
    """The class's own record once there is enough of it, else that of the wider class."""
    own = known.get(answers, UNSEEN)
    return own if own.shipped.seen >= LEAST_SEEN else known.get(answers._replace(name=""), own)
