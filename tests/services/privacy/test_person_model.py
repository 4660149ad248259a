"""Names and addresses that no rule introduces are found by the model, and little else is taken for one."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.paths import MODELS
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.person_model import (
    STEP,
    NameModelMissingError,
    PersonModel,
    UnfinishedScreeningError,
)
from tidegate.services.privacy.dlp.person_words import ScoredWord
from tidegate.services.privacy.dlp.published import PublishedText

REGIONS = ("GB", "DE", "FR", "ES", "US")

NAMED = (
    ("I spoke to Margaret Okafor about my mortgage last week", "Margaret Okafor"),
    ("Can Tom Bexley pick up my card for me?", "Tom Bexley"),
    ("The payment to Kwame Mensah was sent twice", "Kwame Mensah"),
    ("Morwenna Pascoe here, I need help.", "Morwenna Pascoe"),
    ("Kann meine Frau Katharina Vogel das Konto eröffnen?", "Katharina Vogel"),
    ("Die Zahlung von Svenja Lüdtke ist nicht angekommen", "Svenja Lüdtke"),
    ("Le virement à Ousmane Diallo n'est pas arrivé", "Ousmane Diallo"),
    ("La transferencia a Yolanda Cifuentes no llegó", "Yolanda Cifuentes"),
)
HOUSED = (
    ("I live at 14 Harbour Row, Falmouth TR11 3QA.", "14 Harbour Row, Falmouth TR11 3QA"),
    ("Ich wohne in der Lindenstraße 12, 50674 Köln.", "Lindenstraße 12, 50674 Köln"),
)
HARMLESS = (
    "What does a replacement debit card cost?",
    "When does the art and wine club meet?",
    "How do I report a forged cheque?",
    "hello, boiler's been dead since saturday morning",
    "Haben Sie am 14. noch ein Doppelzimmer mit Balkon?",
    "Tschüss, schönen Feierabend",
    "wochenpass zone 2",
    "Room 214: the shower is cold.",
    "Muchas gracias, hasta mañana",
    "Darf ich ein Taschenmesser mit ins Rathaus nehmen",
)


@pytest.fixture(scope="module")
def model() -> PersonModel:
    return PersonModel.load(MODELS)


@pytest.fixture(scope="module")
def detector(model: PersonModel) -> Detector:
    return Detector(REGIONS, model)


@pytest.mark.parametrize(("text", "name"), NAMED)
def test_a_name_that_nothing_introduces_is_found_whole(detector: Detector, text: str, name: str) -> None:
    found = [(each.kind, each.value) for each in detector.find(text)]
    assert len(found) == 1
    assert found[0][0] == "NAME"
    assert name in found[0][1]


@pytest.mark.parametrize(("text", "address"), HOUSED)
def test_an_address_is_found_whole(detector: Detector, text: str, address: str) -> None:
    assert [(each.kind, each.value) for each in detector.find(text)] == [("ADDRESS", address)]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_names_nobody_is_left_alone(detector: Detector, text: str) -> None:
    assert detector.find(text) == []


def test_a_name_far_into_a_text_is_found(detector: Detector) -> None:
    opening = "the branch was closed and I had to come back with another form. " * 30
    for length in (len(opening), len(opening) // 2, STEP * 4):
        start = opening[:length].rsplit(" ", 1)[0]
        found = detector.find(f"{start} I spoke to Margaret Okafor about it. Bye.")
        assert [each.value for each in found] == ["Margaret Okafor"], length


@pytest.mark.parametrize(
    "text",
    [
        "Is it true that Svenja L\u00fcdtke left the firm?",
        "Is%20it%20true%20that%20Svenja%20L%C3%BCdtke%20left%20the%20firm%3F",
        "Is it true that Svenja&#32;L&uuml;dtke left the firm?",
        "Is it true\tthat Svenja\nL\u00fcdtke left the firm?",
        "is it true that svenja l\u00fcdtke left the firm?",
        f"log: {b64encode('Is it true that Svenja Lüdtke left the firm?'.encode()).decode()}",
    ],
)
def test_no_layout_and_no_encoding_hides_a_name(detector: Detector, text: str) -> None:
    [found] = detector.find(text)
    assert found.kind == "NAME"
    assert not any(each in text.replace(found.value, "").lower() for each in ("svenja", "dtke", "u3zlb"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("La signora Ferraboschi non mi ha richiamato.", "Ferraboschi"),
        ("Mevrouw Kerstholt heeft nooit teruggebeld.", "Kerstholt"),
        ("Pani Wieczorkowska nie oddzwoniła.", "Wieczorkowska"),
        ("A senhora da Mota nunca me ligou.", "da Mota"),
        ("Fru Hedenskog ringde aldrig.", "Hedenskog"),
    ],
)
def test_a_title_of_any_language_announces_a_name(detector: Detector, text: str, name: str) -> None:
    assert any(name in each.value for each in detector.find(text))


def test_a_text_that_is_not_read_to_its_end_in_time_gives_no_findings(model: PersonModel) -> None:
    long = " ".join(text for text, _ in NAMED)
    assert Detector(REGIONS, model).find(long)
    with pytest.raises(UnfinishedScreeningError, match=r"0 of \d+ pieces .* shorter text"):
        Detector(REGIONS, model, budget_s=0).find(long)


def test_where_the_lists_of_names_leave_no_doubt_the_model_is_not_asked(
    model: PersonModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def note(text: str, _: float) -> list[ScoredWord]:
        read.append(text)
        return []

    monkeypatch.setattr(model, "read", note)
    text, name = NAMED[0]
    [found] = model.find(text)
    assert (text[found.start : found.end], read) == (name, [])
    model.find("The payment to Kwame Mensah was sent twice")
    assert len(read) == 1


def test_what_the_site_publishes_is_no_secret_and_what_a_rule_finds_still_is(model: PersonModel) -> None:
    text = "Can I see Margaret Okafor on Monday?"
    published = PublishedText.of(["Mortgages: ask Margaret  Okafor, room 4."])
    assert [each.value for each in Detector(REGIONS, model).find(text)] == ["Margaret Okafor"]
    assert Detector(REGIONS, model, published).find(text) == []
    [found] = Detector(REGIONS, model, published).find("My name is Margaret Okafor")
    assert found.value == "Margaret Okafor"


def test_published_are_whole_words_in_their_order_within_one_document() -> None:
    published = PublishedText.of(["Ask Ann", "Okafor: see Mary-Ann"])
    assert "ask ann" in published
    assert "Mary Ann" in PublishedText(str(published))
    for phrase in ("Ann Okafor", "An", "Ann Mary", "", "?"):
        assert phrase not in published


def test_where_a_rule_finds_part_of_a_name_the_whole_is_hidden(detector: Detector) -> None:
    found = detector.find("Mail jane.fairweather@example.org, signed Jane Fairweather")
    assert [each.kind for each in found] == ["EMAIL", "NAME"]


def test_the_version_tells_of_the_model(detector: Detector, model: PersonModel) -> None:
    assert detector.version == Detector(REGIONS, model).version != Detector(REGIONS).version


@pytest.mark.parametrize("name", ["model.onnx", "filter.safetensors", "labels.json", "manifest.json"])
def test_a_model_that_is_not_as_the_manifest_says_is_not_used(tmp_path: Path, name: str) -> None:
    shutil.copytree(MODELS / "ner", tmp_path / "ner")
    path = tmp_path / "ner" / name
    data = path.read_bytes()
    path.write_bytes(json.dumps({"built": {}}).encode() if name == "manifest.json" else data[:-1] + b"?")
    with pytest.raises(NameModelMissingError, match="make models"):
        PersonModel.load(tmp_path)
    path.unlink()
    with pytest.raises(NameModelMissingError, match="make models"):
        PersonModel.load(tmp_path)
