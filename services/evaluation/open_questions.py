"""A site's open questions: what was asked and not answered, grouped by meaning, for whoever writes its documents.

Pure. Promises that no value of the vault is in them: personal data are named by their kind. Next: services/cli/gaps.py,
which reads what the site has stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from tidegate.schemas import Published, Question, Suggestion
from tidegate.schemas.vault_token import read_kinds

OPEN_REASONS = frozenset({"abstained", "cloud_unreachable", "unclear"})
"""Why a question stays open. One that came too late, or that must not be answered, says nothing of the documents."""
SAME_FROM = 0.7
"""Cosine from which two questions are counted as one. On 96 questions with another wording each (dialogues, train),
88 % of the pairs of one meaning are above it, and none of the 9 120 pairs of two."""
MOST_WORDINGS = 3
MOST_NEAREST = 3

Embed = Callable[[str], Any]
"""From a text to its vector, of length one."""


class OpenQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One request that got no answer. `at_s` is Unix time in seconds; `text` is redacted."""

    text: str
    language: str
    reason: str
    at_s: float
    nearest: tuple[Suggestion, ...] = ()


class NearPassage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the site's documents come nearest to an open question."""

    document_id: str
    title: str
    heading: str
    page: int
    score: float


class QuestionGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of one meaning: the wording that is nearest to all, others, how often and when it was asked, and why
    there was no answer. Times are Unix time in seconds."""

    text: str
    asked: int
    other_wordings: tuple[str, ...]
    languages: tuple[str, ...]
    reasons: dict[str, int]
    first_at_s: float
    last_at_s: float
    nearest: tuple[NearPassage, ...]


def open_question(published: Published, question: Question, at_s: float) -> OpenQuestion | None:
    """The request as an open question; None for one that was answered, or must not be."""
    if published.outcome != "abstained" or published.reason not in OPEN_REASONS:
        return None
    return OpenQuestion(
        text=name_kinds(question.text),
        language=question.language,
        reason=published.reason,
        at_s=at_s,
        nearest=published.suggestions,
    )


def name_kinds(text: str) -> str:
    """`text` with the kind of each vault token in its place ("[iban]"), on one line."""
    return " ".join(read_kinds(text, lambda kind: f"[{kind.lower()}]").split())


def group_questions(questions: Sequence[OpenQuestion], embed: Embed | None) -> list[QuestionGroup]:
    """The questions by meaning, those that were asked most first; by their wording alone where nothing can embed."""
    by_wording: dict[str, list[OpenQuestion]] = {}
    for question in questions:
        by_wording.setdefault(" ".join(question.text.casefold().split()).strip(" ?!.¿¡"), []).append(question)
    wordings = sorted(by_wording.values(), key=len, reverse=True)
    if embed is None:
        groups = [[wording] for wording in wordings]
    else:
        groups = _join_alike(wordings, np.asarray([embed(wording[0].text) for wording in wordings]))
    found = [_describe(group) for group in groups]
    return sorted(found, key=lambda group: (-group.asked, -group.last_at_s))


def _join_alike(wordings: list[list[OpenQuestion]], vectors: Any) -> list[list[list[OpenQuestion]]]:
    """Each wording with the group whose first one, which was asked most, it is most like; else a group of its own."""
    groups: list[list[list[OpenQuestion]]] = []
    heads: list[int] = []
    for index, wording in enumerate(wordings):
        likeness = vectors[heads] @ vectors[index] if heads else np.zeros(0)
        if heads and float(likeness.max()) >= SAME_FROM:
            groups[int(likeness.argmax())].append(wording)
        else:
            groups.append([wording])
            heads.append(index)
    return groups


def _describe(group: list[list[OpenQuestion]]) -> QuestionGroup:
    every = [question for wording in group for question in wording]
    times = [question.at_s for question in every]
    return QuestionGroup(
        text=group[0][0].text,
        asked=len(every),
        other_wordings=tuple(wording[0].text for wording in group[1 : MOST_WORDINGS + 1]),
        languages=tuple(dict.fromkeys(question.language for question in every)),
        reasons=dict(Counter(question.reason for question in every).most_common()),
        first_at_s=min(times),
        last_at_s=max(times),
        nearest=_nearest(suggestion for question in every for suggestion in question.nearest),
    )


def _nearest(suggestions: Iterable[Suggestion]) -> tuple[NearPassage, ...]:
    """Each passage once, the most alike first."""
    best: dict[tuple[str, int], Suggestion] = {}
    for suggestion in sorted(suggestions, key=lambda each: -each.score):
        best.setdefault((suggestion.document_id, suggestion.start), suggestion)
    return tuple(
        NearPassage(
            document_id=each.document_id,
            title=each.title,
            heading=each.heading,
            page=each.page,
            score=round(each.score, 4),
        )
        for each in list(best.values())[:MOST_NEAREST]
    )
