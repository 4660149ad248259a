"""Fills arrays: lists of values behind a label, options that are said, and rows of objects. Promises verbatim values.

Next: rows.py, which cuts a text into rows; filler.py, which fills one row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.choices import OPTION_FEATURES, find_options
from tidegate.services.knowledge.extraction.features import cover
from tidegate.services.knowledge.extraction.filler import FilledField, leaves_of
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.lone_days import weekdays
from tidegate.services.knowledge.extraction.rows import fill_rows
from tidegate.services.knowledge.extraction.schema import Field, Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, asked_of, match_words
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.extraction_words import all_words, any_of, fold
from tidegate.services.languages.words import join_patterns

_OPTIONS, _ALL, _BEHIND_LABEL, _LABELLED, _LIST, _UNNAMED, _NOTHING = 0.5, 0.33, 0.7, 0.33, 0.6, 0.7, 0.3
"""How often such a list was right on the training data, all its items together."""
_ONLY_LIST = 0.8
"""Where the array is all that is asked for, and the text is nothing but its items."""
_SAID, _DENIED, _CORRECTED = (OPTION_FEATURES.index(name) for name in ("unsaid", "denied", "corrected"))
_AND = join_patterns(lambda words: words.conjunctions)
_SEPARATOR = re.compile(rf"\s*(?:[,;/]|\s(?:{_AND}|&|\+|{any_of('alternatives')})(?=\s)|\n\s*[-*•]?)\s*", re.IGNORECASE)
_REMARK = re.compile(r"\s+\([^()]*\)[\s.!?]*$")
_LEAST = 0.3
_LONGEST_ITEM = 4
"""Words of an item of a text that is a list."""
_SENTENCE_END = re.compile(r"[.!?]\s")


def fill_array(field: Field, schema: Schema, values: TextValues, view: TextView) -> FilledField:
    """The items of an array that the text says; `[]` where it says that there are none."""
    items = field.items
    if items is None:
        return FilledField(field, None, 0, 0, _NOTHING)
    if items.kind == "object":
        rows = fill_rows(leaves_of(items), schema, view.text, values.language)
        if not rows:
            return FilledField(field, None, 0, 0, _NOTHING)
        confidence = float(np.mean([row.confidence for row in rows]))
        return _checked(field, schema, [row.value for row in rows], rows[0].start, rows[-1].end, confidence)
    asked = asked_of(field, ())
    if items.options is not None:
        found = _said_options(asked_of(items, ()), view)
        return _of_candidates(field, schema, found, _OPTIONS)
    own = asked_of(items, ())
    if own.family != "string":
        found = _nearby(asked, values.candidates(own, schema), view)
        is_all = not field.name and _is_all(found, view.text)
        return _of_candidates(field, schema, found, _ONLY_LIST if is_all else _ALL)
    return _strings(field, asked, schema, view)


def _checked(field: Field, schema: Schema, found: list[Any], start: int, end: int, confidence: float) -> FilledField:
    if found and schema.fits(field.part, found):
        return FilledField(field, found, start, end, confidence)
    return FilledField(field, None, 0, 0, _NOTHING)


def _of_candidates(field: Field, schema: Schema, found: list[ValueCandidate], confidence: float) -> FilledField:
    listed = (
        list(dict.fromkeys(each.value for each in found))
        if field.part.get("uniqueItems")
        else [each.value for each in found]
    )
    start, end = min((each.start for each in found), default=0), max((each.end for each in found), default=0)
    return _checked(field, schema, listed, start, end, confidence)


def _said_options(asked: FieldQuery, view: TextView) -> list[ValueCandidate]:
    """The options that the text names and does not deny, each once, as the text has them; days as a week has them."""
    candidates, rows = find_options(asked, view)
    found: dict[str, ValueCandidate] = {}
    for each, row in zip(candidates, rows, strict=True):
        if not row[_SAID] and not row[_DENIED] and not row[_CORRECTED] and (row[0] or row[1]):
            found.setdefault(repr(each.value), each)
    if all(fold(str(each.value)) in weekdays() for each in found.values()):
        return sorted(found.values(), key=lambda each: weekdays()[fold(str(each.value))])
    return sorted(found.values(), key=lambda each: each.start)


def _nearby(asked: FieldQuery, candidates: list[ValueCandidate], view: TextView) -> list[ValueCandidate]:
    """Those in the clause that names the field best; all where no clause names it."""
    clause, best = _best_clause(asked, view)
    if best < _LEAST:
        return candidates
    return [each for each in candidates if view.clause_of(each.start) == clause] or candidates


def _best_clause(asked: FieldQuery, view: TextView) -> tuple[int, float]:
    matches = match_words(asked, view)
    weights = np.array([term.weight for term in asked.terms])
    scores = [
        cover(matches, weights, np.array([float(word.clause == n) for word in view.words]))
        for n in range(len(view.clauses))
    ]
    best = int(np.argmax(scores))
    return best, scores[best]


def _strings(field: Field, asked: FieldQuery, schema: Schema, view: TextView) -> FilledField:
    """The items behind the field's label; those of the whole text where it is nothing but a list."""
    clause, best = _best_clause(asked, view)
    if best < _LEAST and field.name:
        return FilledField(field, None, 0, 0, _UNNAMED)
    if best < _LEAST:
        found = _items(view.text, 0, len(view.text))
        longest = max((len(each.value.split()) for each in found), default=0)
        is_list = len(found) > 1 and longest <= _LONGEST_ITEM and not _is_prose(found, view.text)
        is_sure = not field.name and longest < _LONGEST_ITEM
        return _of_candidates(field, schema, found if is_list else [], _ONLY_LIST if is_sure else _LIST)
    matches = match_words(asked, view)
    named = [n for n, word in enumerate(view.words) if word.clause == clause and matches[:, n].max(initial=0) >= 0.6]
    start, end = view.clauses[clause]
    last = view.words[named[-1]].end if named else start
    colon = view.text.find(":", start, end)
    begin = colon + 1 if colon >= 0 and (colon - last <= 3 or colon > last) else last
    if fold(view.text[begin:end]).strip(" .:,\n") in all_words("missing"):
        return FilledField(field, [], begin, end, _LABELLED)
    found = _items(view.text, begin, end)
    return _of_candidates(field, schema, found, _confidence(matches, named, colon, view))


def _is_prose(items: list[ValueCandidate], text: str) -> bool:
    """Whether a text has the marks of sentences: inside an item, or behind the last of items of several words."""
    is_sentence = text.rstrip().endswith((".", "!", "?")) and any(" " in each.value for each in items)
    return is_sentence or any(_SENTENCE_END.search(each.value) for each in items)


def _is_all(found: list[ValueCandidate], text: str) -> bool:
    """Whether a text is nothing but these values and what stands between the entries of a list."""
    rest = text
    for each in sorted(found, key=lambda one: -one.start):
        rest = f"{rest[: each.start]},{rest[each.end :]}"
    return bool(found) and not any(char.isalnum() for char in _SEPARATOR.sub(" ", rest))


def _confidence(matches: npt.NDArray[np.float64], named: list[int], colon: int, view: TextView) -> float:
    """More where nothing but the field's own words stands before the colon."""
    if colon < 0 or not named:
        return _NOTHING
    first, last = view.words[named[0]], view.words[named[-1]]
    is_alone = first.start == view.clauses[first.clause][0] + len(view.clause_text(first.clause)) - len(
        view.clause_text(first.clause).lstrip()
    )
    is_exact = matches[:, named].max(axis=1).min(initial=1.0) >= 0.94
    return _BEHIND_LABEL if is_alone and is_exact and 0 <= colon - last.end <= 1 else _LABELLED


def _items(text: str, start: int, end: int) -> list[ValueCandidate]:
    """The parts between commas and conjunctions, without articles, counts and bullets."""
    found, begin = [], start
    cuts = [match.span() for match in _SEPARATOR.finditer(text, start, end)] + [(end, end)]
    for stop, following in cuts:
        part = text[begin:stop]
        lead = re.match(r"[\s\-*•:=]*(?:\d{1,2}[.)]\s+)?(?:\d+\s?[x×]?\s+)?(?:[^\W\d_]+\s+)?", part)
        skip = (
            lead.end() if lead and fold(lead[0].split()[-1] if lead[0].split() else "") in all_words("articles") else 0
        )
        bare = re.match(r"[\s\-*•:=\"„“]*(?:\d{1,2}[.)]\s+)?(?:\d+\s?[x×]?\s+)?", part)
        skip = max(skip, bare.end() if bare else 0)
        item = _REMARK.sub("", part[skip:]).strip(' \t\n.!?"“”»„«')
        if item:
            at = begin + skip + part[skip:].index(item)
            found.append(ValueCandidate(item, at, at + len(item), "item"))
        begin = following
    return found
