"""Names in Dutch and German messages, of which the lists of names and the model know few by themselves."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadtests.bench.dlp_score import is_covered
from loadtests.bench.dlp_texts import SLOT, written
from tests.support.paths import MODELS
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.person_model import PersonModel

FRAMES = Path(__file__).parent / "person_frames"
LANGUAGES = ("nl", "de")
FILLINGS = 2
LEAST = {"plain": 0.92, "breaks": 0.9, "lower": 0.78, "upper": 0.72}
"""The share of names found in texts as they are written, with odd line breaks, and all in small or large letters."""
MOST_ALARMS = 0.1
Texts = Iterator[tuple[str, str, list[tuple[int, int]]]]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(("NL", "DE"), PersonModel.load(MODELS))


def load(language: str) -> dict[str, Any]:
    return tomllib.loads((FRAMES / f"{language}.toml").read_text("utf-8"))


def fill(spec: dict[str, Any], form: str, chance: Random) -> Texts:
    """Each frame, its form, and where its names are: in full, with initials, or one part alone as the frame has it."""
    given, surnames = spec["given"].split(), [each.strip() for each in spec["surnames"].split("|")]
    for frame in spec["names"]:
        text, truth = "", []
        for part in SLOT.split(frame):
            first, last = chance.choice(given), " ".join(chance.choice(surnames).split())
            first = first[0] + "." if part == "{name}" and chance.random() < 0.15 else first
            value = str({"{name}": f"{first} {last}", "{given}": first, "{surname}": last}.get(part, part))
            shown = value.upper() if form == "upper" else written(value, form, chance)
            if SLOT.fullmatch(part):
                truth.append((len(text), len(text) + len(shown)))
            text += shown
        yield frame, text, truth


@pytest.mark.parametrize("form", LEAST)
@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_found_whole_whatever_the_form(detector: Detector, language: str, form: str) -> None:
    chance, missed, count = Random(f"{language} {form}"), [], 0
    for _ in range(FILLINGS):
        for _, text, truth in fill(load(language), form, chance):
            found = [(each.start, each.end) for each in detector.find(text)]
            count += len(truth)
            missed += [text for span in truth if not is_covered(text, "NAME", span, found)]
    assert len(missed) <= (1 - LEAST[form]) * count, missed


@pytest.mark.parametrize("language", LANGUAGES)
def test_messages_that_name_nobody_are_left_alone(detector: Detector, language: str) -> None:
    texts = load(language)["harmless"]
    alarms = [(text, found) for text in texts if (found := detector.find(text))]
    assert len(alarms) <= MOST_ALARMS * len(texts), alarms


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("Erben sind {}, sagt das Amtsgericht.", "Torben Quast"),
        ("der auftrag kam von einem gewissen {}.", "eike brandstätter"),
        ("Es geht um das Darlehen meines Bruders {}.", "Detlef"),
    ],
)
def test_a_name_is_found_behind_what_is_said_of_heirs_and_relatives(detector: Detector, frame: str, name: str) -> None:
    text = frame.format(name)
    found = [(each.start, each.end) for each in detector.find(text)]
    assert is_covered(text, "NAME", (text.index(name), text.index(name) + len(name)), found)


@pytest.mark.parametrize(
    "text",
    ["Erben sind Ehegatten und Kinder.", "Einem gewissen Risiko unterliegen Aktien.", "Bürge ist, wer unterschreibt."],
)
def test_what_is_said_of_heirs_in_general_names_nobody(detector: Detector, text: str) -> None:
    assert detector.find(text) == []
