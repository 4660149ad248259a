"""A question for a day of the week is answered by what holds on that day, in lists, tables and sentences."""

from __future__ import annotations

import pytest

from tests.support.corpus import document
from tests.support.read_documents import AskDocuments, ask_documents
from tidegate.services.knowledge.reader.yes_no import find_polarity

FERRY = """# The ferry desk

The ferry desk is open from Tuesday to Saturday between 9 am and 6 pm. It is closed on Sunday and Monday.

## Bicycle garage

| Day | Open |
|---|---|
| Monday to Thursday | 7 am to 9 pm |
| Friday | 7 am to 11 pm |
| Sunday | closed |
"""
POOL = """# The pool

The pool in the old mill has 25 m lanes and opens from Monday to Friday at 6 am. Towels cost 2. It also opens on
Saturday, at 9 am. Dogs stay outside.
"""
MARKT = """# Wochenmarkt

Zeiten des Wochenmarkts:

- Dienstag bis Freitag: 7 bis 13 Uhr
- Samstag: 8 bis 15 Uhr
- Montag: kein Markt

## Abfuhr

| Tonne | Inhalt | Tag |
|---|---|---|
| grau | Restmüll | Montag |
| gelb | Dosen und Folien | Donnerstag |
| braun | Laub | Freitag |
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> AskDocuments:
    return ask_documents(
        tmp_path_factory.mktemp("index"),
        document("ferry", FERRY, title="The ferry desk"),
        document("pool", POOL, title="The pool"),
        document("markt", MARKT, title="Wochenmarkt", language="de"),
    )


@pytest.mark.parametrize(
    ("question", "language", "text"),
    [
        ("When is the bicycle garage open on Wednesday?", "en", "Monday to Thursday – Open: 7 am to 9 pm"),
        ("bicycle garage 11 pm wednesday", "en", "Monday to Thursday – Open: 7 am to 9 pm"),
        ("bicycle garage opening hours friday", "en", "Friday – Open: 7 am to 11 pm"),
        ("Wann ist der Wochenmarkt am Mittwoch?", "de", "Zeiten des Wochenmarkts:\nDienstag bis Freitag: 7 bis 13 Uhr"),
        ("Welche Tonne wird am Donnerstag abgeholt?", "de", "gelb – Inhalt: Dosen und Folien; Tag: Donnerstag"),
        (
            "Is the ferry desk open on Monday?",
            "en",
            "The ferry desk is open from Tuesday to Saturday between 9 am and 6 pm. It is closed on Sunday and Monday.",
        ),
        (
            "Is the ferry desk open on Thursday?",
            "en",
            "Yes. The ferry desk is open from Tuesday to Saturday between 9 am and 6 pm.",
        ),
    ],
)
def test_the_answer_is_that_of_the_day(ask: AskDocuments, question: str, language: str, text: str) -> None:
    assert ask(question, language).text == text


@pytest.mark.parametrize(
    ("question", "language", "text"),
    [
        ("¿A qué hora abre el garaje de bicicletas el viernes?", "es", "inglés: Friday – Open: 7 am to 11 pm"),
        ("Quelle poubelle le jeudi ?", "fr", "allemand : gelb – Inhalt: Dosen und Folien; Tag: Donnerstag"),
    ],
)
def test_a_question_in_another_language_gets_that_day_too(
    ask: AskDocuments, question: str, language: str, text: str
) -> None:
    assert ask(question, language).text.partition(" en ")[2] == text


def test_a_sentence_on_other_days_is_followed_by_that_of_the_day(ask: AskDocuments) -> None:
    text = ask("When does the pool in the old mill open on Saturday?", "en").text
    assert " ".join(text.split()).endswith(" at 6 am. It also opens on Saturday, at 9 am.")
    assert "Saturday" not in ask("When does the pool in the old mill open on Tuesday?", "en").text


def test_what_another_part_of_the_question_gets_stays(ask: AskDocuments) -> None:
    text = ask("When is the bicycle garage open on Friday, and how much do towels cost at the pool?", "en").text
    assert "Friday – Open: 7 am to 11 pm" in text
    assert "Towels cost 2." in text


def test_what_holds_on_other_days_says_neither_yes_nor_no() -> None:
    quote = "The desk is open from Tuesday to Saturday."
    assert find_polarity("Is the desk open from Tuesday?", "en", quote, "en") == "yes"
    assert find_polarity("Is the desk open on Monday?", "en", quote, "en") == ""
