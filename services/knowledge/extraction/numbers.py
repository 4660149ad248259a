"""Finds numbers in a text: numerals in the conventions of its language, number words, money, durations.

Promises that each is verbatim. The separators are those of the Unicode CLDR (`babel`). Next: dates.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from babel import Locale

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, is_inside, listed
from tidegate.services.languages.extraction_words import fold, load_extraction_words
from tidegate.services.languages.words import LANGUAGES

_SPACES = " \u00a0\u202f\u2009"
_NUMERAL = re.compile(
    rf"(?<![\w.,])(?<![^\W\d_]-)(?P<sign>[-+−]\s?(?=\d))?(?P<digits>\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?(?!\d|[{_SPACES}]\d)"
    r"|\d{1,3}(?:[.,'’]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?![\d])"
)
_UNIT_AFTER = re.compile(rf"[{_SPACES}]{{0,2}}(?P<unit>[^\W\d_]+[²³23]?(?:/[^\W\d_]+[²³23]?)?|[%‰€£$¥]|[°º]\s?[CF]?)")
_MONEY_BEFORE = re.compile(rf"(?P<unit>[€£$¥]|\b[A-Z]{{3}})[{_SPACES}]{{0,12}}$")
_MINUS = ("-", "−")
_MINUS_BEHIND = re.compile(r"[-−](?=\s|$)")
_DECIMALS = re.compile(r"[.,]\d\d$")
_IN_BRACKETS = re.compile(rf"[:=|]\s*(?:[€£$¥]|[A-Z]{{3}}[{_SPACES}])?\((?:[€£$¥]|[A-Z]{{3}}[{_SPACES}])?$")
_BRACKET_END = re.compile(r"\)\s*(?:[\n|;]|$)")
_SHORTENED = "odr"
"""How scale words end that are cut short, as in `Mio.`, `Tsd.` and `Mrd.`."""
_SHORT_SCALE = 2
_SYMBOLS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}
CURRENCIES = frozenset(
    {"EUR", "GBP", "USD", "JPY", "CHF", "MXN", "SEK", "NOK", "DKK", "PLN", "CAD", "AUD", "CZK", "HUF", "CNY"}
)
_ORDINALS = frozenset({"x", "st", "nd", "rd", "th", "er", "e", "o", "a"})
_PERCENT = {"%": "percent", "‰": "permille"}
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_SI: dict[str, str] = dict(
    pair.split("=")
    for pair in listed(
        "kg=kilogram g=gram t=tonne mg=milligram l=litre ml=millilitre m=metre mm=millimetre cm=centimetre "
        "km=kilometre min=minute h=hour d=day s=second c=celsius °c=celsius ºc=celsius °=celsius pct=percent "
        "kw=kilowatt m2=sqm m²=sqm sqm=sqm qm=sqm m3=m3 m³=m3 w=watt v=volt a=ampere kmh=km/h mms=mm/s bar=bar "
        "kwh=kwh mwh=mwh mah=mah nm=nm gb=gb tb=tb km/h=km/h mph=mph rpm=rpm ppm=ppm mm/s=mm/s"
    )
)


@cache
def unit_names() -> dict[str, str]:
    """From a folded word or symbol to the name of its unit; a currency's name is its ISO 4217 code."""
    found = dict(_SI)
    for language in LANGUAGES:
        words = load_extraction_words(language)
        for unit, names in (*words.units.items(), *words.currencies.items()):
            found |= {fold(name): unit for name in (*names, unit)}
    return found | {fold(code): code for code in CURRENCIES}


def unit_of(written: str) -> str:
    """The unit that a word or a symbol names; "" for what names none."""
    return _SYMBOLS.get(written) or _PERCENT.get(written) or unit_names().get(fold(written).replace(" ", ""), "")


def find_numbers(text: str, language: str, taken: list[ValueCandidate]) -> Iterator[ValueCandidate]:
    """The numbers of a text outside of what is `taken` (dates, times, codes), with the units that stand beside them.

    A numeral with one mark before three digits is read as the language writes it: `0,125` is a fraction everywhere,
    for no number begins its thousands with a zero.
    """
    for match in _NUMERAL.finditer(text):
        if is_inside(match.start("digits"), match.end("digits"), taken):
            continue
        value = parse_number(match["digits"], language)
        if value is None:
            continue
        yield from _with_unit(text, -value if _is_negative(text, match) else value, match, language)
    yield from _find_words(text, language, taken)


def parse_number(written: str, language: str = "en") -> float | int | None:
    """`1.234,50`, `1,234.50`, `1 234,5`, `1'234.5` and `1,234` as a number; None for what no convention writes.

    One mark before exactly three digits groups thousands, unless it is the decimal mark of the language or a zero
    stands before it.
    """
    bare = re.sub(rf"[{_SPACES}'’]", "", written)
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        return int(bare)
    last = max(bare.rfind("."), bare.rfind(","))
    whole, fraction = bare[:last], bare[last + 1 :]
    if len(set(marks)) == 1:
        if len(marks) > 1:
            return int(re.sub(r"[.,]", "", bare)) if _is_grouped(bare) else None
        has_group_spaces = bool(re.search(rf"[{_SPACES}'’]", written))
        is_group = len(fraction) == 3 and len(whole) <= 3 and whole.strip("0") and not has_group_spaces
        if is_group and bare[last] != _decimal_mark(language):
            return int(whole + fraction)
    elif len([mark for mark in marks if mark == bare[last]]) > 1 or not _is_grouped(whole):
        return None
    value = float(re.sub(r"[.,]", "", whole) + "." + fraction)
    return int(value) if value == int(value) else value


def _is_grouped(whole: str) -> bool:
    parts = re.split(r"[.,]", whole)
    return 1 <= len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:])


@cache
def _decimal_mark(language: str) -> str:
    return str(Locale.parse(language).number_symbols["latn"]["decimal"])


def _is_negative(text: str, match: re.Match[str]) -> bool:
    """A minus before it, or as accounts write it: a minus right behind, or brackets around all that a label has."""
    if (match["sign"] or "").strip() in _MINUS:
        return True
    if _MINUS_BEHIND.match(text, match.end()) and _DECIMALS.search(match["digits"]):
        return True
    before = _IN_BRACKETS.search(text, max(0, match.start() - 16), match.start())
    return before is not None and _BRACKET_END.match(text, match.end()) is not None


def _with_unit(text: str, value: float, match: re.Match[str], language: str) -> Iterator[ValueCandidate]:
    start, end = match.span("digits")
    if match["sign"] and match["sign"].strip() in _MINUS:
        start = match.start("sign")
    before = _MONEY_BEFORE.search(text, max(0, start - 16), start)
    is_money = before is not None and (before["unit"] in _SYMBOLS or before["unit"] in CURRENCIES)
    after, scale = _UNIT_AFTER.match(text, end), None
    while after and (found := _scale_of(text, after, language, is_money=is_money)):
        scale = found
        value, end = value * scale, after.end()
        if text[end : end + 1] == "." and after["unit"][-1] in _SHORTENED:
            end += 1
        after = _UNIT_AFTER.match(text, end)
    word = after["unit"] if after else ""
    glued = bool(after and after.start("unit") == end)
    unit = unit_of(word) if after else ""
    if glued and not unit and word[:1].isalpha() and scale is None and word.lower() not in _ORDINALS:
        return
    if before and is_money:
        unit = unit_of(before["unit"])
    value = int(value) if value == int(value) else round(value, 10)
    yield ValueCandidate(value, start, end, "numeral", unit)
    if value < 0 and (match["sign"] or "").strip() != (match["sign"] or ""):  # a dash and a number
        yield ValueCandidate(-value, start, end, "numeral", unit)
    if unit in _SECONDS:
        yield from _compound(text, value, unit, start, after.end() if after else end)


def _compound(text: str, value: float, unit: str, start: int, end: int) -> Iterator[ValueCandidate]:
    """A duration in smaller units: `1 h 20 min` is 80 minutes, `3 h` 180."""
    rest = re.compile(rf"[{_SPACES}]?(?:\w{{1,3}}[{_SPACES}])?(\d{{1,2}})(?:[{_SPACES}]?(?:min|mn|m)\w*)?\b").match(
        text, end
    )
    if unit == "hour":
        minutes = int(rest[1]) if rest and int(rest[1]) < 60 and ("m" in rest[0] or len(rest[1]) == 2) else 0
        total = value * 60 + minutes
        stop = rest.end() if rest and minutes else end
        yield ValueCandidate(int(total) if total == int(total) else total, start, stop, "duration", "minute")
        if minutes:
            yield ValueCandidate(round(total / 60, 4), start, stop, "duration", "hour")


@cache
def _scale_words(language: str) -> dict[str, float]:
    scales = {fold(word): value for word, value in load_extraction_words(language).scales.items()}
    return {word: value for word, value in scales.items() if value >= 1000}


@cache
def _foreign_scale_words() -> dict[str, float]:
    """Words that mean the same in every language that has them: those that a text may use whatever it is in."""
    found: dict[str, set[float]] = {}
    for language in LANGUAGES:
        for word, value in _scale_words(language).items():
            found.setdefault(word, set()).add(value)
    return {word: next(iter(values)) for word, values in found.items() if len(values) == 1}


def _scale_of(text: str, after: re.Match[str], language: str, *, is_money: bool) -> float | None:
    """What the word behind a number multiplies it by. Short ones, as in `£3m` and `3 Md €`, do so to money only, for
    they are symbols of units as well; but for the k of a text's own language."""
    word = after["unit"]
    own = _scale_words(language).get(fold(word))
    scale = own or (None if unit_of(word) else _foreign_scale_words().get(fold(word)))
    is_money = is_money or text[after.end() : after.end() + 2].strip()[:1] in _SYMBOLS
    is_sure = len(word) > _SHORT_SCALE or is_money or (own == 1000 and len(word) == 1)
    if scale is None or not is_sure:
        return None
    return scale


@cache
def _number_words(language: str) -> dict[str, tuple[float, bool]]:
    words = load_extraction_words(language)
    return {fold(word): (value, False) for word, value in words.numbers.items()} | {
        fold(word): (value, True) for word, value in words.scales.items() if len(word) > 1
    }


def _find_words(text: str, language: str, taken: list[ValueCandidate]) -> Iterator[ValueCandidate]:
    """Runs of number words: `three`, `twenty-four`, `two hundred and fifty`."""
    known = _number_words(language)
    run: list[tuple[float, bool]] = []
    start = end = 0
    for match in re.finditer(r"[^\W\d_]+", text):
        found = known.get(fold(match[0]))
        if found and run and text[end : match.start()] in (" ", "-") and _may_follow(run[-1], found):
            run.append(found)
            end = match.end()
            continue
        if run and not is_inside(start, end, taken):
            yield _worded(text, run, start, end)
        run, start, end = ([found] if found else []), match.start(), match.end()
    if run and not is_inside(start, end, taken):
        yield _worded(text, run, start, end)


def _may_follow(last: tuple[float, bool], found: tuple[float, bool]) -> bool:
    return found[1] or last[1] or (last[0] >= 20 and last[0] % 10 == 0 and found[0] < 10)


def _worded(text: str, run: list[tuple[float, bool]], start: int, end: int) -> ValueCandidate:
    total = current = 0.0
    for value, is_scale in run:
        if is_scale:
            current = (current or 1) * value
            if value >= 1000:
                total, current = total + current, 0.0
        else:
            current += value
    after = _UNIT_AFTER.match(text, end)
    return ValueCandidate(int(total + current), start, end, "word", unit_of(after["unit"]) if after else "")
