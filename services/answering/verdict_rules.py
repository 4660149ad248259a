"""The rules by which one clause says yes or no to a question: exceptions, prices, needs, amounts, who alone may.

Each promises nothing where its words are not in both; the words are data, one file per language. Pure.
Next: `lead_verdict`, which asks them; services/languages/verdict_words.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from tidegate.services.answering.claim_denials import content_of, denies
from tidegate.services.answering.limits import read_limits
from tidegate.services.answering.quantities import REMEMBERED
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.yes_no import Polarity
from tidegate.services.languages.claim_words import ClaimMark, load_claim_words
from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.verdict_words import VerdictWords, load_verdict_words

HALF, MOST = 0.5, 0.75
"""Of the question's terms, what a statement must hold to refuse it, and to grant it."""
NEAR = 3
"""Terms behind *only* or *except* that it is about."""
FEW = 4
"""Terms of a question that is short enough to be about those who alone may."""
STEM = 5
"""Letters that two forms of a word have in common."""
CURRENCIES = frozenset({"eur", "gbp", "usd", "chf", "pln", "brl"})


class AskedClause(NamedTuple):
    """A question and one clause of what is cited for it, read once for all rules."""

    question: str
    clause: str
    language: str
    words: VerdictWords

    def asks(self, kind: str) -> bool:
        """Whether the question has a phrase of a kind of `VerdictWords`."""
        return _has(self.question, kind, self.language)

    def says(self, kind: str) -> bool:
        """Whether the clause has one."""
        return _has(self.clause, kind, self.language)


def refuses(read: AskedClause) -> bool:
    """Whether the clause denies, its bounds aside ("no more than"), or says *forbidden* or *closed*."""
    clause = fold(read.clause).replace("’", "'")
    if read.says("exceed"):
        return read.says("forbidden")
    bare = find_phrase("bounds", read.language).sub(" ", clause)
    return denies(bare, read.language, is_of_statement=True) or read.says("forbidden") or read.says("closed")


def answer_absence(read: AskedClause) -> Polarity:
    """ "May I without?" is answered no by "with" and by "must", and yes by "without" and by "need not"."""
    missing = _behind(read.question, "without", read.language)
    if not missing:
        return ""
    if shared_terms(missing, _behind(read.clause, "without", read.language)):
        return "yes"
    if not shared_terms(missing, find_terms(read.clause, read.language)):
        return ""
    if read.says("unneeded"):
        return "yes"
    is_with = shared_terms(missing, _behind(read.clause, "with_", read.language))
    return "no" if is_with or (read.says("needed") and not refuses(read)) else ""


def _behind(text: str, kind: str, language: str) -> tuple[str, ...]:
    """The two terms behind the first phrase of a kind."""
    folded = fold(text).replace("’", "'")
    found = find_phrase(kind, language).search(folded)
    return find_terms(folded[found.end() :], language)[:2] if found else ()


def _beyond(read: AskedClause) -> Polarity:
    """What is too much of something cannot be."""
    clause = fold(read.clause)
    found = find_phrase("beyond", read.language).search(clause)
    if not found or not clause[found.end() :].strip() or read.asks("too") or _limits_itself(read):
        return ""
    return "no" if covers(read, HALF) and not refuses(read) else ""


def _need(read: AskedClause) -> Polarity:
    """ "Must I?" is answered no by what is optional or enough, and yes by what must be."""
    if not read.asks("needed") or not _touches(read):
        return ""
    if read.says("unneeded"):
        return "no"
    if shared_terms(_terms(read.question, read.language), _behind(read.clause, "without", read.language)):
        return "no"
    return "yes" if read.says("needed") and covers(read, HALF) and not _limits_itself(read) else ""


def _price(read: AskedClause) -> Polarity:
    """Whether something is free or has a price."""
    asks_free, asks_pay = read.asks("free"), read.asks("pay")
    if asks_free == asks_pay or not _touches(read) or _limits_itself(read):
        return ""
    if find_phrase("bounds", read.language).search(fold(read.clause)):
        return ""
    costs = read.says("pay") or any(limit.kind in CURRENCIES for limit in read_limits(read.clause, read.language))
    free = read.says("free") and not read.says("pay")
    if free == costs or (free and denies(read.clause, read.language, is_of_statement=True)):
        return ""
    return "yes" if free == asks_free else "no"


def _quantity(read: AskedClause) -> Polarity:
    """ "Do all?" is answered no by "some"."""
    if not read.asks("all") or not covers(read, HALF):
        return ""
    if read.says("some"):
        return "no"
    return "yes" if read.says("all") and not read.says("except_") and not refuses(read) and covers(read, MOST) else ""


def _only(read: AskedClause) -> Polarity:
    """Those who alone may, and whether the question is about them."""
    chosen = _chosen(read)
    if not chosen or refuses(read):
        return ""
    asked = _terms(read.question, read.language)
    if shared_terms(chosen, asked):
        return "yes" if covers(read, MOST) else ""
    foreign = asked - shared_terms(asked, find_terms(read.clause, read.language))
    return "no" if foreign and (len(asked) <= FEW or len(foreign) < len(asked)) else ""


def _chosen(read: AskedClause) -> set[str]:
    """The terms that *only* or *reserved for* is about; none where a condition follows."""
    clause = fold(read.clause).replace("’", "'")
    for kind in ("reserved", "only"):
        if found := find_phrase(kind, read.language).search(clause):
            behind = clause[found.end() :]
            if _conditions(read.language).search(behind) or re.search(r"\d", behind):
                return set()
            terms = find_terms(behind, read.language)[:NEAR] or find_terms(clause[: found.start()], read.language)[-1:]
            return set(terms)
    return set()


def _exception(read: AskedClause) -> Polarity:
    """What is excepted is answered by the contrary of the rest."""
    clause = fold(read.clause)
    found = find_phrase("except_", read.language).search(clause)
    if not found or not find_terms(clause[: found.start()], read.language):
        return ""
    excepted = find_terms(clause[found.end() :], read.language)
    own = _terms(read.question, read.language) - set(find_terms(clause[: found.start()], read.language))
    if not shared_terms(own, excepted):
        return ""
    return "yes" if denies(clause[: found.start()], read.language) or read.says("forbidden") else "no"


def _permission(read: AskedClause) -> Polarity:
    """What is refused or granted in the words of the question."""
    if _limits_itself(read) or read.asks("forbidden") or read.asks("closed") or read.asks("needed"):
        return ""
    if refuses(read):
        return "no" if covers(read, HALF) else ""
    return "yes" if read.says("allowed") and covers(read, MOST) else ""


def _limits_itself(read: AskedClause) -> bool:
    """Whether the clause says more than that something is so: for whom alone, except when, or if."""
    is_conditional = _conditions(read.language).search(fold(read.clause)) is not None
    return is_conditional or read.says("only") or read.says("except_")


RULES: tuple[Callable[[AskedClause], Polarity], ...] = (
    _exception,
    _beyond,
    _price,
    _need,
    _quantity,
    _only,
    _permission,
)


@lru_cache(maxsize=REMEMBERED)
def _has(text: str, kind: str, language: str) -> bool:
    return find_phrase(kind, language).search(fold(text).replace("’", "'")) is not None


@cache
def find_phrase(kind: str, language: str) -> re.Pattern[str]:
    words = load_verdict_words(language)
    if kind == "bounds":
        phrases: Iterable[str] = (*words.least, *words.most, *words.above, *words.below, *words.unneeded)
    elif kind == "polar":
        phrases = (
            *words.allowed,
            *words.needed,
            *words.pay,
            *words.free,
            *words.open,
            *words.all,
            *words.forbidden,
            *words.units["years"],
            *words.too,
        )
    else:
        phrases = getattr(words, kind)
    found = sorted(phrases, key=lambda each: (-len(each), each))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, found)) or '(?!)'})(?!\w)")


@cache
def _conditions(language: str) -> re.Pattern[str]:
    marks = load_claim_words(language).marks.items()
    words = sorted(word for word, found in marks if any(mark == ClaimMark("scope", "if") for mark in found))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words)) or '(?!)'})(?!\w)")


def _terms(text: str, language: str) -> set[str]:
    """The terms that are no number, and none of the words for whether something may, must or costs."""
    bare = find_phrase("polar", language).sub(" ", fold(text).replace("’", "'"))
    return {term for term in content_of(bare, language) if not term[0].isdigit()}


def shared_terms(asked: Iterable[str], stated: Iterable[str]) -> set[str]:
    """The asked terms that are among the stated ones, in this form or another."""
    heads = {each[:STEM] for each in stated}
    return {term for term in asked if term[:STEM] in heads}


def _touches(read: AskedClause) -> bool:
    """Whether the two have a word in common, or the question none of its own."""
    asked = _terms(read.question, read.language)
    return not asked or bool(shared_terms(asked, find_terms(read.clause, read.language)))


def covers(read: AskedClause, share: float) -> bool:
    asked = _terms(read.question, read.language)
    return bool(asked) and len(shared_terms(asked, find_terms(read.clause, read.language))) >= share * len(asked)
