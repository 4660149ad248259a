"""The noun phrases of a question, by its articles, prepositions and names: what a pronoun may stand for, and what a
fragment may take the place of. Pure and approximate: no grammar is parsed. Next: followups.py."""

from __future__ import annotations

import re
from typing import NamedTuple

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.languages.dialogue_patterns import DialoguePatterns, find_words, is_named


class NounPhrase(NamedTuple):
    """Characters `start` to `end` of a text. `preposition` stands before it, if any, from `outer` on."""

    text: str
    start: int
    end: int
    preposition: str = ""
    outer: int = 0
    is_named: bool = False
    has_article: bool = False


def find_phrases(text: str, patterns: DialoguePatterns, *, capitals_name: bool = True) -> list[NounPhrase]:
    """The noun phrases in their order: words with a topic that follow each other, with the article and the preposition
    before them. Where `capitals_name` is not set (German), a capital alone makes no name."""
    phrases: list[NounPhrase] = []
    run: list[tuple[int, int]] = []
    article: re.Match[str] | None = None
    preposition: re.Match[str] | None = None

    def close() -> None:
        nonlocal article, preposition
        if run:
            phrases.append(_phrase(text, run, (article, preposition), capitals_name=capitals_name))
        run.clear()
        article = preposition = None

    before = 0
    for word in find_words(text):
        if text[before : word.start()].strip(" "):
            close()
        before = word.end()
        kind = word[0]
        if patterns.article.fullmatch(kind):
            if run:
                close()
            article = word
        elif patterns.preposition.fullmatch(kind):
            close()
            preposition = word
        elif patterns.function.fullmatch(kind) and not _is_month(text, run, kind):
            close()
        elif not capitals_name and run and text[run[-1][0]].isupper() and kind[0].islower():
            close()  # nouns have a capital and end their phrase: "die Praxis offen", "Dosen braucht"
        else:
            run.append(word.span())
    close()
    return phrases


def _is_month(text: str, run: list[tuple[int, int]], word: str) -> bool:
    """Whether a word that has no topic in small letters is a name after a number ("2 May")."""
    return bool(run) and word[0].isupper() and text[slice(*run[-1])].strip(".").isdigit()


def _phrase(
    text: str,
    run: list[tuple[int, int]],
    before: tuple[re.Match[str] | None, re.Match[str] | None],
    *,
    capitals_name: bool,
) -> NounPhrase:
    article, preposition = before
    start = article.start() if article else run[0][0]
    words = [text[begin:end] for begin, end in run]
    named = any(
        any(letter.isdigit() for letter in word)
        or word.startswith("<")
        or (capitals_name and word[0].isupper() and begin > 1)
        for word, (begin, _) in zip(words, run, strict=True)
    )
    return NounPhrase(
        text=text[start : run[-1][1]],
        start=start,
        end=run[-1][1],
        preposition=preposition[0].lower() if preposition else "",
        outer=preposition.start() if preposition else start,
        is_named=named,
        has_article=article is not None,
    )


def same_group(one: str, other: str, patterns: DialoguePatterns) -> bool:
    """Whether a phrase with one preposition may take the place of one with the other."""
    groups = patterns.words.prepositions
    return one == other or any(one in group and other in group for group in groups)


def shape(word: str) -> str:
    """How a word is written: `9` for digits, `A` for capitals, `a` for others; runs count once. Of a vault token its
    kind: a name does not take the place of an account."""
    token = VAULT_TOKEN.fullmatch(word)
    if token:
        return token[1]
    marks = ["9" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in word]
    return "".join(mark for mark, last in zip(marks, ["", *marks], strict=False) if mark != last)


def is_code(word: str) -> bool:
    """Whether a word has a digit."""
    return is_named(word) and any(letter.isdigit() for letter in word)
