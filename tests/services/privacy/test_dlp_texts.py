"""What holds for any text: an IBAN of any country is found, findings are verbatim, and no text takes long."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schwifty import IBAN
from schwifty.registry import get_countries

from tests.services.privacy.personal_samples import DETECTOR, FOUND, LEFT_ALONE, redacted
from tidegate.services.privacy.dlp.finding import KINDS, PersonalSpan
from tidegate.services.privacy.dlp.numbers import find_ibans

COUNTRIES = st.sampled_from(get_countries())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(country=COUNTRIES, seed=st.integers(0, 1 << 30), gap=st.sampled_from(["", " ", "-"]), lower=st.booleans())
def test_an_iban_of_every_country_is_found_however_it_is_grouped(
    country: str, seed: int, gap: str, lower: bool
) -> None:
    iban = str(IBAN.random(country, random=random.Random(seed), use_registry=False))
    written = gap.join(iban[start : start + 4] for start in range(0, len(iban), 4))
    written = written.lower() if lower else written
    [found] = find_ibans(f"an {written}, bitte")
    assert f"an {written}, bitte"[found.start : found.end] == written
    assert redacted(f"an {written}, bitte") == "an <IBAN>, bitte"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(country=COUNTRIES, seed=st.integers(0, 1 << 30), at=st.integers(4, 30), digit=st.integers(1, 9))
def test_what_fails_its_check_digits_is_an_iban_only_after_the_word(
    country: str, seed: int, at: int, digit: int
) -> None:
    iban = str(IBAN.random(country, random=random.Random(seed), use_registry=False))
    at = 4 + at % (len(iban) - 4)
    if not iban[at].isdecimal():
        return
    wrong = f"{iban[:at]}{(int(iban[at]) + digit) % 10}{iban[at + 1 :]}"
    assert list(find_ibans(f"an {wrong}, bitte")) == []
    assert list(find_ibans(f"my IBAN is {wrong}, please")) == [PersonalSpan("IBAN", 11, 11 + len(wrong))]


PIECES = st.sampled_from([frame.format(value) for _, value, frame in FOUND] + list(LEFT_ALONE))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(parts=st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=6), glue=st.sampled_from([" ", "\n", ". "]))
def test_findings_are_sorted_apart_and_verbatim_in_any_text(parts: list[str], glue: str) -> None:
    text = glue.join(parts)
    findings = DETECTOR.find(text)
    end = 0
    for found in findings:
        assert end <= found.start < found.end <= len(text)
        assert text[found.start : found.end] == found.value
        assert found.kind in KINDS
        end = found.end
    rebuilt, end = [], 0
    for found in findings:
        rebuilt += [text[end : found.start], found.value]
        end = found.end
    assert "".join([*rebuilt, text[end:]]) == text


@settings(max_examples=150, deadline=None, derandomize=True)
@given(first=st.sampled_from(FOUND), second=st.sampled_from(FOUND))
def test_no_value_is_left_once_its_text_is_redacted(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    text = "\n".join(frame.format(value) for _, value, frame in (first, second))
    left = redacted(text)
    assert first[1] not in left
    assert second[1] not in left


ADVERSARIAL = {
    "digits": "1" * 3000,
    "digit groups": "1 " * 1500,
    "cards": "4111 1111 1111 1111 " * 150,
    "almost cards": "4111 1111 1111 1112 " * 150,
    "parentheses": "1 (1 (" * 500,
    "phones": "+44 20 7946 0958 " * 176,
    "dots": "1." * 1500,
    "ats": "@" * 3000,
    "local parts": "a." * 1480 + "@" + "b" * 39,
    "domains": "a@" + "b-." * 999,
    "one domain": "a@" + "b" * 2998,
    "iban starts": "DE89" * 750,
    "iban words": "iban DE89 " * 300,
    "colons": "a:" * 1500,
    "hex": ":" * 3000,
    "my name": "my name is " * 272,
    "names": "Mr. " * 750,
    "titles": "My name is " + "Ann " * 747,
    "births": "born 12.03.1980 " * 187,
    "links": "account " + "number is " * 299,
    "customers": "customer " * 333,
    "secrets": "password is " * 250,
    "equals": "password" + "=" * 2992,
    "jwt": "eyJ" * 1000,
    "private keys": "-----BEGIN PRIVATE KEY-----" * 111,
    "spaces": "Dr." + " " * 2997,
    "closings": "regards,\n" * 333,
    "invisible": "\u200b" * 3000,
    "quotes": "pin '" * 600,
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_no_text_takes_pathological_work(name: str) -> None:
    """Backtracking costs thousands of times a clean text of the same length; a factor of 100 tells it from noise."""

    def spent_s(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            DETECTOR.find(text)
            best = min(best, time.process_time() - started)
        return best

    clean = ("The branch in the old town opens at 9 and closes at 17:30, except on 24 December. " * 40)[:3000]
    assert spent_s(ADVERSARIAL[name][:3000]) < 100 * spent_s(clean)
