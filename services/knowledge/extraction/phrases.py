"""Finds strings that may be a value: codes, names, what stands behind a label, short phrases. Promises that each is
verbatim. Next: features.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.languages.extraction_words import all_words, any_of, fold
from tidegate.services.languages.words import LANGUAGES, load_words

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URL = re.compile(r"\bhttps?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
_CODE = re.compile(
    r"(?<![\w@])(?=[\w./-]*\d)[^\W_][\w]*(?:[-/.][\w]+)*(?:\s(?=[\dA-Z-]*\d)[\dA-Z]{1,6}(?:-[\dA-Z]+)*(?![\w]))*"
)
_LONG_NUMBER = re.compile(r"(?<![\w,.(])(?<![^\W_]-)(?:\(\d{2,5}\)\s?)?\+?\d{2,6}(?:[ /-]?\d{2,}){1,6}(?![\w])")
_BRITISH_PLATE = re.compile(r"\b[A-Z]{2}\d{2}\s[A-Z]{3}\b")
"""The mark of a vehicle, of which neither half is one."""
_WORD = re.compile(r"[^\s,;:()\"„“”«»!?\[\]<>]+")
_QUOTED = re.compile(r"[\"„“«‚]\s?([^\"„“”«»\n]{2,60}?)\s?[\"“”»‘]")
_LABELLED = re.compile(r"(?:^|(?<=[\n,;.|(]))[ \t]*[^\W\d_][^\n:=|]{0,38}?\s?[:=]\s*(?=([^\n|]+))", re.MULTILINE)
_INLINE = re.compile(r"(?<=[^\s,;.|(:=]\s)[^\W\d_][\w-]*\s?:\s+(?=([^\n|]+))")
_VALUE_STOP = re.compile(r"[;\n|]|[.!?](?=\s|$)|\s[—–-]\s|,(?=\s)|\s{3,}|\s\(")
_NEXT_LABEL = re.compile(r"\s[^\W\d_][\w-]*\s?:(?=\s)")
_STOP = re.compile(r"[;\n]|[.!?](?=\s|$)|\s[—–-]\s|,(?=\s)|\s{2,}|\s\(")
_PARTNERS = re.compile(r"(?:,\s[^,;:\n]{1,30})+?\s&\s")
"""How a firm goes on behind a comma that is named for several people: `Smith, Jones & Partners`."""
_NUMBER_SIGN = re.compile(rf"\b(?:{any_of('number_signs')})$", re.IGNORECASE)
_NUMBER_BEHIND = re.compile(r"\.\s(?=\S*\d)")
_FIRM_SUFFIX = re.compile(rf",\s(?:{any_of('firm_suffixes')})\b\.?")
_PARTICLES = frozenset(word for code in LANGUAGES for word in load_words(code).personal.name_particles.split())
_MOST_WORDS = 5


def find_strings(text: str) -> list[ValueCandidate]:
    """Every string that may be a value, each span once; the most telling shape of each is kept."""
    found: dict[tuple[int, int], ValueCandidate] = {}
    for each in (*_tokens(text), *_labelled(text), *_codes(text), *_quoted(text), *_names(text), *_spans(text)):
        found.setdefault((each.start, each.end), each)
    hidden = [match.span() for match in (*VAULT_TOKEN.finditer(text), *_BRITISH_PLATE.finditer(text))]
    return [each for each in found.values() if not any(_cuts(each, *span) for span in hidden)]


def _cuts(candidate: ValueCandidate, start: int, end: int) -> bool:
    """Whether the candidate has a part of what is whole, or more than it."""
    return candidate.overlaps(start, end) and (candidate.start, candidate.end) != (start, end)


def _at(text: str, start: int, end: int, shape: str) -> Iterator[ValueCandidate]:
    while start < end and (
        text[start].isspace() or (text[start] in "'\"*`„“”«».,;:-–—(" and not re.match(r"\(\d+\)", text[start:end]))
    ):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in "'\"*`„“”«»,;:!?-–—"):
        end -= 1
    if end - start > 1 and text[end - 1] == "." and not _ends_in_abbreviation(text[start:end]):
        end -= 1
    if end > start and text[end - 1] == ")" and "(" not in text[start:end]:
        end -= 1
    if end > start and any(char.isalnum() for char in text[start:end]):
        yield ValueCandidate(text[start:end], start, end, shape)


def _ends_in_abbreviation(span: str) -> bool:
    last = span.rsplit(" ", 1)[-1].rstrip(".")
    is_known = fold(last) in {"jun", "jr", "sen", "inc", "co", "ltd", "corp"} | _title_words()
    return len(last) == 1 or "." in last or is_known


def _tokens(text: str) -> Iterator[ValueCandidate]:
    for match in VAULT_TOKEN.finditer(text):
        yield ValueCandidate(match[0], match.start(), match.end(), f"token_{match[1].lower()}")
    for pattern, shape in ((EMAIL, "email"), (URL, "url")):
        for match in pattern.finditer(text):
            yield ValueCandidate(match[0], match.start(), match.end(), shape)


def _codes(text: str) -> Iterator[ValueCandidate]:
    for match in _BRITISH_PLATE.finditer(text):
        yield from _at(text, *match.span(), "code")
    for match in _LONG_NUMBER.finditer(text):
        yield from _at(text, *match.span(), "code")
    for match in _CODE.finditer(text):
        if VAULT_TOKEN.search(text, max(0, match.start() - 20), match.end() + 1) is None:
            yield from _at(text, *match.span(), "code")
            if " " in match[0]:
                head = match[0].split(" ", 1)[0]
                yield from _at(text, match.start(), match.start() + len(head), "code")


def _quoted(text: str) -> Iterator[ValueCandidate]:
    for match in _QUOTED.finditer(text):
        yield from _at(text, *match.span(1), "quoted")


def _labelled(text: str) -> Iterator[ValueCandidate]:
    """What stands behind `label:` to the end of its clause, and to the end of its line."""
    for match in (*_LABELLED.finditer(text), *_INLINE.finditer(text)):
        start, end = match.span(1)
        stop = _STOP.search(text, start, end)
        yield from _at(text, start, _value_end(text, start, end), "label_value")
        yield from _at(text, start, stop.start() if stop else end, "labelled")
        line_end = re.compile(r"[;\n]|\.(?=\s|$)|\s\S+\s?:(?=\s)").search(text, start, end)
        yield from _at(text, start, line_end.start() if line_end else end, "labelled")


def _value_end(text: str, start: int, end: int) -> int:
    """Where the value behind a label ends: at the next label, a full stop, a wide gap or a comma, but for `, Ltd` and
    for `, Jones & Partners`."""
    following = _NEXT_LABEL.search(text, start, end)
    end = following.start() if following else end
    for match in _VALUE_STOP.finditer(text, start, end):
        at = match.start()
        is_firm = match[0].startswith(",") and (_FIRM_SUFFIX.match(text, at) or _PARTNERS.match(text, at, end))
        is_sign = _NUMBER_BEHIND.match(text, at) and _NUMBER_SIGN.search(text[start:at])
        is_short = match[0] == "." and (is_sign or _ends_in_abbreviation(text[start : match.end()]))
        if not is_firm and not is_short:
            return match.start()
    return end


@cache
def _title_words() -> frozenset[str]:
    return frozenset(fold(title) for code in LANGUAGES for title in load_words(code).personal.titles) | all_words(
        "titles"
    )


def _names(text: str) -> Iterator[ValueCandidate]:
    """Runs of capitalised words, with the words that link names; with and without the title before them."""
    words = [(m.start(), m.end(), m[0]) for m in re.finditer(r"[^\s,;:()\"„“”«»!?\[\]<>/]+", text)]
    links = all_words("links") | _PARTICLES | {"&", "+"}
    n = 0
    while n < len(words):
        if not _is_capital(words[n][2]):
            n += 1
            continue
        last = n
        probe = n + 1
        while probe < len(words) and probe - n < 8:
            gap = text[words[probe - 1][1] : words[probe][0]]
            previous = words[probe - 1][2]
            if gap != " " or (previous.endswith(".") and not _is_short(previous)):
                break
            if _is_capital(words[probe][2]) or (words[probe][2] == "&"):
                last = probe
            elif fold(words[probe][2]) not in links:
                break
            probe += 1
        yield from _name_parts(text, words[n : last + 1])
        suffix = _FIRM_SUFFIX.match(text, words[last][1])
        if suffix:
            yield from _at(text, words[n][0], suffix.end(), "name")
        n = last + 1


def _name_parts(text: str, words: list[tuple[int, int, str]]) -> Iterator[ValueCandidate]:
    titles = _title_words()
    first = 0
    while first < len(words) - 1 and fold(words[first][2]).strip(".") in titles:
        yield from _at(text, words[first][0], words[-1][1], "titled")
        first += 1
    if first < len(words) - 1 and fold(words[first][2]) in all_words("articles"):
        yield from _at(text, words[first][0], words[-1][1], "name_part")
    roles = all_words("roles") | all_words("articles")
    while first < len(words) and fold(words[first][2]).strip(".") in roles:
        first += 1
    if first < len(words):
        yield from _at(text, words[first][0], words[-1][1], "titled_name" if first else "name")
        links = all_words("links") | {"&"}
        for cut in range(first + 1, len(words)):
            if fold(words[cut][2]) in links:
                yield from _at(text, words[first][0], words[cut - 1][1], "name_part")
                yield from _at(text, words[cut][0], words[-1][1], "name_part")


def is_name_with_title(value: str) -> bool:
    """Whether a whole name stands behind a title of address, without which it is given: `Ms Anna Berg`, but not
    `Ms Berg`, which is no name without its title, nor `Dr. Anna Berg` or `Mr & Mrs Berg`."""
    words = value.split()
    names = [word for word in words[1:] if _is_capital(word)]
    is_address = len(words) > 2 and fold(words[0]).strip(".") in all_words("addresses")
    return (
        is_address
        and len(names) == len(words) - 1
        and not any(fold(each).strip(".") in _title_words() for each in names)
    )


def says_missing(value: str) -> bool:
    """Whether a value is a word for there being none, or begins with one and a comma."""
    return fold(re.split(r"[,;(]", value)[0]).strip(" .") in all_words("missing")


def _is_capital(word: str) -> bool:
    return word[:1].isupper() or (len(word) > 2 and word[1] in "'’" and word[2:3].isupper())


def _is_short(word: str) -> bool:
    return len(word) <= 3 or fold(word).strip(".") in _title_words()


def _spans(text: str) -> Iterator[ValueCandidate]:
    """Runs of one to five words inside a clause that begin and end with no small word."""
    words = [(match.start(), match.end(), fold(match[0]).strip(".'’")) for match in _WORD.finditer(text)][:250]
    small = all_words("articles") | all_words("links") | all_words("small_words")
    for first, (start, _, head) in enumerate(words):
        if head in small and len(head) > 1:
            continue
        for last in range(first, min(first + _MOST_WORDS, len(words))):
            if last > first and re.search(
                r"[,;:()\"\n„“”«»!?]|[^\s.]{3}\.\s|\s{2}", text[words[last - 1][1] - 4 : words[last][0]]
            ):
                break
            if words[last][2] not in small or last == first:
                yield from _at(text, start, words[last][1], "span")
