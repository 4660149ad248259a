"""Joins a fragment ("and on Saturdays?", "the V30, I meant") with the question before it, by what it may replace.

Pure. Promises that every word of the fragment with a topic is in the result. Next: noun_phrases.py."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tidegate.services.languages.dialogue_patterns import DialoguePatterns, find_words, is_named, topic_words
from tidegate.services.languages.noun_phrases import NounPhrase, find_phrases, is_code, same_group, shape

_ENDING = re.compile(r"[\s?!.…]*$")


def join_fragment(fragment: str, question: str, patterns: DialoguePatterns, *, capitals_name: bool) -> str:
    """`question` with the fragment in the place of what it replaces; at its end where it replaces nothing."""
    bare = fragment.strip(" \t\n,.;:?!¿¡…-–—")
    kept = patterns.additions.sub("", bare).strip(" ,") or bare
    for replace in (_replace_calendar, _replace_code, _replace_modifier, _replace_phrase):
        joined = replace(kept, question, patterns, capitals_name)
        if joined is not None:
            return joined
    return append_to(question, kept)


def append_to(question: str, more: str) -> str:
    """`question` with more words before its mark."""
    ending = _ENDING.search(question)
    at = ending.start() if ending else len(question)
    return f"{question[:at]} {more}{question[at:]}" if question[at:].strip() else f"{question[:at]} {more}?"


def replace_span(text: str, start: int, end: int, words: str) -> str:
    return f"{text[:start]}{words}{text[end:]}"


def _replace_calendar(fragment: str, question: str, patterns: DialoguePatterns, _: bool) -> str | None:
    """A day for a day, a season for a season; with its preposition, where both have one."""
    new, old = patterns.calendar.search(fragment), patterns.calendar.search(question)
    if not new or len(topic_words(fragment, patterns)) > len(topic_words(new[0], patterns)):
        return _replace_date(fragment, question, patterns)
    if not old:
        return append_to(question, fragment)
    lead = re.search(r"(\S+)\s+$", question[: old.start()])
    start = lead.start(1) if lead and patterns.preposition.fullmatch(lead[1]) else old.start()
    first = fragment.split()[0]
    has_both = start < old.start() and patterns.preposition.fullmatch(first)
    return replace_span(question, start if has_both else old.start(), old.end(), fragment if has_both else new[0])


def _replace_date(fragment: str, question: str, patterns: DialoguePatterns) -> str | None:
    """A number with a name of the calendar for another."""
    form = re.compile(rf"\d{{1,2}}\.?(?:st|nd|rd|th)?\s+(?:de\s+|of\s+)?(?:{patterns.calendar.pattern})", re.IGNORECASE)
    new, old = form.search(fragment), form.search(question)
    return replace_span(question, old.start(), old.end(), new[0]) if new and old else None


def _replace_code(fragment: str, question: str, patterns: DialoguePatterns, _: bool) -> str | None:
    """A code or number for the last one that is written alike; the rest of the fragment for what it may replace."""
    codes = [word[0] for word in find_words(fragment) if is_code(word[0])]
    if not codes:
        return None
    new = codes[-1]
    words = find_words(question)
    alike = [word for word in words if is_code(word[0]) and _alike(word[0], new)]
    if not alike:
        return None
    neighbours = {word.casefold() for word in topic_words(fragment, patterns)} - {new.casefold()}
    near = [word for word in alike if neighbours & set(_around(question, word))]
    old = (near or alike)[-1]
    head = _common_head(old[0], new)
    joined = replace_span(question, old.start(), old.start() + len(head), new) if head else None
    joined = joined or replace_span(question, old.start(), old.end(), new)
    rest = [each for each in find_phrases(fragment, patterns) if new not in each.text]
    for phrase in rest:
        words_of = f"{phrase.preposition} {phrase.text}".strip()
        if phrase.text.casefold() in joined.casefold():
            continue
        target = _phrase_to_replace(phrase, joined, patterns) if phrase.preposition else None
        joined = replace_span(joined, target.outer, target.end, words_of) if target else append_to(joined, words_of)
    return joined


def _alike(old: str, new: str) -> bool:
    return shape(old) == shape(new) or shape(old).startswith(f"{shape(new)}-") or (old.isdigit() and new.isdigit())


def _common_head(old: str, new: str) -> str:
    """The code at the head of a compound ("M10-Schrauben"), where the new one is a code alone."""
    head = re.match(r"[A-Z]*\d+(?=-[A-ZÄÖÜ]?[a-zäöü]{3,})", old)
    return head[0] if head and shape(head[0]) == shape(new) else ""


def _around(question: str, word: re.Match[str]) -> list[str]:
    words = [each[0].casefold() for each in find_words(question)]
    starts = [each.start() for each in find_words(question)]
    at = starts.index(word.start())
    return words[max(0, at - 1) : at + 2]


def _replace_modifier(fragment: str, question: str, patterns: DialoguePatterns, _: bool) -> str | None:
    """What is said of a word that both have ("size L"), or that a pronoun stands for ("the edge one")."""
    if patterns.ones.search(fragment):
        return _replace_described(fragment, question, patterns)
    mine, theirs = find_words(fragment), find_words(question)
    shared = [
        (index, at)
        for index, word in enumerate(mine)
        for at, other in enumerate(theirs)
        if word[0].casefold() == other[0].casefold() and not patterns.function.fullmatch(word[0])
    ]
    for index, at in shared:
        for step in (1, -1):
            if not (0 <= index + step < len(mine) and 0 <= at + step < len(theirs)):
                continue
            new, old = mine[index + step], theirs[at + step]
            if not patterns.function.fullmatch(new[0]) and not patterns.function.fullmatch(old[0]):
                return replace_span(question, old.start(), old.end(), new[0])
    return None


def _replace_described(fragment: str, question: str, patterns: DialoguePatterns) -> str | None:
    """The last phrase of the question that describes its noun, described otherwise."""
    description = " ".join(topic_words(fragment, patterns))
    for phrase in reversed(find_phrases(question, patterns)):
        words = [word for word in find_words(phrase.text) if not patterns.article.fullmatch(word[0])]
        if len(words) >= 2 and description:
            old = words[-2]
            return replace_span(question, phrase.start + old.start(), phrase.start + old.end(), description)
    return None


def _replace_phrase(fragment: str, question: str, patterns: DialoguePatterns, capitals_name: bool) -> str | None:
    """A phrase for one with a preposition of the same group; a name for a name; else the phrase that is asked of."""
    phrases = find_phrases(f"… {fragment}", patterns, capitals_name=capitals_name)
    if not phrases:
        return None
    new = phrases[0]
    if not capitals_name and not new.preposition and new.text.split()[-1][0].islower():
        return None  # an adjective alone ("und ein großes?"): the noun is that of the question before
    words = fragment if len(phrases) > 1 else f"{new.preposition} {new.text}".strip()
    target = _phrase_to_replace(new, question, patterns, capitals_name=capitals_name)
    if target is None:
        return None
    if new.is_named and not new.preposition:
        start, end = _named_span(target)
        bare = re.sub(rf"^(?:{patterns.article.pattern})\s*", "", words, flags=re.IGNORECASE)
        return replace_span(question, start, end, bare if start > target.start or not new.has_article else words)
    start = target.outer if new.preposition else target.start
    return replace_span(question, start, target.end, words)


def _named_span(phrase: NounPhrase) -> tuple[int, int]:
    """From the first to the last word of a phrase that is a name or a code."""
    names = [word for word in find_words(phrase.text) if is_named(word[0])]
    return phrase.start + names[0].start(), phrase.start + names[-1].end()


def _phrase_to_replace(
    new: NounPhrase, question: str, patterns: DialoguePatterns, *, capitals_name: bool = True
) -> NounPhrase | None:
    phrases = find_phrases(question, patterns, capitals_name=capitals_name)
    if new.preposition:
        return _last(
            each
            for each in phrases
            if each.preposition
            and same_group(each.preposition, new.preposition, patterns)
            and _is_like(each.text, new.text)
        )
    if new.is_named:
        return _last(each for each in phrases if each.is_named and not patterns.calendar.search(each.text))
    named = [each for each in phrases if each.is_named]
    plain = [each for each in phrases if not each.is_named]
    if named and plain:  # what is asked of the one that is named
        return plain[0] if new.has_article and plain[0].start < named[-1].start else None
    if not capitals_name or new.has_article:
        # "im Monat" and "par jour" say how it is counted: what has an article is what is asked of.
        asked_of = _last(each for each in phrases if each.has_article)
        return asked_of or _last(each for each in phrases if each.preposition)
    return None


def _is_like(old: str, new: str) -> bool:
    """Whether the last words are written alike: a name does not take the place of a common noun."""
    return old.split()[-1][0].isupper() == new.split()[-1][0].isupper()


def _last(phrases: Iterable[NounPhrase]) -> NounPhrase | None:
    return next(reversed(tuple(phrases)), None)
