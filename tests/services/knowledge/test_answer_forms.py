"""Answers as a person would give them: whole lists, the row that is asked for, yes or no, what holds today."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tests.support.corpus import document
from tidegate.schemas import Answer
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

Ask = Callable[..., Answer]
TODAY = date(2026, 11, 29)
POWER = """To register a harbour power of attorney bring:

- the original deed
- your passport
- the passport of the attorney
- a proof of address for both
- the completed form PA-7
- a fee of £15
"""
STEPS = """# Online banking

To register for online banking:

1. Open the website.
2. Choose *Register*.
3. Enter your customer number.
   - It is on your card.
4. Type the code from the letter.

The letter takes three days.
"""
HTML_STEPS = (
    "<h2>Steps</h2><p>To open a safe:</p><ol start='3'><li>Sign the form</li><li>Pay the deposit</li>"
    "<li>Take the key</li><li>Open the box</li></ol>"
)
BULLETS = "For the pension bring:\n• your passport\n• a bill\n• the form\n• two photos\n"
HOURS = "# Opening hours\n\n| Day | Open | Close |\n|---|---|---|\n" + "\n".join(
    f"| {day} | 9:00 | {hour}:00 |"
    for day, hour in (("Monday", 16), ("Tuesday", 17), ("Wednesday", 18), ("Thursday", 19), ("Friday", 15))
)
LOCKERS = "# Safe deposit lockers\n\n| Locker | Yearly rent |\n|---|---|\n" + "\n".join(
    f"| LCK-{number:04} | £{number}.50 |" for number in range(300)
)
ANIMALS = "Dogs are allowed in the branch. Cats are not allowed in the branch. Parrots are allowed, but only in cages."
FEES = "The account fee was £9 until 2025. The account fee is £11 a month. From 1 January 2027 the account fee is £12."


CLUBS = """# Clubs

Clubs use the Slipway account.

## Papers

- the constitution or the rules
- minutes of the meeting at which it was decided
- the charity number, if there is one
- proof of identity of everybody who may sign

## Card

The card of a club costs £6.
"""


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def answer(text: str | list[Document], question: str, language: str = "en") -> Answer:
        units = UnitReader.load(Path(".models"))
        embedder = units.embedder
        index = HybridIndex.open(tmp_path / "index", embedder)
        index.upsert([document("it", text, title="It")] if isinstance(text, str) else text)
        query = index.rewrite_query(question, language)
        passages = index.search(query, embedder.embed(query), 8, language)
        return Reader(units, SHIPPED, today=lambda: TODAY).rank_spans(question, language, passages, index).answer

    return answer


def is_verbatim(answer: Answer, text: str) -> bool:
    return bool(answer.citations) and all(text[each.start : each.end] == each.quote for each in answer.citations)


@pytest.mark.parametrize(
    ("text", "question", "lines"),
    [
        (
            POWER,
            "What must I bring to register a harbour power of attorney?",
            [line.removeprefix("- ") for line in POWER.splitlines() if line],
        ),
        (
            STEPS,
            "How do I register for online banking?",
            [
                "To register for online banking:",
                "1. Open the website.",
                "2. Choose Register.",
                "3. Enter your customer number.",
                "  • It is on your card.",
                "4. Type the code from the letter.",
            ],
        ),
        (
            HTML_STEPS,
            "How do I open a safe?",
            ["To open a safe:", "3. Sign the form", "4. Pay the deposit", "5. Take the key", "6. Open the box"],
        ),
        (
            CLUBS,
            "What papers must a club bring?",
            [line.removeprefix("- ") for line in CLUBS.splitlines() if line.startswith("- ")],
        ),
        (
            BULLETS,
            "What do I have to bring for the pension?",
            ["For the pension bring:", "your passport", "a bill", "the form", "two photos"],
        ),
        (
            HOURS,
            "What are the opening hours on each day of the week?",
            [
                "Monday – Open: 9:00; Close: 16:00",
                "Tuesday – Open: 9:00; Close: 17:00",
                "Wednesday – Open: 9:00; Close: 18:00",
                "Thursday – Open: 9:00; Close: 19:00",
                "Friday – Open: 9:00; Close: 15:00",
            ],
        ),
    ],
)
def test_a_list_that_is_asked_for_comes_whole_and_numbered_as_in_the_document(
    ask: Ask, text: str, question: str, lines: list[str]
) -> None:
    answer = ask(text, question)
    assert answer.text.splitlines() == lines
    assert is_verbatim(answer, text)
    assert all(check.passed for check in answer.checks if check.name in ("grounding", "entailment"))


@pytest.mark.parametrize(
    ("text", "question", "row"),
    [
        (HOURS, "When do you close on Thursday?", "Thursday – Open: 9:00; Close: 19:00"),
        (LOCKERS, "What is the yearly rent of locker LCK-0237?", "LCK-0237 – Yearly rent: £237.50"),
        (
            POWER,
            "What is the fee for a power of attorney?",
            "To register a harbour power of attorney bring:\na fee of £15",
        ),
    ],
)
def test_a_question_for_one_entry_gets_that_one(ask: Ask, text: str, question: str, row: str) -> None:
    assert ask(text, question).text == row


@pytest.mark.parametrize(
    ("question", "language", "lead", "note"),
    [
        ("All safe deposit lockers and their yearly rent", "en", "", "Shown: 10 of 300."),
        ("Safe deposit lockers, yearly rent?", "de", "Im Dokument steht auf Englisch: ", "Gezeigt: 10 von 300."),
    ],
)
def test_a_list_that_is_too_long_says_so_in_the_language_of_the_asker(
    ask: Ask, question: str, language: str, lead: str, note: str
) -> None:
    answer = ask(LOCKERS, question, language)
    assert answer.text.startswith(lead)
    *rows, last = answer.text.removeprefix(lead).splitlines()
    assert rows == [f"LCK-{number:04} – Yearly rent: £{number}.50" for number in range(10)]
    assert last.startswith(note)
    assert "It" in last
    assert is_verbatim(answer, LOCKERS)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Are dogs allowed in the branch?", "Yes. Dogs are allowed in the branch."),
        ("Are cats allowed in the branch?", "No. Cats are not allowed in the branch."),
    ],
)
def test_yes_or_no_comes_first_where_the_document_carries_it(ask: Ask, question: str, text: str) -> None:
    answer = ask(ANIMALS, question)
    assert answer.text == text
    assert is_verbatim(answer, ANIMALS)
    assert {check.name: check.score for check in answer.checks}["entailment"] == 1.0


@pytest.mark.parametrize("question", ["Are parrots allowed in the branch?", "Who is allowed in the branch?"])
def test_neither_is_said_where_it_does_not(ask: Ask, question: str) -> None:
    assert not ask(ANIMALS, question).text.startswith(("Yes", "No"))


def test_a_document_s_own_no_is_an_answer(ask: Ask) -> None:
    answer = ask(
        "## Do you exchange foreign coins?\n\nNo.\n\n## Is it free?\n\nYes.\n", "Do you exchange foreign coins?"
    )
    assert answer.text == "No."
    assert all(check.passed for check in answer.checks if check.name in ("grounding", "entailment"))


@pytest.mark.parametrize(
    ("question", "says", "says_not"),
    [
        ("What is the account fee?", "£11", ("£9", "£12")),
        ("What was the account fee in 2025?", "£9", ("£11", "£12")),
        ("What will the account fee be in 2027?", "£12", ("£9", "£11")),
    ],
)
def test_what_holds_on_the_day_in_question_is_the_answer(
    ask: Ask, question: str, says: str, says_not: tuple[str, ...]
) -> None:
    answer = ask(FEES, question)
    assert says in answer.text
    assert not any(value in answer.text for value in says_not)


def test_of_two_documents_the_one_that_is_in_force_answers(ask: Ask) -> None:
    def price_list(name: str, text: str, **days: str) -> Document:
        known = document(name, text, title=f"Price list {name}")
        return Document(**{field: getattr(known, field) for field in known.__struct_fields__} | days)

    documents = [
        price_list("a", "A banker's draft costs £9.", valid_until="2025-12-31"),
        price_list("b", "A banker's draft costs £11.", valid_from="2026-01-01"),
        price_list("c", "A banker's draft costs £13.", valid_from="2027-01-01"),
    ]
    answer = ask(documents, "What does a banker's draft cost?")
    assert "£11" in answer.text
    assert [citation.document_id for citation in answer.citations] == ["b"]


def test_each_part_of_a_question_gets_its_own_sentence(ask: Ask) -> None:
    text = "A coin roll costs £2. Bring your card. The counter opens at 9:30 on Saturdays. Dogs wait outside the door."
    answer = ask(text, "What does a coin roll cost and when does the counter open on Saturday?")
    assert answer.text == "A coin roll costs £2. The counter opens at 9:30 on Saturdays."


def test_a_sentence_of_context_and_a_greeting_do_not_hide_the_question(ask: Ask) -> None:
    text = "A mortgage appointment lasts 90 minutes. The branch moved to Falmouth in 1950."
    question = "How long does a mortgage appointment last?"
    plain = ask(text, question)
    dressed = ask(text, f"Hi there! I have a new dog and a garden. {question} Thanks a lot\nBen")
    assert dressed.text.startswith("A mortgage appointment lasts 90 minutes.")
    assert dressed.confidence == pytest.approx(plain.confidence, abs=0.05)


@pytest.mark.parametrize(
    ("question", "language", "lead"),
    [
        ("How much are trousers pressed for?", "en", ""),
        ("Was kostet ein Schließfach im Jahr, Nummer LCK-0237?", "de", "Im Dokument steht auf Englisch: "),
        ("Combien coûte par an le casier LCK-0237 ?", "fr", "Le document le dit en anglais : "),
        ("¿Cuánto cuesta al año la taquilla LCK-0237?", "es", "El documento lo dice en inglés: "),
    ],
)
def test_a_document_in_another_language_is_introduced_in_the_askers(
    ask: Ask, question: str, language: str, lead: str
) -> None:
    answer = ask(LOCKERS, question, language)
    if lead:
        assert answer.text == f"{lead}LCK-0237 – Yearly rent: £237.50"
        assert is_verbatim(answer, LOCKERS)
    else:
        assert "document" not in answer.text
    assert all(check.passed for check in answer.checks if check.name in ("grounding", "entailment"))
