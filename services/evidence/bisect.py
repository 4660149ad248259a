"""Names what altered an answer: between which two generations it changed, and which artefact of them did it. Pure.

Promises at most as many answers as a binary search takes, and one for each artefact of the step that it finds. Next:
reanswering.py, which answers; services/cli/bisect.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from tidegate.schemas import Approved, Artefact, Message, Published, Replied, Screened, Withheld

BisectVerdict = Literal["same", "found", "elsewhere"]


class AnswerOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an asker gets, as far as it is decided here: `kind` is the last fact's, `text` its words, `cited` what they
    rest on. Probabilities are no part of it."""

    kind: str
    reason: str = ""
    text: str = ""
    cited: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


class Answered(NamedTuple):
    """An outcome, and all that contributed to it."""

    outcome: AnswerOutcome
    lineage: tuple[Artefact, ...] = ()


class ArtefactChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An artefact, by `kind/name`, that is not the same before and after, with its version or epoch at either; empty:
    there was none."""

    name: str
    before: str = ""
    after: str = ""


class BisectReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What altered an answer.

    `same`: at the last generation it is as it was recorded. `found`: it changed from generation `before` to `after`,
    and each of `culprits` alone alters it; with `is_together` only all of them do. `elsewhere`: already the generation
    that it was given by gives another one now, so that no generation altered it; `culprits` are then what contributes
    to it now in another version than then: documents, models, the software. `answers` is how many were made.
    """

    verdict: BisectVerdict
    first: AnswerOutcome
    last: AnswerOutcome
    before: int = 0
    after: int = 0
    culprits: tuple[ArtefactChange, ...] = ()
    is_together: bool = False
    answers: int = 0


AnswerBy = Callable[[int], Awaitable[Answered]]
"""The answer by a generation."""
AnswerMixed = Callable[[int, int, str], Awaitable[Answered]]
"""The answer by the first generation with the artefact of this name from the second."""
ListChanges = Callable[[int, int], Sequence[ArtefactChange]]
"""What the second generation has in another version than the first."""


class Bisection(NamedTuple):
    """How generations are asked."""

    answer: AnswerBy
    mixed: AnswerMixed
    changes: ListChanges


async def bisect(recorded: Answered | None, generations: Sequence[int], by: Bisection) -> BisectReport:
    """Find what altered an answer between the first and the last of these generations, which are in order. `recorded`
    is what was given by the first one; None: what that gives now. Raises what answering raises."""
    known: dict[int, Answered] = {}

    async def answer(number: int) -> AnswerOutcome:
        if number not in known:
            known[number] = await by.answer(number)
        return known[number].outcome

    first, last = await answer(generations[0]), await answer(generations[-1])
    if recorded is not None and recorded.outcome != first:
        culprits = compare_lineages(recorded.lineage, known[generations[0]].lineage)
        return BisectReport(
            verdict="elsewhere", first=recorded.outcome, last=first, culprits=culprits, answers=len(known)
        )
    if first == last:
        return BisectReport(verdict="same", first=first, last=last, answers=len(known))
    low, high = 0, len(generations) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await answer(generations[middle]) == first else (low, middle)
    before, after = generations[low], generations[high]
    changes = by.changes(before, after)
    alone = [each for each in changes if (await by.mixed(before, after, each.name)).outcome != first]
    return BisectReport(
        verdict="found",
        first=first,
        last=await answer(after),
        before=before,
        after=after,
        culprits=tuple(alone or changes),
        is_together=not alone,
        answers=len(known) + len(changes),
    )


def outcome_of(fact: Message) -> AnswerOutcome:
    """What the last fact of a request comes to for the asker."""
    match fact:
        case Published():
            kind = {"answered": "approved"}.get(fact.outcome, "withheld")
            if kind == "withheld":
                return AnswerOutcome(kind=kind, reason=fact.reason)
            if not fact.citations and fact.reason:  # a reply, which cites nothing
                return AnswerOutcome(kind="replied", reason=fact.reason, text=fact.text)
            return AnswerOutcome(kind=kind, text=fact.text, cited=_cited(fact.citations), notices=fact.notices)
        case Approved():
            cited = _cited(fact.answer.citations)
            return AnswerOutcome(kind="approved", text=fact.answer.text, cited=cited, notices=fact.notices)
        case Withheld():
            return AnswerOutcome(kind="withheld", reason=fact.reason)
        case Replied():
            return AnswerOutcome(kind="replied", reason=fact.reason, text=fact.text)
        case Screened():
            return AnswerOutcome(kind="screened", reason=fact.question.intent)
    return AnswerOutcome(kind=type(fact).__name__.lower(), reason=str(getattr(fact, "reason", "")))


def compare_lineages(before: Sequence[Artefact], after: Sequence[Artefact]) -> tuple[ArtefactChange, ...]:
    """What contributes in another version, or only then, or only now; but for whole packs and plans."""
    old, new = _versions(before), _versions(after)
    names = sorted({name for name in (*old, *new) if old.get(name) != new.get(name)})
    return tuple(ArtefactChange(name=name, before=old.get(name, ""), after=new.get(name, "")) for name in names)


def _versions(lineage: Sequence[Artefact]) -> Mapping[str, str]:
    return {f"{part.kind}/{part.id}": part.version for part in lineage if part.kind not in ("pack", "config")}


def _cited(citations: Sequence[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(getattr(each, "document_id", "")) for each in citations))
