"""What a statement says to a question of yes or no by what the two are about: limits, needs, prices, who alone may.

Promises nothing where no rule of a kind fits; the words of a rule are data, one file per language. Pure.
Next: `limits`, which reads values; `verdict_rules`, for all else; `sentence_check`, which holds a lead against this;
decision 0072."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tidegate.services.answering.claim_denials import denies
from tidegate.services.answering.limits import BARE, Limit, mark_values, read_limits
from tidegate.services.answering.verdict_rules import (
    HALF,
    RULES,
    AskedClause,
    answer_absence,
    covers,
    find_phrase,
    refuses,
    shared_terms,
)
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.yes_no import Polarity, is_yes_no_question
from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.prose import PROSE_LANGUAGES
from tidegate.services.languages.verdict_words import load_verdict_words
from tidegate.services.languages.words import LANGUAGES

AGE, CLOCK, DAY = "years", "clock", "day"
_SENTENCE = re.compile(r"[.;!?](?=\s|$)")


def read_verdict(question: str, source: str, language: str) -> Polarity:
    """What `source` says to the question, both in one of `PROSE_LANGUAGES`; nothing where no rule says."""
    if language not in PROSE_LANGUAGES or denies(question, language, is_of_statement=True):
        return ""
    if not _is_closed(question, language):
        return ""
    clauses = [clause for clause in _SENTENCE.split(source) if clause.strip()]
    verdict = None if denies(question, language) else _by_limits(question, clauses, language)
    if verdict is not None:
        return verdict
    asked = set(find_terms(question, language))
    clause = max(clauses, key=lambda each: len(shared_terms(asked, find_terms(each, language))), default="")
    read = AskedClause(question, clause, language, load_verdict_words(language))
    if denies(question, language):
        return answer_absence(read)
    return next(filter(None, (rule(read) for rule in RULES)), "")


def _is_closed(question: str, language: str) -> bool:
    """Whether a question asks for yes or no, as far as the words for questions of a language are known; `tengo que`
    is no question word."""
    if language not in LANGUAGES:
        return True
    bare = find_phrase("needed", language).sub(" ", fold(question)) if language == "es" else question
    return is_yes_no_question(bare, language)


def _by_limits(question: str, clauses: Sequence[str], language: str) -> Polarity | None:
    """Whether what is asked about lies within what is said; None where the two have no kind of value in common."""
    wanted = read_limits(question, language)
    if not wanted or len({each.kind for each in wanted}) < len(wanted):
        return None
    found = {clause: _judge_limits(question, clause, wanted, language) for clause in clauses}
    known = {clause: verdict for clause, verdict in found.items() if verdict is not None}
    if not known:
        return None
    asked = set(find_terms(question, language))
    shared = {clause: len(shared_terms(asked, find_terms(clause, language))) for clause in known}
    best = {verdict for clause, verdict in known.items() if shared[clause] == max(shared.values())}
    return best.pop() if len(best) == 1 else ""


def _judge_limits(question: str, clause: str, wanted: Sequence[Limit], language: str) -> Polarity | None:
    limits = read_limits(clause, language)
    words = AskedClause(question, clause, language, load_verdict_words(language))
    excluded = _exceptions(clause, limits, language)
    groups = _group_by_day([limit for limit in limits if limit not in excluded])
    days = [each for each in wanted if each.kind == DAY]
    outcomes: list[bool] = []
    is_open = False
    if days and any(limit.kind == DAY for group in groups for limit in group):
        groups = [group for group in groups if any(limit.kind == DAY and limit.holds(days[0]) for limit in group)]
        outcomes.append(bool(groups))
    for each in (each for each in wanted if each.kind != DAY and groups):
        held = _holds(each, [limit for group in groups for limit in group])
        if held is None:
            return ""
        outcomes += held
        is_open |= not held
    if any(limit.holds(each) and limit.kind == each.kind for each in wanted for limit in excluded):
        outcomes.append(False)
    if not outcomes:
        return None
    if all(outcomes) and (is_open or not _is_about(words, wanted)):
        return ""
    return _with_stance(words, is_inside=all(outcomes))


def _is_about(read: AskedClause, wanted: Sequence[Limit]) -> bool:
    """Whether what holds for a value is what the question asks: most words agree, or it asks when something is open."""
    if read.says("reserved") or read.says("only"):
        return False
    is_when = all(each.kind in (CLOCK, DAY) for each in wanted) and read.says("open")
    return is_when or covers(read, HALF)


def _holds(wanted: Limit, limits: Sequence[Limit]) -> list[bool] | None:
    """One outcome, or none where there is no such limit; None where limits of the kind leave it open."""
    kinds = {wanted.kind} | ({AGE, "persons"} if wanted.kind == BARE else {BARE} if wanted.kind == AGE else set())
    same = [limit for limit in limits if limit.kind in kinds and (limit.is_bound or wanted.is_bound or _is_time(limit))]
    found = [limit.holds(wanted) for limit in same]
    if not same:
        return []
    if all(each is False for each in found):
        return [False]
    return [True] if any(found) and (len(same) == 1 or wanted.kind in (DAY, CLOCK)) else None


def _is_time(limit: Limit) -> bool:
    """Whether a single value of the kind says when something is, and so when it is not."""
    return limit.kind in (DAY, "date")


def _exceptions(clause: str, limits: Sequence[Limit], language: str) -> list[Limit]:
    """The values that stand behind *except*."""
    found = find_phrase("except_", language).search(mark_values(clause, language))
    return [limit for limit in limits if found and limit.at >= found.end()]


def _group_by_day(limits: Sequence[Limit]) -> list[list[Limit]]:
    """Hours go with the days that stand before them: "Mon to Fri 8 to 16, Sat 9 to 12"."""
    groups: list[list[Limit]] = [[]]
    for limit in limits:
        if limit.kind == DAY and any(each.kind == CLOCK for each in groups[-1]):
            groups.append([])
        groups[-1].append(limit)
    return groups


def _with_stance(read: AskedClause, *, is_inside: bool) -> Polarity:
    """Yes for what lies within a limit of what is asked for, and for what does not where its contrary is."""
    turned = sum(
        (
            read.asks("too"),
            read.asks("closed") and read.says("open"),
            read.asks("pay") and read.says("free"),
            read.asks("free") and read.says("pay") and not read.says("free"),
        )
    )
    if refuses(read) and not read.asks("closed"):
        if not is_inside:
            return ""  # what is not refused may be refused by something else
        turned += 1
    return "yes" if is_inside != bool(turned % 2) else "no"
