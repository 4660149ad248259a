"""Selects the units that make an answer, from their scores: which, and in which order. Next: compose.py.

Knows nothing of how a score was made; `candidates.py` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.yes_no import is_negated
from tidegate.services.languages.prose import join_prose

MOST_SENTENCES = 3
MOST_ENTRIES = 15
"""Entries of a list or a table up to which all are shown."""
UNNAMED = 1.5
"""How many times as far it must lead where it states no word of the question but those of its list's intro."""
LEAST_GENERAL = 0.6
"""Share of the question's words in the list's intro, headings and title from which such a question is for the list."""
SHOWN_ENTRIES = 10
"""How many of more than that are shown."""
NEAR_SENTENCE = 0.03
"""How far below the best sentence another of its section may score and still be part of the answer."""
NEAR_SHORT = 0.12
"""The same as long as the answer has no more than `SHORT_WORDS`."""
SHORT_WORDS = 32
NEAR_WHOLE = 0.25
"""How far below the best sentence an entry of its section may score where the question asks for every entry."""
NEAR_ENTRY = 0.04
"""How far below the best entry of a list another may score and still be asked for by name."""
LEAST_LEAD = {"item": 0.2, "row": 0.1}
"""How far above the mean of its list or table an entry must score to be what is asked for, and not the whole. Of
questions for one entry nine in ten get that one, of those for a list nine in ten get the list."""

_WHOLE = re.compile(rf"(?<!\w)(?:{join_prose(lambda words: words.wholes)})(?!\w)", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?:[a-z]+-?[\w-]*|\d{4,}|\d+-[\w-]*)(?![\w-])")
"""Letters with digits, or a number of four digits and more: what names one thing, and counts nothing."""

FindGroup = Callable[[Candidate], Sequence[Candidate]]
"""From an entry to all entries of its list or table, in the order of the document; from an intro to its list's."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The units in the order in which they are shown; where a list is among them, how many of its entries are shown,
    and of how many."""

    units: tuple[Candidate, ...] = ()
    shown: int = 0
    total: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether there is more of the list than is shown."""
        return self.total > self.shown


def select_units(ranked: Sequence[Candidate], question: str, find_group: FindGroup) -> Selection:
    """The best unit first, with another of its section that scores nearly as high; or the entries of its list or table
    that are asked for: some by name, or all of them."""
    if not ranked:
        return Selection()
    best = ranked[0]
    group = find_group(best)
    if len(group) > 1:
        return _select_entries(best, group, question)
    if group:
        return Selection(units=(unnumbered(best),))
    return _add_near(best, ranked, question, find_group)


def _add_near(best: Candidate, ranked: Sequence[Candidate], question: str, find_group: FindGroup) -> Selection:
    """A sentence with what is near it: other sentences, or the entries of a list, which comes whole or by name."""
    entries = _entries_beside(best, ranked, question, find_group)
    if entries is not None:
        return entries
    words = len(best.plain_text.split())
    others: list[Candidate] = []
    for other in ranked[1:]:
        if best.score - other.score > NEAR_SHORT or len(others) == MOST_SENTENCES - 1:
            break
        gap = best.retrieval_score - other.retrieval_score
        if gap > NEAR_SHORT or not is_same_section(other, best):
            continue
        if len(group := find_group(other)) > 1 and not others:
            entries = _select_entries(other, group, question)
            if entries.units == (other,):
                continue
            return Selection(units=(best, *entries.units), shown=entries.shown, total=entries.total)
        longer = words + len(other.plain_text.split())
        if gap <= NEAR_SENTENCE or longer <= SHORT_WORDS:
            others.append(unnumbered(other))
            words = longer
    return Selection(units=(best, *sorted(others, key=lambda each: each.unit.start)))


def _entries_beside(
    best: Candidate, ranked: Sequence[Candidate], question: str, find_group: FindGroup
) -> Selection | None:
    """What a question asks of the list or table in the section of the best sentence, where that does not say it: all
    entries, which come after the sentence, or instead of it the rows that deny what it affirms."""
    asks_for_all = _asks_for_all(question, [best]) and best.signals.coverage < 1
    language = best.passage.language
    if not asks_for_all and (not is_negated(question, language) or is_negated(best.plain_text, language)):
        return None
    for other in ranked[1:]:
        is_near = best.retrieval_score - other.retrieval_score <= NEAR_WHOLE and is_same_section(other, best)
        if not is_near or len(group := find_group(other)) < 2:
            continue
        if asks_for_all:
            entries = _whole(group)
            return msgspec.structs.replace(entries, units=(best, *entries.units))
        if denying := _rows_that_deny(group, question):
            return Selection(units=tuple(denying))
    return None


def is_same_section(one: Candidate, other: Candidate) -> bool:
    """Whether two units stand under the same heading of one document."""
    return one.passage.document_id == other.passage.document_id and one.unit.heading == other.unit.heading


def _select_entries(best: Candidate, group: Sequence[Candidate], question: str) -> Selection:
    numbered = _named_best(_entries_with_numbers(group, question), question)
    if numbered:
        return Selection(units=tuple(map(unnumbered, numbered)))
    if _asks_for_all(question, group):
        return _whole(group)
    top = max(group, key=lambda each: each.retrieval_score)
    is_intro = best.retrieval_score >= top.retrieval_score and all(each.span != best.span for each in group)
    others = [each.retrieval_score for each in group if each.span != top.span]
    lead = top.retrieval_score - sum(others) / len(others)
    least = LEAST_LEAD["row" if top.unit.kind == "row" else "item"]
    asked = frozenset(find_terms(question, top.passage.language))
    general = frozenset(find_terms(" ".join(_general_words(top)), top.passage.language))
    if asked.isdisjoint(frozenset(find_terms(top.text, top.passage.language)) - general):
        is_of_list = len(asked & general) >= LEAST_GENERAL * len(asked)
        least = float("inf") if is_of_list else UNNAMED * least
    named = [
        each for each in group if not (asked - general).isdisjoint(find_terms(each.plain_text, each.passage.language))
    ]
    if is_intro and len(named) == 1:
        return Selection(units=(unnumbered(named[0]),))
    labelled = [each for each in named if not (asked - general).isdisjoint(_label_terms(each))]
    if [each.span for each in labelled] == [top.span]:
        return Selection(units=(unnumbered(top),))
    if not is_intro and lead >= least:
        least = top.retrieval_score - NEAR_ENTRY
        return Selection(units=tuple(unnumbered(each) for each in group if each.retrieval_score >= least))
    denying = _rows_that_deny(group, question)
    if denying:
        return Selection(units=tuple(denying))
    return Selection(units=(best,)) if is_intro and _answers_alone(best, group, asked) else _whole(group)


def _answers_alone(intro: Candidate, group: Sequence[Candidate], asked: frozenset[str]) -> bool:
    """Whether a sentence before a list does not lead it, and states something asked for that the list, its title and
    its headings do not."""
    if intro.unit.kind != "sentence" or intro.plain_text.endswith(":"):
        return False
    around = (intro.passage.title, intro.unit.heading, *(each.plain_text for each in group))
    terms = (find_terms(text, intro.passage.language) for text in (intro.plain_text, " ".join(around)))
    own, others = map(frozenset, terms)
    return not asked.isdisjoint(own - others)


def label_of(entry: Candidate) -> str:
    """What stands before an entry's values: a row's first cell, an item up to its colon; empty where nothing does."""
    before, mark, _ = entry.plain_text.partition(" – " if entry.unit.kind == "row" else ": ")
    return before if mark else ""


def _label_terms(row: Candidate) -> frozenset[str]:
    """What a row is about, by the words of its first cell: of a number there, terms are parts. An item has none."""
    label = label_of(row) if row.unit.kind == "row" else ""
    return frozenset(term for term in find_terms(label, row.passage.language) if not term.isdigit())


def _whole(group: Sequence[Candidate]) -> Selection:
    """All entries, or the first of many."""
    shown = group if len(group) <= MOST_ENTRIES else group[:SHOWN_ENTRIES]
    return Selection(units=tuple(shown), shown=len(shown), total=len(group))


def _asks_for_all(question: str, units: Sequence[Candidate]) -> bool:
    """Whether the question asks for every entry, in words that no unit has itself ("every further person")."""
    asked = {match.lower() for match in _WHOLE.findall(question)}
    return bool(asked) and not any(asked & {found.lower() for found in _WHOLE.findall(each.text)} for each in units)


def _rows_that_deny(group: Sequence[Candidate], question: str) -> list[Candidate]:
    """The rows of a table that deny something, where the question asks which do; none where all do."""
    language = group[0].passage.language
    if group[0].unit.kind != "row" or not is_open_question(question) or not is_negated(question, language):
        return []
    found = [each for each in group if is_negated(each.plain_text, language)]
    return found if len(found) < len(group) else []


def _entries_with_numbers(group: Sequence[Candidate], question: str) -> list[Candidate]:
    """The entries that hold every number and identifier of the question, where not all of them do."""
    asked = set(_IDENTIFIER.findall(question.lower()))
    found = [each for each in group if asked <= set(_IDENTIFIER.findall(each.plain_text.lower()))]
    return found if asked and len(found) <= MOST_SENTENCES else []


def _named_best(entries: list[Candidate], question: str) -> list[Candidate]:
    """Those of the entries that state most words of the question beside its numbers and what is said of all: of a bolt
    M8 and a nut M8 the nut, where a nut M8 is asked for."""
    if len(entries) < 2:
        return entries
    language = entries[0].passage.language
    general = _IDENTIFIER.sub(" ", question.lower())
    asked = frozenset(find_terms(general, language)) - frozenset(
        find_terms(" ".join(_general_words(entries[0])), language)
    )
    stated = [len(asked.intersection(find_terms(each.plain_text, language))) for each in entries]
    return [each for each, count in zip(entries, stated, strict=True) if count == max(stated)]


def _general_words(entry: Candidate) -> list[str]:
    """What is said of all entries of a list: its title, headings and intro."""
    return [entry.passage.title, entry.unit.heading, *(quote for _, _, quote in entry.context)]


def without_strange_intros(selection: Selection, question: str) -> Selection:
    """The selection whose items are not led by a sentence that only stands before their list: it ends with no colon,
    and states nothing of the question."""
    languages = {each.passage.language for each in selection.units}
    asked = {language: frozenset(find_terms(question, language)) for language in languages}

    def led(each: Candidate) -> Candidate:
        if each.unit.kind != "item" or not each.context:
            return each
        intro, language = each.context[0][2].rstrip(), each.passage.language
        if intro.endswith(":") or not asked[language].isdisjoint(find_terms(intro, language)):
            return each
        return msgspec.structs.replace(each, context=each.context[1:])

    return msgspec.structs.replace(selection, units=tuple(map(led, selection.units)))


def unnumbered(each: Candidate) -> Candidate:
    """An entry on its own: its number says nothing."""
    return msgspec.structs.replace(each, unit=msgspec.structs.replace(each.unit, marker=""))
