"""Yes or no, and one of several options: each a candidate with the clause that says it.

Promises the same numbers for the same text and schema. Next: ranker.py, which weighs them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.knowledge.extraction.candidates import ValueCandidate, listed
from tidegate.services.knowledge.extraction.features import cover
from tidegate.services.knowledge.extraction.lone_days import weekdays
from tidegate.services.knowledge.extraction.numbers import unit_names
from tidegate.services.knowledge.extraction.terms import FieldQuery, match_words, name_words
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.extraction_words import all_words, concepts_by_word, fold, load_extraction_words, stem
from tidegate.services.languages.words import LANGUAGES, load_words

BOOLEAN_FEATURES = listed(
    "coverage best yes true true_coverage denied denied_coverage denied_near said_yes said_no zero own_denial "
    "own_denied question last corrected denied_behind"
)
OPTION_FEATURES = listed(
    "said stem concept share coverage denied corrected unsaid labelled position is_first is_last count none_like "
    "denied_text unit inside_label quantity"
)
_TICKED = re.compile(r"(?:[☒☑✓✔]|\[[xX]\]|\([xX]\))\s*$")
_YES = frozenset(fold(word) for code in LANGUAGES for word in load_words(code).yes)
_NOUGHT = {"0"} | {
    fold(word) for code in LANGUAGES for word, value in load_extraction_words(code).numbers.items() if value == 0
}
_NO = frozenset(fold(word) for code in LANGUAGES for word in load_words(code).no)


def find_booleans(asked: FieldQuery, view: TextView) -> tuple[list[ValueCandidate], npt.NDArray[np.float64]]:
    """`true` and `false` for each clause, with the features of each."""
    matches = match_words(asked, view)
    weights = np.array([term.weight for term in asked.terms])
    owned = float(bool({term.folded for term in asked.terms} & (all_words("negations") | _NO)))
    coverages = [cover(matches, weights, _in_clause(view, n)) for n in range(len(view.clauses))]
    best = max(coverages, default=0.0)
    candidates: list[ValueCandidate] = []
    rows: list[list[float]] = []
    is_open = asked.field.is_nullable or not asked.field.is_required
    for n, (start, end) in enumerate(view.clauses):
        text = view.text[start:end].strip()
        if not text or (is_open and best == 0.0):  # what the text does not speak of is neither true nor false
            continue
        near = _anchor(matches, weights, view, n)
        signals = _polarity(view, n, near)
        for value in (True, False):
            sign = 1.0 if value else -1.0
            covered = coverages[n]
            denied, close, behind, said_yes, said_no, zero, corrected = signals
            begin = view.text.index(text, start)
            candidates.append(ValueCandidate(value, begin, begin + len(text), "clause" if covered > 0 else "unnamed"))
            rows.append(
                [
                    *(covered, float(covered >= best and best > 0), sign * (said_yes - said_no), sign, sign * covered),
                    *(sign * denied, sign * denied * covered, sign * close * covered, sign * said_yes, sign * said_no),
                    *(sign * zero * covered, sign * owned, sign * owned * denied, sign * float("?" in text)),
                    *(float(n == len(view.clauses) - 1), sign * corrected, sign * behind * covered),
                ]
            )
    return candidates, np.array(rows).reshape(len(rows), len(BOOLEAN_FEATURES))


def _in_clause(view: TextView, clause: int) -> npt.NDArray[np.float64]:
    return np.array([float(word.clause == clause) for word in view.words])


def _anchor(matches: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], view: TextView, clause: int) -> int:
    """The word of a clause that names the field best; -1 where none does."""
    if not len(view.words) or not len(weights):
        return -1
    scores = (matches * weights[:, None]).max(axis=0) * _in_clause(view, clause)
    return int(scores.argmax()) if scores.max() > 0 else -1


def _polarity(view: TextView, clause: int, anchor: int) -> tuple[float, float, float, float, float, float, float]:
    """What the clause says of its subject: denied, denied beside it, denied behind it, yes, no, nought, corrected."""
    words = [n for n, word in enumerate(view.words) if word.clause == clause]
    breaks, negations = view.breaks, all_words("negations")
    denials = [n for n in words if view.words[n].folded in negations]
    same = [n for n in denials if anchor >= 0 and breaks[n] == breaks[anchor]]
    near = [n for n in same if -5 <= anchor - n <= 5]
    behind = [n for n in denials if anchor >= 0 and 0 < n - anchor <= 3]
    around = {view.words[n].folded for n in words if (anchor >= 0 and 0 < n - anchor <= 3) or len(words) <= 2}
    ticked = {view.words[n].folded for n in words if _is_ticked(view, n)}
    around = ticked if ticked & (_YES | _NO) else around
    zero = any(n > 0 and view.words[n].folded in _NOUGHT for n in words if anchor >= 0 and abs(n - anchor) <= 2)
    corrected = any(view.words[n].folded in all_words("corrections") for n in same)
    return (float(bool(same)), float(bool(near)), float(bool(behind)), float(bool(around & _YES)),
        float(bool(around & _NO)), float(zero), float(corrected))  # fmt: skip


def find_options(asked: FieldQuery, view: TextView) -> tuple[list[ValueCandidate], npt.NDArray[np.float64]]:
    """Each option where the text names it, and once as unsaid, with the features of each."""
    matches = match_words(asked, view)
    weights = np.array([term.weight for term in asked.terms])
    found: list[tuple[Any, int, int, list[float]]] = []
    mentioned = [
        (option, [(n, each) for n in range(len(view.words)) if (each := _mention(option, n, view)) is not None])
        for option in asked.field.options or ()
    ]
    is_form = any(_is_ticked(view, n) for _, own in mentioned for n, _ in own)
    for option, own in mentioned:
        hits = [(n, each) for n, each in own if _is_ticked(view, n) or not is_form]
        for n, (kinds, stop) in hits:
            found.append((option, n, stop, [*kinds, *_around(view, n, stop, matches, weights), float(len(hits)) / 4]))
        if not hits:
            found.append((option, -1, -1, [0.0] * 4 + [0.0, 0.0, 0.0, 1.0, 0.0, 0.0] + [0.0]))
    starts = [first for _, first, _, _ in found if first >= 0]
    denied_text = float(bool(view.negations))
    candidates, rows = [], []
    for option, first, stop, kinds in found:
        start, end = (view.words[first].start, view.words[stop].end) if first >= 0 else (0, 0)
        candidates.append(ValueCandidate(option, start, end, "option" if first >= 0 else "unsaid"))
        none_like = fold(str(option)) in all_words("none_options")
        is_unit = first >= 0 and _currency(view, first) == option
        folded = set(name_words(str(option)))
        rows.append(
            [
                *(*kinds[:10], float(first >= 0 and first == min(starts)), float(first >= 0 and first == max(starts))),
                *(kinds[10], float(none_like), float(none_like) * denied_text, float(is_unit)),
                float(any(term.folded in folded for term in asked.terms)),
                float(first > 0 and view.words[first - 1].folded.isdigit()),
            ]
        )
    return candidates, np.array(rows).reshape(len(rows), len(OPTION_FEATURES))


def with_clauses(asked: FieldQuery, candidates: list[ValueCandidate], view: TextView) -> list[ValueCandidate]:
    """The same, but that the clause which speaks most of the field may say an option that the text does not name; where
    none speaks of it, nothing says that option."""
    matches = match_words(asked, view)
    weights = np.array([term.weight for term in asked.terms])
    coverages = [cover(matches, weights, _in_clause(view, n)) for n in range(len(view.clauses))]
    best = int(np.argmax(coverages))
    if not coverages[best]:
        return candidates
    start, end = view.clauses[best]
    start += len(view.text[start:end]) - len(view.text[start:end].lstrip())
    return [
        each if each.start < each.end else ValueCandidate(each.value, start, end, each.shape) for each in candidates
    ]


def _is_ticked(view: TextView, n: int) -> bool:
    """Whether a ticked box stands before a word, as forms have them: where one is, what has none is not chosen."""
    return bool(_TICKED.search(view.text, max(0, view.words[n].start - 5), view.words[n].start))


def _mention(option: Any, n: int, view: TextView) -> tuple[list[float], int] | None:
    """How the words from `n` on name the option: to the letter, by its stems, by its concepts, and the share of it."""
    words = name_words(str(option))
    if not words:
        return None
    if _currency(view, n) == option:
        return [1.0, 1.0, 0.0, 1.0], n
    run = view.words[n : n + len(words)]
    if [word.folded for word in run] == words:
        is_case = len(words[0]) > 2 or view.text[run[0].start : run[-1].end] == str(option)
        return ([1.0, 1.0, 0.0, 1.0], n + len(words) - 1) if is_case else None
    if VAULT_TOKEN.fullmatch(str(option)):
        return None  # another one of its kind is another value
    word = view.words[n]
    if len(words) == 1 and _is_same_weekday(words[0], word.folded, view.text[word.start].isupper()):
        return [0.0, 1.0, 0.0, 1.0], n
    if any(len(each) > 3 and (stem(each) == word.stem or (len(each) > 4 and each in word.folded)) for each in words):
        return [0.0, 1.0, 0.0, 1.0 / len(words)], n
    known = frozenset().union(*(concepts_by_word().get(stem(each), frozenset()) for each in words if len(each) > 2))
    if known & word.concepts:
        return [0.0, 0.0, 1.0, 1.0 / len(words)], n
    return None


def _is_same_weekday(option: str, word: str, is_capital: bool) -> bool:
    """Whether both name one day of the week, as `Fri` and `Fridays` do; a short word in lower case names none."""
    days = weekdays()
    day = days.get(word, days.get(word.removesuffix("s"), -1)) if is_capital or len(word) > 3 else -1
    return day >= 0 and day == days.get(option, -1)


def _currency(view: TextView, n: int) -> str:
    word = view.words[n]
    near = view.text[max(0, word.start - 2) : word.start] + view.text[word.end : word.end + 2]
    symbols = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}
    found = next((code for mark, code in symbols.items() if mark in near), "") if word.folded[:1].isdigit() else ""
    unit = unit_names().get(word.folded, "")
    return found or (unit if len(unit) == 3 and unit.isupper() else "")


def _around(
    view: TextView, first: int, stop: int, matches: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> list[float]:
    """The field's words in the clause, a denial or a correction before it, unsaid, a label, its place in the text."""
    word = view.words[first]
    start = view.clauses[word.clause][0]
    before = [each for each in view.words[max(0, first - 4) : first] if each.clause == word.clause]
    denied = any(each.folded in all_words("negations") for each in before)
    after = fold(view.text[view.words[stop].end : view.words[stop].end + 12])
    following = re.match(r"\W*([^\W\d_]+)", after)
    denied |= bool(following and following[1] in all_words("negations"))
    text = fold(view.text[max(start, word.start - 30) : word.start]).rstrip()
    corrected = any(text.endswith(" " + each) or text == each for each in all_words("corrections"))
    labelled = float(matches[:, max(0, first - 3) : first].max(initial=0.0))
    coverage = cover(matches, weights, _in_clause(view, word.clause))
    return [coverage, float(denied), float(corrected), 0.0, labelled, word.start / max(1, len(view.text))]
