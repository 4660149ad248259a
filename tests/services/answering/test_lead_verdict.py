"""A wrong yes or no is refused and a right one stands, by kind of question, in six languages.

The cases of `written_first.txt` were looked at while the rules were made; those of `written_last.txt` were written when
the rules stood."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.services.answering.lead_verdict import read_verdict
from tidegate.services.answering.limits import Limit, read_limits
from tidegate.services.answering.sentence_check import SourceText, check_sentence
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose
from tidegate.services.languages.verdict_words import load_verdict_words

CASES = Path(__file__).parent / "yes_no_cases"
HELD = {
    ("written_first", "wrong", "refused"): 0.94,
    ("written_first", "right", "said"): 0.94,
    ("written_last", "wrong", "refused"): 0.93,
    ("written_last", "right", "said"): 0.93,
    ("absence_and_excess", "wrong", "refused"): 0.85,
    ("absence_and_excess", "right", "said"): 0.85,
}
MOST_SAID, MOST_REFUSED = 0.02, 0.02
"""Of the wrong ones that are said, and of the right ones that are refused."""


class YesNoCase(NamedTuple):
    """A question, what is cited, and whether that says yes, no or neither."""

    language: str
    kind: str
    question: str
    cited: str
    right: str


def load_cases(name: str) -> list[YesNoCase]:
    lines = (CASES / f"{name}.txt").read_text("utf-8").splitlines()
    return [YesNoCase(*line.split("|")) for line in lines]


def outcome_of(case: YesNoCase, says: str) -> str:
    words = load_prose(case.language)
    lead = words.yes if says == "yes" else words.no
    found = check_sentence(f"{lead}, {case.cited}", [SourceText(case.cited, case.language)], case.question)
    return "refused" if not found.passed else "left out" if found.doubtful.says else "said"


@pytest.mark.parametrize("name", ["written_first", "written_last", "absence_and_excess"])
def test_wrong_leads_are_refused_and_right_ones_said(name: str) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    cases = [case for case in load_cases(name) if case.right != "unclear"]
    for case in cases:
        for says in ("yes", "no"):
            counts["right" if says == case.right else "wrong", outcome_of(case, says)] += 1
    for (of, side, outcome), least in HELD.items():
        assert of != name or counts[side, outcome] >= least * len(cases), counts
    assert counts["wrong", "said"] <= MOST_SAID * len(cases), counts
    assert counts["right", "refused"] <= MOST_REFUSED * len(cases), counts


def test_what_is_unclear_is_answered_with_neither() -> None:
    cases = [case for case in load_cases("written_first") if case.right == "unclear"]
    assert [read_verdict(case.question, case.cited, case.language) for case in cases] == [""] * len(cases)


@pytest.mark.parametrize(
    ("language", "question", "cited"),
    [
        ("en", "Is the tower open on Saturday at 15:00 or on Sunday at 9:00?", "Open Mon–Fri 8:00–16:00."),
        ("en", "Isn't the counter open on Sunday?", "The counter is open from Monday to Friday."),
        ("en", "When are you open on Sunday?", "We are open from Monday to Saturday."),
        ("de", "Darf ich 12 kg mitnehmen?", "Der Eintritt kostet 10 Euro."),
        ("en", "May a girl of 11 come along?", "Children under 12 pay half; adults over 10 at most."),
    ],
)
def test_nothing_is_read_where_no_rule_says(language: str, question: str, cited: str) -> None:
    assert read_verdict(question, cited, language) == ""


@given(asked=st.integers(1, 99), limit=st.integers(2, 99), language=st.sampled_from(PROSE_LANGUAGES))
def test_an_age_below_a_limit_is_no_in_every_language(asked: int, limit: int, language: str) -> None:
    words = load_verdict_words(language)
    years, least = words.units["years"][0], words.least[0]
    [known] = read_limits(f"{least} {limit} {years}", language)
    [wanted] = read_limits(f"x {asked} {years}", language)
    assert known.kind == wanted.kind == "years"
    assert known.holds(wanted) is (asked >= limit)


@given(st.tuples(*[st.integers(1, 7)] * 3))
def test_a_range_over_the_end_of_a_week_holds_what_is_in_it(days: tuple[int, int, int]) -> None:
    first, last, asked = days
    held = {(first - 1 + more) % 7 + 1 for more in range((last - first) % 7 + 1)}
    assert Limit("day", first, last).holds(Limit("day", asked, asked)) is (asked in held)


VALUES = st.text("@:.,-–0123456789 day/€%h", max_size=40)


@given(
    question=st.text(max_size=40) | VALUES,
    source=st.text(max_size=60) | VALUES,
    language=st.sampled_from((*PROSE_LANGUAGES, "sv")),
)
@example(question="@day:1.1:.@?", source="@day:1:1@ 5", language="en")
def test_any_text_is_read(question: str, source: str, language: str) -> None:
    assert read_verdict(question, source, language) in ("yes", "no", "")


@pytest.mark.parametrize(
    ("answer", "is_sure"),
    [
        ("No, the fee is returned if the mark goes up.", False),
        ("No, the fee is returned only if the mark goes up.", True),
        ("No, the fee is not returned if the mark goes up.", True),
    ],
)
def test_a_condition_alone_bears_out_no_no(answer: str, is_sure: bool) -> None:
    cited = answer.removeprefix("No, ").capitalize()
    found = check_sentence(answer, [SourceText(cited, "en")], "Do I get my money back?")
    assert found.passed
    assert bool(found.doubtful.says) is not is_sure
