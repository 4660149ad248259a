"""The limits that a text sets and the values that a question asks about: ages, hours, weekdays, dates, amounts.

Promises nothing of a number whose kind the words beside it do not say. Pure. Next: `lead_verdict`, which holds the one
against the other; services/languages/verdict_words.py, the words that are read here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from tidegate.services.answering.quantities import REMEMBERED
from tidegate.services.languages.claim_words import load_claim_words
from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.spelled_words import LANGUAGES as SPELLED
from tidegate.services.languages.spelled_words import load_spelled_words
from tidegate.services.languages.verdict_words import load_verdict_words

DAYS = {"days": 1, "weeks": 7, "months": 30}
MINUTES = {"minutes": 1, "hours": 60}
Writer = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
"""A pattern, and what is written in its place."""
BARE = ""
"""The kind of a number with no unit beside it."""
JUST = 1e-3
"""By how much a limit lies within the number that it leaves out."""
DAY_OF_MONTH, WEEK = 32, 7
LOOK_BACK = 64
"""Characters before a value in which the words are looked for that make a limit of it."""
_TOKEN = re.compile(r"@(\w*):(-?[\d.]+):(-?[\d.]+)@")
_NUMBER = r"(?<![\w.,:@-])(\d{1,3}(?:[., ]\d{3})+(?!\d)|\d+(?:[.,]\d+)?)(?![\w@])"


class Limit(NamedTuple):
    """Values of a kind (`years`, `clock` in minutes, `day`, `date`, a unit) from `low` to `high`, both counted; `at`
    is where it stands in the text, as it is read. A week or a year that is run over by its end has `low` > `high`."""

    kind: str
    low: float
    high: float
    at: int = 0
    is_bound: bool = False
    """Whether words or a second number make a limit of it; else it is one value, a day or a month."""

    def holds(self, other: Limit) -> bool | None:
        """Whether all of another one's values are among these, none is (False), or some are (None)."""
        spans, theirs = _unrolled(self), _unrolled(other)
        inside = [any(low <= one and end <= high for low, high in spans) for one, end in theirs]
        apart = [all(end < low or one > high for low, high in spans) for one, end in theirs]
        return True if all(inside) else False if all(apart) else None


def _unrolled(limit: Limit) -> list[tuple[float, float]]:
    if limit.low <= limit.high:
        return [(limit.low, limit.high)]
    return [(limit.low, math.inf), (-math.inf, limit.high)]


@lru_cache(maxsize=REMEMBERED)
def read_limits(text: str, language: str) -> tuple[Limit, ...]:
    """All limits and values of a text in one of `PROSE_LANGUAGES`, in order."""
    marked = mark_values(text, language)
    found: list[Limit] = []
    end = 0
    for match in _ranges(language).finditer(marked):
        found += _outside(marked, end, match.start(), language)
        found += _of_range(match, language)
        end = match.end()
    return tuple(found + _outside(marked, end, len(marked), language))


def mark_values(text: str, language: str) -> str:
    """The text, folded, with `@kind:low:high@` in the place of each value."""
    text = text.replace("@", " ")  # which marks a value from here on
    folded = fold(_mark_may(text) if language == "en" else text).replace("’", "'")
    folded = re.sub(r"(?<=\d)\s*(?:-|–)\s*(?=(?:year|jahr))", " ", folded)
    for pattern, write in _writers(language):
        folded = pattern.sub(write, folded)
    return folded


def _mark_may(text: str) -> str:
    """The month, which is written as the verb is, but not where a sentence or a question begins."""
    return re.sub(r"(?<=[a-z\d,–-] )May\b(?! (?:I|we|you|he|she|they|it|not|be)\b)", "@date:161:191@", text)


@cache
def _writers(language: str) -> list[Writer]:
    """What is replaced, in this order, and by what."""
    words = load_verdict_words(language)
    found: list[Writer] = [*_write_numbers(language), *_write_clock(language)]
    found += _write_calendar(language)
    units = {word: name for name, spelled in words.units.items() for word in spelled}
    signs = "|".join(re.escape(sign) for sign in units if not sign[0].isalnum())

    def of_unit(match: re.Match[str]) -> str:
        return _token(*_in_unit(units[match["unit"].replace("-", " ")], _value(match["number"])))

    number = _NUMBER.replace("(\\d{1,3}", "(?P<number>\\d{1,3}", 1)
    if signs:
        before = rf"(?P<unit>{signs})\s?" + number.replace("(?<![\\w.,:@-])", "")
        found.append((re.compile(before), of_unit))
    spelled = _any_of(units)
    glued = number.replace("(?![\\w@])", "")
    found.append((re.compile(rf"{glued}[\s-]?(?P<unit>{spelled})(?!\w)"), of_unit))
    found.append((re.compile(number), lambda match: _token(BARE, _value(match["number"]))))
    return found


def _write_numbers(language: str) -> Iterator[Writer]:
    """Spelled numbers in digits, also those that a unit is joined to, and `a week` as one."""
    words = load_verdict_words(language)
    known = load_spelled_words(language).numbers if language in SPELLED else {}
    numbers = {fold(word): value for word, value in known.items() if value > 1}
    if numbers:
        spelled = _any_of(numbers)
        joined = re.compile(rf"(?<!\w)({spelled})(?=[\s-])")
        yield joined, lambda match: f"{numbers[match[1]]}"
        aged = re.compile(rf"(?<!\w)({spelled})(?=jaehrig)")
        yield aged, lambda match: f"{numbers[match[1]]} "
    units = [word for name in (*DAYS, *MINUTES) for word in words.units.get(name, ())]
    single = re.compile(rf"(?<!\w)(?:{_any_of(words.single)})\s(?=(?:{_any_of(units)})(?!\w))")
    yield single, lambda _: "1 "


def _write_clock(language: str) -> Iterator[Writer]:
    words = load_verdict_words(language)
    hour = r"(?<![\w.,:@])(?P<hour>[01]?\d|2[0-4])"
    small = r"(?:[:.h](?P<minute>[0-5]\d))"
    behind, noon = _any_of(words.clock), _any_of(words.afternoon)
    joins = _any_of(words.joins)
    yield re.compile(rf"{hour}{small}?\s?(?:h\s)?(?P<noon>{noon})(?!\w)"), _clock_token
    yield re.compile(rf"{hour}(?:(?<=\d){small})?\s?(?:{behind})(?!\w)"), _clock_token
    yield re.compile(rf"{hour}[:h](?P<minute>[0-5]\d)(?!\d)(?:\s?h)?"), _clock_token
    if words.clock_before:
        before = _any_of(words.clock_before)
        yield re.compile(rf"(?:(?<=\s)|(?<=^))(?:{before})\s?{hour}(?![\w.,:@])(?!\s(?:[a-z]|%|€))"), _clock_token
    # "from 9 to 17 o'clock": the first has the kind of the second.
    yield re.compile(rf"{hour}(?:[.](?P<minute>[0-5]\d))?(?=\s?(?:-|–|{joins})\s?@clock)"), _clock_token


def _clock_token(match: re.Match[str]) -> str:
    parts = match.groupdict()
    minutes = 60 * int(match["hour"]) + int(parts.get("minute") or 0)
    if parts.get("noon") and minutes < 12 * 60:
        minutes += 12 * 60
    lead = match[0][: match.start("hour") - match.start()]
    return f"{lead}{_token('clock', float(minutes))}"


def _write_calendar(language: str) -> Iterator[Writer]:
    words = load_verdict_words(language)
    days: dict[str, int] = {}
    months: dict[str, int] = {}
    for word, marks in load_claim_words(language).marks.items():
        for mark in marks:
            if mark.family in ("day", "month"):
                (days if mark.family == "day" else months)[word] = int(mark.value)
    short = {word: int(day) for day, spelled in words.days.items() for word in spelled}
    month = rf"(?P<month>{_any_of(months)})(?!\w)"
    of_day = r"(?<![\w.,:@])(?P<day>[0-3]?\d)(?:\.|st|nd|rd|th|er)?\s(?:de |of |d')?"

    def dated(match: re.Match[str]) -> str:
        return _token("date", float(DAY_OF_MONTH * months[match["month"]] + int(match["day"])))

    def monthly(match: re.Match[str]) -> str:
        first = DAY_OF_MONTH * months[match["month"]]
        return _token("date", first + 1.0, first + 31.0)

    yield re.compile(of_day + month), dated
    if language == "en":
        yield re.compile(rf"(?<!\w){month} (?P<day>[0-3]?\d)(?:st|nd|rd|th)?(?![\w:.])"), dated
    yield re.compile(rf"(?<!\w){month}"), monthly
    day = lambda match: _token("day", float(days.get(match[1], 0) or short[match[1]]))  # noqa: E731
    yield re.compile(rf"(?<!\w)({_any_of(days)})(?!\w)"), day
    # Short names are those of days only beside another one: "so", "mar" and "sat" are words too.
    yield re.compile(rf"(?<!\w)({_any_of(short)})(?=\.?\s?(?:-|–|/)\s?(?:{_any_of(short)})(?!\w))"), day
    yield (
        re.compile(rf"(?<=@-)({_any_of(short)})(?!\w)|(?<=@–)({_any_of(short)})(?!\w)"),
        lambda match: _token("day", float(short[match[1] or match[2]])),
    )
    yield re.compile(rf"(?<!\w)(?:{_any_of(words.daily)})(?!\w)"), lambda _: _token("day", 1.0, float(WEEK))


def _in_unit(name: str, value: float) -> tuple[str, float]:
    if name in DAYS:
        return "days", value * DAYS[name]
    return ("minutes", value * MINUTES[name]) if name in MINUTES else (name, value)


def _value(number: str) -> float:
    if re.fullmatch(r"\d{1,3}(?:[., ]\d{3})+", number):
        return float(re.sub(r"[., ]", "", number))
    return float(number.replace(",", "."))


def _token(kind: str, low: float, high: float | None = None) -> str:
    return f"@{kind}:{low:g}:{low if high is None else high:g}@"


def _any_of(phrases: Iterable[str]) -> str:
    """One pattern of whole phrases, longest first; never matches where there is none."""
    return "|".join(re.escape(each) for each in sorted(phrases, key=lambda each: (-len(each), each))) or r"(?!)"


@cache
def _ranges(language: str) -> re.Pattern[str]:
    joins = _any_of(load_verdict_words(language).joins)
    join = rf"\s?(?:-|–)\s?|\s(?:{joins})\s(?:[a-z]{{1,4}}['\s]){{0,2}}"
    return re.compile(rf"{_TOKEN.pattern}(?P<join>{join}){_TOKEN.pattern}")


@cache
def _bounds(language: str) -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """What makes a limit of a number, by the side on which it bounds it: before it and behind it."""
    words = load_verdict_words(language)
    of: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "above": (words.above, words.above_behind),
        "below": (words.below, words.below_behind),
        "least": (words.least, words.least_behind),
        "most": (words.most, words.most_behind),
    }
    return {
        side: (
            re.compile(rf"(?<!\w)(?:{_any_of(before)})(?P<gap>(?:\s[a-z]{{1,3}}\b\.?'?){{0,2}}\s?)$"),
            re.compile(rf"\s(?:{_any_of(behind)})(?!\w)"),
        )
        for side, (before, behind) in of.items()
    }


def _outside(marked: str, start: int, end: int, language: str) -> list[Limit]:
    """The values between ranges, each with its bound."""
    return [_bounded(marked, match, language) for match in _TOKEN.finditer(marked, start, end)]


def _bounded(marked: str, match: re.Match[str], language: str) -> Limit:
    kind, low, high = match[1], float(match[2]), float(match[3])
    side = _side_of(marked, match, language)
    if side == "least":
        return Limit(kind, low, math.inf, match.start(), True)
    if side == "above":
        return Limit(kind, high + JUST, math.inf, match.start(), True)
    if side == "most":
        return Limit(kind, -math.inf, high, match.start(), True)
    if side == "below":
        return Limit(kind, -math.inf, low - JUST, match.start(), True)
    return Limit(kind, low, high, match.start())


def _side_of(marked: str, match: re.Match[str], language: str) -> str:
    """The longest phrase that stands before the number or behind it decides."""
    lead = marked[max(0, match.start() - LOOK_BACK) : match.start()]
    found: dict[str, int] = {}
    for side, (before, behind) in _bounds(language).items():
        if hit := behind.match(marked, match.end()):
            found[side] = len(hit[0]) + LOOK_BACK
        elif hit := before.search(lead):
            found[side] = max(found.get(side, 0), len(hit[0]) - len(hit["gap"]))
    side = max(found, key=lambda each: found[each], default="")
    if side in ("", "most") and match[1] in ("minutes", "days") and _ends_before(marked, match, language):
        return "least"
    return side


def _ends_before(marked: str, match: re.Match[str], language: str) -> bool:
    """Whether something ends so long before something else: "closes 45 minutes before departure", "until then"."""
    words = load_verdict_words(language)
    behind = marked[match.end() : match.end() + 12].split()[:2]
    is_before = any(word in " ".join(behind).split() for phrase in words.below for word in phrase.split()[:1])
    return (
        is_before
        and re.search(
            rf"(?<!\w)(?:{_any_of(words.until_before)})(?!\w)",
            marked[max(0, match.start() - LOOK_BACK) : match.start()],
        )
        is not None
    )


def _of_range(match: re.Match[str], language: str) -> list[Limit]:
    """One limit of two values of a kind that a word or a dash joins; the two by themselves where that is a list."""
    first = Limit(match[1], float(match[2]), float(match[3]), match.start())
    second = Limit(match[5], float(match[6]), float(match[7]), match.start(5) - 1)
    kind = second.kind if first.kind == BARE else first.kind
    if second.kind not in (kind, BARE) and first.kind != BARE:
        return [first, second]
    joined = match["join"].strip().split(" ")[0]
    words = load_verdict_words(language)
    is_between = (
        re.search(
            rf"(?<!\w)(?:{_any_of(words.between)})\s$", match.string[max(0, match.start() - LOOK_BACK) : match.start()]
        )
        is not None
    )
    if joined in words.both and not is_between:
        return [first._replace(kind=kind), second._replace(kind=kind)]
    return [Limit(kind, first.low, second.high, match.start(), True)]
