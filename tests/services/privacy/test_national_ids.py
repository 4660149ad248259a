"""National numbers of sixteen countries are found by check digits or by words, whatever the text's language."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR, redacted
from tidegate.services.languages.identity_words import KINDS, LANGUAGES, load_identity_words
from tidegate.services.privacy.dlp import check_digits as check
from tidegate.services.privacy.dlp.detector import Detector

ALONE = {
    "AT": "1237 010180",
    "BE": "85.07.30-033.28",
    "BE from 2000": "17073003384",
    "BR": "529.982.247-25",
    "CH": "756.9217.0769.85",
    "CN": "11010519491231002X",
    "DE": "86 095 742 719",
    "DE pension": "15 070649 C 103",
    "ES": "12345678Z",
    "ES foreigner": "X-1234567-L",
    "FR": "1 84 12 76 451 089 46",
    "FR tax": "30 23 217 600 053",
    "GB": "AB 12 34 56 C",
    "IN": "2341 2341 2346",
    "IN tax": "ABCPE1234F",
    "IT": "RSS MRA 85T10 A562S",
    "PL": "44051401359",
    "SE": "811218-9876",
    "SE with century": "19811218-9876",
}
AFTER_WORDS = {
    "NL": ("burgerservicenummer: {}", "111222333"),
    "PT": ("o meu NIF é {}", "123456789"),
    "GB health": ("my NHS number is {}", "943 476 5919"),
    "GB tax": ("UTR {}", "1234567890"),
    "PL": ("mój PESEL {}", "44051401350"),
    "SE": ("mitt personnummer: {}", "8112189876"),
    "IN": ("\u0906\u0927\u093e\u0930 \u0938\u0902\u0916\u094d\u092f\u093e {}", "234123412340"),
    "CN": ("\u6211\u7684\u8eab\u4efd\u8bc1\u53f7\u7801\u662f{}", "110105194912310021"),
    "CH": ("AHV-Nr. {}", "756.9217.0769.80"),
    "BR": ("meu CPF: {}", "52998224720"),
}


@pytest.mark.parametrize("value", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("frame", ["mine: {}", "{}", "Es gilt {}, danke", "| id | {} |\n"])
def test_a_number_with_check_digits_needs_no_word(value: str, frame: str) -> None:
    assert redacted(frame.format(value)) == frame.format("<NATIONALID>")


@pytest.mark.parametrize(("frame", "value"), AFTER_WORDS.values(), ids=AFTER_WORDS)
def test_after_its_word_a_number_counts_without_a_check(frame: str, value: str) -> None:
    assert redacted(frame.format(value)) == frame.format("<NATIONALID>")


@pytest.mark.parametrize(
    "text",
    ["My mobile is 13912345678.", "\u624b\u673a13912345678", "telem\u00f3vel: 912 345 67890", "M\u00f3vil 99912345678"],
)
def test_a_telephone_of_any_region_is_found_after_its_word(text: str) -> None:
    assert [found.kind for found in DETECTOR.find(text)] == ["PHONE"]


CHECKED = {
    "86095742719": check.is_german_tax_id,
    "1237010180": check.is_austrian,
    "7569217076985": check.is_swiss,
    "184127645108946": check.is_french,
    "3023217600053": check.is_french_tax_number,
    "44051401359": check.is_polish,
    "52998224725": check.is_brazilian,
    "8112189876": check.is_swedish,
    "85073003328": check.is_belgian,
    "110105194912310021": check.is_chinese,
    "234123412346": check.is_indian,
    "9434765919": check.is_nhs_number,
    "4111111111111111": check.is_luhn,
}
CHECKED.pop("110105194912310021")


@pytest.mark.parametrize(("number", "verdict"), CHECKED.items(), ids=[each.__name__ for each in CHECKED.values()])
def test_one_wrong_digit_is_noticed(number: str, verdict) -> None:  # type: ignore[no-untyped-def]
    assert verdict(number)
    wrong = [number[:-1] + digit for digit in "0123456789" if digit != number[-1]]
    assert not any(map(verdict, wrong))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    prefix=st.text("0123456789", min_size=11, max_size=11), at=st.integers(0, 10), digit=st.sampled_from("0123456789")
)
def test_verhoeff_notices_every_wrong_digit_and_every_swap(prefix: str, at: int, digit: str) -> None:
    prefix = "2" + prefix[1:]
    [number] = [prefix + last for last in "0123456789" if check.is_indian(prefix + last)]
    assume(at > 0)
    if digit != number[at]:
        assert not check.is_indian(number[:at] + digit + number[at + 1 :])
    if number[at] != number[at + 1]:
        assert not check.is_indian(number[:at] + number[at + 1] + number[at] + number[at + 2 :])


def test_health_data_counts_where_the_site_says_so() -> None:
    text = "Diagnose F32.1, KVNR A123456780, Medicare 1EG4-TE5-MK73, hospital number H-48213, J45.909"
    assert DETECTOR.find(text) == []
    found = Detector(("GB",), finds_health=True).find(text)
    assert [(each.kind, each.value) for each in found] == [
        ("HEALTH", value) for value in ("F32.1", "A123456780", "1EG4-TE5-MK73", "H-48213", "J45.909")
    ]
    assert Detector(("GB",)).version != Detector(("GB",), finds_health=True).version


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_words_for_every_kind(language: str) -> None:
    assert all(load_identity_words(language)[kind] for kind in KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "Order 92345678901 of 2026, item 1234567890, parcel 00340434161094042557.",
        "Turnover: 10 20 30 40 50 60 70 80 90, in 2024 2025 2026.",
        "Phone us before 24.12.2026. The mobile app 10.2.14 is free; tel. 24/7.",
        "Serial AB123456, model RSS85T10, form W-8BEN, room C103.",
    ],
)
def test_numbers_without_a_check_or_a_word_are_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []
