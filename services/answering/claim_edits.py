"""How a sentence differs from the text that it is drawn from, word by word, and what each difference says.

Two texts that share most of their words are laid beside each other (Ratcliff & Metzener 1988, as `difflib` does); what
was exchanged, put in or left out between words that both have is where a sentence turns false. Pure. Next:
`sentence_check`, which weighs it; services/languages/claim_words.py, the words that matter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from tidegate.services.answering.quantities import REMEMBERED, quantities_of, split_words, unit_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.languages.claim_words import DENIAL, ClaimLexicon, ClaimMark, load_claim_words

LONGEST = 4
"""Words of an edit on either side; a longer one is another way of saying it, not an edit."""
STEM = 4
"""Letters that forms of one word share."""
_WORDS = 16_384
_CLAUSE = re.compile(r"[.;:!?]\s+|\s[–—]\s")
FAMILIES = ("modal", "amount", "bound", "order", "scope", "quantity", "opposite", "day", "month")
CALENDAR = frozenset({"day", "month"})

EDIT_FEATURES = (
    *(f"exchanged_{family}" for family in FAMILIES),
    *(f"only_stated_{family}" for family in FAMILIES),
    "added_mark", "dropped_mark", "denial_changed", "denial_added", "denial_dropped",
    "swapped", "moved", "exchanged_word", "beside_number",
    "matched_share",
)  # fmt: skip


class Edit(NamedTuple):
    """Words of the sentence in the place of words of the evidence, either of which may be none."""

    kind: Literal["replace", "insert", "delete"]
    stated: tuple[str, ...]
    source: tuple[str, ...]
    is_inside: bool
    """Whether both texts go on alike before it and after it."""
    before: str
    after: str
    """The words of the sentence beside it."""


def measure_edits(sentence: str, evidence: str, around: str, language: str) -> dict[str, float]:
    """The values of `EDIT_FEATURES`; counts, but for the share of the sentence's words that stand in the evidence in
    their order. `around` may lend words (a title, the question)."""
    lexicon = load_claim_words(language)
    source = split_numbered(evidence, language)
    found: Counter[str] = Counter()
    matched = total = 0
    for clause in _clauses_of(sentence):
        stated = split_numbered(clause, language)
        edits, same = align(stated, source)
        matched, total = matched + same, total + len(stated)
        for edit in edits:
            found.update(_read_edit(edit, stated, source, lexicon, language))
    found.update(_only_stated(split_words(sentence), [*source, *split_words(around)], lexicon))
    values = {name: float(found[name]) for name in EDIT_FEATURES}
    return {**values, "matched_share": matched / total if total else 1.0}


def align(stated: Sequence[str], source: Sequence[str]) -> tuple[list[Edit], int]:
    """The edits that make the sentence of the evidence, and how many words both have in the same order."""
    matcher = SequenceMatcher(None, source, stated, autojunk=False)
    codes = matcher.get_opcodes()
    edits, same = [], 0
    for at, (tag, i1, i2, j1, j2) in enumerate(codes):
        if tag == "equal":
            same += j2 - j1
        elif i2 - i1 <= LONGEST and j2 - j1 <= LONGEST:
            before = at > 0 and codes[at - 1][0] == "equal"
            after = at + 1 < len(codes) and codes[at + 1][0] == "equal"
            if (tag != "delete" or (before and after)) and (before or after):
                beside = (stated[j1 - 1] if j1 else "", stated[j2] if j2 < len(stated) else "")
                kind: Literal["replace", "insert", "delete"] = (
                    "replace" if tag == "replace" else "insert" if tag == "insert" else "delete"
                )
                words = (tuple(stated[j1:j2]), tuple(source[i1:i2]))
                edits.append(Edit(kind, *words, before and after, *beside))
    return edits, same


@lru_cache(maxsize=REMEMBERED)
def split_numbered(text: str, language: str) -> tuple[str, ...]:
    """The words of a text, its numbers as they are counted."""
    words = split_words(text)
    for quantity in quantities_of(text, language):
        words[quantity.at] = quantity.value
    return tuple(words)


def marks_in(words: Sequence[str], lexicon: ClaimLexicon) -> list[ClaimMark]:
    """What the words say, those of two words included."""
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    found = [mark for pair in pairs for mark in lexicon.marks.get(pair, ())]
    for word in words:
        found += lexicon.marks.get(word) or _marks_of_parts(word, lexicon)
    return found


def _marks_of_parts(word: str, lexicon: ClaimLexicon) -> tuple[ClaimMark, ...]:
    """What a word with an apostrophe says: "don't", "qu'avant"."""
    _, apostrophe, behind = word.replace("’", "'").partition("'")
    if behind == "t" and word.endswith(("n't", "n’t")):
        return (DENIAL,)
    return lexicon.marks.get(behind, ()) if apostrophe else ()


def _clauses_of(sentence: str) -> Iterator[str]:
    for clause in _CLAUSE.split(sentence):
        if len(clause.split()) > 1:
            yield clause


def _read_edit(
    edit: Edit, stated: Sequence[str], source: Sequence[str], lexicon: ClaimLexicon, language: str
) -> Iterator[str]:
    own, theirs = marks_in(edit.stated, lexicon), marks_in(edit.source, lexicon)
    yield from _read_denials(edit, own.count(DENIAL), theirs.count(DENIAL), lexicon)
    for family in FAMILIES:
        mine = {mark for mark in own if mark.family == family}
        other = {mark for mark in theirs if mark.family == family}
        if mine and other and not mine & other:
            yield f"exchanged_{family}"
    marked = {mark.family for mark in own} - {"denial"}, {mark.family for mark in theirs} - {"denial"}
    if marked[0] - marked[1]:
        yield "added_mark"
    if marked[1] - marked[0] and edit.is_inside:
        yield "dropped_mark"
    if edit.kind == "insert" and edit.is_inside and _is_moved(edit.stated, source, language):
        yield "moved"
    if edit.kind == "replace":
        yield from _read_exchange(edit, stated, source, language)


def _is_moved(words: Sequence[str], source: Sequence[str], language: str) -> bool:
    """Whether a single content word stands elsewhere in the source; a phrase that was moved whole says the same."""
    content = [word for word in words if is_content(word, language) and not word[0].isdigit()]
    is_phrase = not set(pairwise(words)).isdisjoint(pairwise(source))
    return len(content) == 1 and content[0] in source and not is_phrase


def _read_denials(edit: Edit, own: int, theirs: int, lexicon: ClaimLexicon) -> Iterator[str]:
    if lexicon.repeats_denials:
        own, theirs = min(1, own), min(1, theirs)
    if own % 2 == theirs % 2:
        return
    if edit.kind == "replace":
        yield "denial_changed"
    elif edit.is_inside:
        yield "denial_added" if own else "denial_dropped"
    elif own:
        yield "denial_added"


def _read_exchange(edit: Edit, stated: Sequence[str], source: Sequence[str], language: str) -> Iterator[str]:
    """Content words that changed places, and what stands beside a number that both have."""
    own = [word for word in edit.stated if is_content(word, language) and not word[0].isdigit()]
    theirs = [word for word in edit.source if is_content(word, language) and not word[0].isdigit()]
    if any(word in source for word in own) and any(word in stated for word in theirs if word not in own):
        yield "swapped"
    held = {word[:STEM] for word in source}
    is_new = any(word[:STEM] not in held for word in own)
    is_other = not {word[:STEM] for word in own} & {word[:STEM] for word in theirs}
    if own and theirs and (is_new or (edit.is_inside and is_other and len(own) == len(theirs) == 1)):
        yield "exchanged_word"
    beside = edit.before[:1].isdigit() or edit.after[:1].isdigit()
    if beside and own and theirs and is_other and (set(own) | set(theirs)) & unit_words(language):
        yield "beside_number"


def _only_stated(stated: Sequence[str], known: Sequence[str], lexicon: ClaimLexicon) -> Iterator[str]:
    """Families of which the sentence says a value that nothing else says, where that says another; of the calendar,
    wherever nothing else says it."""
    theirs = marks_in(known, lexicon)
    values = {mark.family for mark in theirs}
    for mark in dict.fromkeys(marks_in(stated, lexicon)):
        if mark.family in FAMILIES and mark not in theirs and (mark.family in values or mark.family in CALENDAR):
            yield f"only_stated_{mark.family}"


@lru_cache(maxsize=_WORDS)
def is_content(word: str, language: str) -> bool:
    """Whether a word is more than a stop word."""
    return bool(find_terms(word, language))
