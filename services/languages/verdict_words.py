"""Words by which a statement answers a question with yes or no: limits, units, necessity, prices, who alone may.

Promises that a file that is wrong is found when it is first read. Next: data/verdicts/en.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec

from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.prose import PROSE_LANGUAGES

Folded = tuple[str, ...]


class VerdictWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's phrases, folded when loaded. Those of bounds stand before the number or behind it."""

    least: Folded
    above: Folded
    """As `least`, without the number itself: *more than*."""
    most: Folded
    below: Folded
    exceed: Folded
    """Verbs that are denied of what is over a limit: *must not exceed*; it is a limit and no denial."""
    without: Folded
    with_: Folded = msgspec.field(name="with")
    beyond: Folded
    """Of a statement: that something is more than can be, before an adjective: *too steep for wheelchairs*."""
    least_behind: Folded
    above_behind: Folded = ()
    most_behind: Folded
    below_behind: Folded = ()
    between: Folded
    joins: Folded
    """What stands between the ends of a range."""
    both: Folded
    """What stands between the entries of a list."""
    until_before: Folded
    """What ends so long before something: *closes 45 minutes before*."""
    units: dict[str, Folded]
    """Words by a unit's name; `years` are of an age, `days`, `weeks`, `months`, `hours` and `minutes` last."""
    single: Folded
    """One of something, as an article: *a week*."""
    clock: Folded
    """What stands behind a number that is an hour of the day."""
    clock_before: Folded
    """What stands before one."""
    afternoon: Folded
    """What stands behind an hour that is counted from noon."""
    days: dict[str, Folded]
    """Short names of weekdays, by their number."""
    daily: Folded
    only: Folded
    """What stands before or behind those who alone may."""
    reserved: Folded
    """What stands before those who alone may."""
    except_: Folded = msgspec.field(name="except")
    needed: Folded
    """Of a question: whether something must be; of a statement: that it must."""
    unneeded: Folded
    """Of a statement: that it need not be."""
    pay: Folded
    """Of a question or a statement: that something costs."""
    free: Folded
    all: Folded
    some: Folded
    """Not all of them."""
    too: Folded
    """Of a question: whether it is beyond a limit."""
    open: Folded
    closed: Folded
    """States, and no events: *closed*, not *closes*."""
    allowed: Folded
    forbidden: Folded


@cache
def load_verdict_words(language: str) -> VerdictWords:
    """The words of one of `PROSE_LANGUAGES`. Raises `FileNotFoundError` for another."""
    if language not in PROSE_LANGUAGES:
        raise FileNotFoundError(language)
    text = (files("tidegate.services.languages") / "data" / "verdicts" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(fold(text)), VerdictWords)
