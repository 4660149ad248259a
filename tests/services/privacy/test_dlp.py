"""Personal data is found by kind and language, and hard negatives are left alone."""

from __future__ import annotations

import pytest

from tests.services.privacy.personal_samples import DETECTOR, FOUND, LEFT_ALONE, redacted
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.finding import PersonalSpan, merge_spans


@pytest.mark.parametrize(("kind", "value", "frame"), FOUND, ids=[f"{kind}-{value}" for kind, value, _ in FOUND])
def test_it_is_found_whole_and_as_what_it_is(kind: str, value: str, frame: str) -> None:
    text = frame.format(value)
    assert [(found.kind, found.value) for found in DETECTOR.find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_not_personal_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("card \uff14\uff11\uff11\uff11 1111 1111 1111", "CARD", "\uff14\uff11\uff11\uff11 1111 1111 1111"),
        ("4111\u00a01111\u202f1111\u20091111", "CARD", "4111\u00a01111\u202f1111\u20091111"),
        ("4111\u200b1111\u200b1111\u200b1111!", "CARD", "4111\u200b1111\u200b1111\u200b1111"),
        ("415\u2011555\u20132671", "PHONE", "415\u2011555\u20132671"),
        ("ann\uff20example.org", "EMAIL", "ann\uff20example.org"),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "CARD", "٤١١١ ١١١١ ١١١١ ١١١١"),
    ],
)
def test_other_digits_spaces_and_invisible_characters_hide_nothing(text: str, kind: str, value: str) -> None:
    assert [(found.kind, found.value) for found in DETECTOR.find(text)] == [(kind, value)]


def test_seasons_and_opening_hours_are_no_telephone_numbers_in_any_region() -> None:
    everywhere = Detector(("GB", "DE", "FR", "ES", "US", "IT", "PT", "NL", "PL", "AT", "CH", "SE", "BR"))
    text = "Open from 01.11.-31.03., 15/5-30/9 and 07/2024-12/2024, daily 0900-1700 and 1800 - 2215."
    assert everywhere.find(text) == []


def test_several_kinds_in_one_text_come_in_order_and_apart() -> None:
    text = "I am Jane Doe, born 12 March 1980, jane@example.org, +44 20 7946 0958, card 4111 1111 1111 1111."
    assert [found.kind for found in DETECTOR.find(text)] == ["NAME", "DOB", "EMAIL", "PHONE", "CARD"]


def test_where_kinds_overlap_all_of_it_is_hidden_under_the_surest() -> None:
    [found] = DETECTOR.find("my account is DE89 3704 0044 0532 0130 00")
    assert (found.kind, found.value) == ("IBAN", "DE89 3704 0044 0532 0130 00")


@pytest.mark.parametrize("spans", [((0, 5), (3, 9)), ((0, 9), (3, 5)), ((3, 9), (0, 5)), ((0, 9), (0, 5))])
def test_overlapping_spans_become_their_union(spans: tuple[tuple[int, int], ...]) -> None:
    kinds = ("PHONE", "IBAN")
    found = merge_spans(PersonalSpan(kind, start, end) for kind, (start, end) in zip(kinds, spans, strict=True))
    assert found == [PersonalSpan("IBAN", 0, 9)]
    assert merge_spans([PersonalSpan("IP", 4, 6), PersonalSpan("IP", 0, 4)]) == [
        PersonalSpan("IP", 0, 4),
        PersonalSpan("IP", 4, 6),
    ]


def test_the_version_tells_of_other_regions_and_an_unknown_one_is_refused() -> None:
    assert DETECTOR.version == Detector(("GB", "DE", "FR", "ES", "US")).version
    assert DETECTOR.version != Detector(("GB",)).version
    assert Detector(("GB",)).find("ring (415) 555-2671") == []
    with pytest.raises(ValueError, match="XX"):
        Detector(("GB", "XX"))


def test_more_numbers_than_are_tried_are_hidden_all_the_same() -> None:
    numbers = [f"+44 20 7946 {number:04}" for number in range(900, 980)]
    text = "; ".join(numbers)
    assert "7946" not in redacted(text)
