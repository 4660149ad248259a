"""Names as they stand in German and Spanish sentences: possessives, compounds, initials, other languages' names, lists.

`written_last.txt` was written when the rules stood for `written_first.txt`; `nobody.txt` names products, places and
trades, chosen for looking like names."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench.dlp_score import is_covered
from loadtests.bench.dlp_texts import written
from tests.support.paths import MODELS
from tidegate.services.languages.compounds import load_parts
from tidegate.services.privacy.dlp.detector import WholeTextDetector
from tidegate.services.privacy.dlp.owned_names import find_owned_names
from tidegate.services.privacy.dlp.person_model import PersonModel

SENTENCES = Path(__file__).parent / "person_sentences"
LEAST = {
    ("written_first", "plain"): 0.94,
    ("written_last", "plain"): 0.95,
    ("written_first", "lower"): 0.84,
    ("written_last", "lower"): 0.84,
    ("written_last", "blanks"): 0.94,
    ("labels", "plain"): 0.95,
}
"""The share of the names that is found."""
MOST_ALARMS = 0.19
NAME = re.compile(r"(\[\[.*?\]\])")


@pytest.fixture(scope="module")
def detector() -> WholeTextDetector:
    return WholeTextDetector(("DE", "ES"), PersonModel.load(MODELS))


def marked(line: str, form: str, chance: Random) -> tuple[str, list[tuple[int, int]]]:
    """A sentence in its form, and where its names are."""
    text, truth = "", []
    for part in NAME.split(line.partition("|")[2].replace("\\n", "\n")):
        shown = written(part.strip("[]"), form, chance)
        if NAME.fullmatch(part):
            truth.append((len(text), len(text) + len(shown)))
        text += shown
    return text, truth


@pytest.mark.parametrize(("name", "form"), LEAST)
def test_names_are_found_in_sentences(detector: WholeTextDetector, name: str, form: str) -> None:
    chance, missed, count = Random(form), [], 0
    for line in (SENTENCES / f"{name}.txt").read_text("utf-8").splitlines():
        text, truth = marked(line, form, chance)
        found = [(each.start, each.end) for each in detector.find(text)]
        count += len(truth)
        missed += [text for span in truth if not is_covered(text, "NAME", span, found)]
    assert len(missed) <= (1 - LEAST[name, form]) * count, missed


def test_sentences_that_name_nobody_raise_few_alarms(detector: WholeTextDetector) -> None:
    texts = (SENTENCES / "nobody.txt").read_text("utf-8").splitlines()
    alarms = [(text, found) for text in texts if (found := detector.find(text.replace("\\n", "\n")))]
    assert len(alarms) <= MOST_ALARMS * len(texts), alarms


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Lindners Konto", ["Lindners"]),
        ("die Lindner-Akte", ["Lindner"]),
        ("Wiebkes\nalte Kundenkarte", ["Wiebkes"]),
        ("Fritz’ Vertrag", ["Fritz"]),
        ("lindners konto, wiebkes ausweis", ["lindners", "wiebkes"]),
        ("Haberkorns Testament", ["Haberkorns"]),  # in no list
        ("Haberkorns Konto", []),
        ("Die Kunden-Akte und die Miet-Unterlagen", []),
        ("Omas Sparbuch, Nachbars Auto, Deutschlands Banken", []),
        ("Das Fritz-Konto", []),
        ("Lindner' Konto", []),
    ],
)
def test_a_name_is_found_by_what_it_owns_and_a_noun_is_not(text: str, names: list[str]) -> None:
    assert [text[each.start : each.end] for each in find_owned_names(text)] == names


@given(st.sampled_from(sorted(load_parts("de").last)), st.sampled_from(("konto", "akte", "unterlagen", "testament")))
def test_no_common_noun_owns_anything(noun: str, owned: str) -> None:
    assert not [*find_owned_names(f"Die {noun.title()}-{owned.title()} und {noun.title()}s {owned.title()}")]


@given(st.text(alphabet="Ab äß-'’s\n.", max_size=12), st.sampled_from(("Konto", "akte", "Mann")))
def test_what_owns_is_a_part_of_the_text_before_it(before: str, owned: str) -> None:
    text = f"{before}{owned}"
    assert all(0 <= each.start < each.end < len(text) for each in find_owned_names(text))
