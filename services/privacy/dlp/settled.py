"""How much of a text that is still being written is settled: no continuation changes what is found in it.

Promises to hold back only what a rule could still take for the beginning of a finding: the word that is being
written, a number in groups, a date, and the words after those that introduce a name, a secret or a number. Plain prose
is settled to its last blank. Next: ../transducer.py, which releases what is settled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidegate.services.privacy.dlp import context, credentials, names, numbers
from tidegate.services.privacy.dlp.encoded import decode_marks
from tidegate.services.privacy.dlp.folding import FoldedText, fold, squeeze

LONGEST_RUN = 9000
"""Characters without a blank, or of a private key, after which the first ones are released: no shape is longer."""
LONGEST_NUMBER = 1000
"""The same of a number in groups: the longest has 34 letters and digits, with up to eight separators between two."""
TAIL = 600
"""Characters in which the last words are looked for at a time."""
TOKEN = re.compile(r"\S+")
LAST_TOKEN = re.compile(r"\S*\Z")
FILLER = frozenset({"of", "de", "del"})
LETTERS = r"(?:[A-Z]{1,5}|[A-Za-z]|(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]))"
SHORT_CAPITALS = re.compile(rf"\W*{LETTERS}\W*")
CAPITALS_AT_END = re.compile(rf"(?<![^\W_]){LETTERS}\W*\Z")
"""The letters that a number may begin with, behind a word and a mark without a blank: `Krakow,AB 12 34 56 C`."""
MONTH = re.compile(context.MONTH, re.IGNORECASE)
BIRTH_WORD_REACH = context.BEFORE + 32
"""How far behind a date a word of birth may end that makes it a birth date."""
LONGEST_DATE = 80
IBAN_REACH = 80
NAME_TOKENS, NUMBER_TOKENS = 7, 14
"""As many whole words after an introduction decide what it introduces."""
VALUE_TOKENS = 2
KEY_BEGIN, KEY_END = "-----BEGIN", re.compile(r"-----END [A-Z ]{0,20}KEY(?: BLOCK)?-----")
QUOTE_REACH = numbers.LOCAL_PART + 4
QUOTE = re.compile(r"""(?<![^\W_])"(?=\S|\Z)""")


def settled_length(text: str) -> int:
    """How many characters of `text` are settled, whatever follows; those that are stay so when it does."""
    folded = fold(text)
    readings = [reading for reading in (folded, decode_marks(folded)) if reading]
    views = [*readings, *(each for reading in readings if (each := squeeze(reading)) is not reading)]
    return min(_in_original(text, view, min(_open_ends(view.text), default=len(view.text))) for view in views)


def _in_original(text: str, view: FoldedText, length: int) -> int:
    return view.starts[length] if length < len(view.text) else len(text)


def _open_ends(text: str) -> Iterator[int]:
    """Offsets from which on something may still become part of a finding."""
    last = LAST_TOKEN.search(text, max(0, len(text) - LONGEST_RUN))
    unfinished = last.start() if last else len(text)
    if unfinished < len(text):
        yield unfinished
    yield _number_start(text, unfinished)
    yield from _dates(text)
    yield from _quotes(text)
    yield from _keys(text)
    starts = _last_tokens(text, unfinished, NUMBER_TOKENS)
    yield from _introduced(text, unfinished, starts)
    yield from _after_number_words(text, unfinished, starts[0] if len(starts) == NUMBER_TOKENS else 0)
    for found in numbers.IBAN_START.finditer(text, max(0, len(text) - IBAN_REACH)):
        yield found.start()


def _number_start(text: str, unfinished: int) -> int:
    """Where the number, or the date, begins that the end of the text may go on with."""
    start = unfinished
    begin = max(0, unfinished - LONGEST_NUMBER)
    for token in reversed(list(TOKEN.finditer(text, begin, unfinished))):
        word = token.group()
        if any(map(str.isdecimal, word)) or SHORT_CAPITALS.fullmatch(word) or MONTH.search(word):
            start = token.start()
        elif word.lower() not in FILLER and any(map(str.isalpha, word)):
            letters = CAPITALS_AT_END.search(word)
            return token.start() + letters.start() if letters else start
    return start


def _dates(text: str) -> Iterator[int]:
    start = max(0, len(text) - BIRTH_WORD_REACH - LONGEST_DATE)
    if not any(map(str.isdecimal, text[start:])):
        return
    for date in context.BIRTH_DATE.finditer(text, start):
        if len(text) - date.end() < BIRTH_WORD_REACH:
            yield date.start()


def _quotes(text: str) -> Iterator[int]:
    """A local part of an address may stand in quotation marks."""
    for quote in QUOTE.finditer(text, max(0, len(text) - QUOTE_REACH)):
        yield quote.start()


def _keys(text: str) -> Iterator[int]:
    begin = text.rfind(KEY_BEGIN, max(0, len(text) - LONGEST_RUN))
    while begin >= 0 and KEY_END.search(text, begin) is None:
        yield begin
        begin = text.rfind(KEY_BEGIN, max(0, len(text) - LONGEST_RUN), begin)


def _last_tokens(text: str, unfinished: int, count: int) -> list[int]:
    """Where each of the last whole words begins, at most so many."""
    starts: list[int] = []
    end = unfinished
    while end > 0 and len(starts) < count:
        stripped = len(text[max(0, end - TAIL) : end].rstrip()) + max(0, end - TAIL)
        if stripped == max(0, end - TAIL):
            break
        start = stripped
        while start > 0 and not text[start - 1].isspace():
            start -= 1
        starts.append(start)
        end = start
    return starts[::-1]


def _introduced(text: str, unfinished: int, starts: Sequence[int]) -> Iterator[int]:
    """What follows the words for a name or a secret."""
    start = starts[-NAME_TOKENS] if len(starts) >= NAME_TOKENS else 0
    for opening in names.OPENINGS:
        for found in opening.pattern.finditer(text, max(0, start - 64)):
            if found.end() >= start and not _is_no_name(text, found.end(), unfinished, opening.any_case):
                yield found.end()
    for found in credentials.WORD.finditer(text, max(0, start - 64)):
        if found.end() >= start:
            yield found.end()


def _is_no_name(text: str, start: int, unfinished: int, any_case: bool) -> bool:
    """Whether a whole word stands where the name would, and is none."""
    if names.PARTICLE_START.match(text, start):
        return False
    word = names.WORD.match(text, start)
    if word is None or word.end() >= unfinished:
        return start < unfinished and word is None
    letters = word.group()
    if letters in names.PARTICLES or letters[0].isupper() or letters[1:2] == "'":
        return False
    return not any_case or letters.lower() in names.NOT_A_NAME


def _after_number_words(text: str, unfinished: int, start: int) -> Iterator[int]:
    """What follows the words for a number that only they reveal."""
    start = max(0, start - 64)
    lower = text[start:].lower()
    letters = frozenset(context.LETTERS.findall(lower))
    for rule in context.RULES:
        for word in rule.find_words(text, lower, letters, start):
            link = context.LINK.match(text, word.end())
            end = link.end() if link else word.end()
            if len(TOKEN.findall(text, end, unfinished)) < VALUE_TOKENS:
                yield end
