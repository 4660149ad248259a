"""Which units make an answer, where documents list questions and answers, rows that deny, or answer part by part."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest

from tests.support.answer_texts import BUS, DOCUMENTS, SCHEINE, ZWEMBAD
from tests.support.corpus import document
from tidegate.schemas import Answer
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.question_parts import complete_parts, split_question
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reader, HybridIndex]:
    units = UnitReader.load(Path(".models"))
    index = HybridIndex.open(tmp_path_factory.mktemp("index"), units.embedder)
    index.upsert([
        *(
            msgspec.structs.replace(document(name, text, title=name.capitalize()), is_public_contact=name == "bus")
            for name, text in DOCUMENTS.items()
        ),
        document("scheine", SCHEINE, title="Geldscheine", language="de"),
        document("zwembad", ZWEMBAD, title="Zwembad", language="nl"),
    ])  # fmt: skip
    return Reader(units, SHIPPED, today=lambda: date(2026, 11, 29)), index


@pytest.fixture(scope="module")
def ask(site: tuple[Reader, HybridIndex]) -> Ask:
    reader, index = site

    def answer(question: str, language: str = "en") -> Answer:
        return reader.rank_spans(question, language, index.find(question, 8, language), index).answer

    return answer


@pytest.mark.parametrize(
    ("question", "language", "text"),
    [
        ("Can I pay in wet banknotes?", "en", "Yes, at the counter of any branch, with proof of identity."),
        ("Can I pay with wet banknotes?", "en", "Yes, at the counter of any branch, with proof of identity."),
        ("Does paying in wet banknotes cost a fee?", "en", "No."),
        ("Can children use the bicycle lift alone?", "en", "No, only with an adult."),
        ("Kann ich nasse Geldscheine zum Bezahlen nehmen?", "de", "Ja, an jedem Schalter."),
        ("Kostet das Bezahlen mit nassen Geldscheinen eine Gebühr?", "de", "Nein."),
    ],
)
def test_of_a_list_of_questions_the_one_that_was_asked_is_answered(
    ask: Ask, question: str, language: str, text: str
) -> None:
    assert ask(question, language).text == text


def test_a_document_that_asks_the_question_itself_answers_it_before_all_others(ask: Ask) -> None:
    answer = ask("Do you exchange foreign coins?")
    assert answer.text == "No, they go to charity."
    assert answer.confidence > 0.7


@pytest.mark.parametrize(
    "question",
    ["What should I do about umbrellas?", "Where do I send my PIN?", "What do you say when asked about umbrellas?"],
)
def test_what_asks_for_a_secret_is_never_quoted(ask: Ask, question: str) -> None:
    answer = ask(question)
    shown = " ".join((answer.text, *(citation.quote for citation in answer.citations)))
    assert "PIN to" not in shown
    assert "SYSTEM" not in shown


def test_a_citation_says_whether_its_document_is_public_contact(ask: Ask) -> None:
    assert [each.is_public_contact for each in ask("What does the night bus cost?").citations] == [True]
    assert [each.is_public_contact for each in ask("What does the drill cost a day?").citations] == [False]


def test_the_steps_under_a_question_come_whole(ask: Ask) -> None:
    assert ask("How do I reserve the bicycle lift?").text.splitlines() == [
        "1. Open the page of the lift.",
        "2. Pick a time.",
        "3. Show the code at the gate.",
    ]


def test_a_list_under_a_heading_of_the_question_s_words_is_what_is_asked_for(
    ask: Ask, site: tuple[Reader, HybridIndex]
) -> None:
    question = "How do I register for the night bus?"
    assert ask(question).text.splitlines()[-3:] == BUS.splitlines()[4:7]
    reader, index = site
    ranked, _, _ = reader.read(question, "en", index.find(question, 8, "en"), index)
    assert {each.passage.document_id for each in ranked} == {"bus"}
    assert "£3" in ask("What does the night bus cost?").text


def test_a_list_answers_by_its_intro_although_that_repeats_the_question(
    ask: Ask, site: tuple[Reader, HybridIndex]
) -> None:
    question = "What must I bring to register a harbour power of attorney?"
    assert ask(question).text.splitlines()[1:] == ["the original deed", "your passport", "a fee of £15"]
    reader, index = site
    _, _, evidence = reader.read(question, "en", index.find(question, 8, "en"), index)
    assert evidence.margin > 0.2


@pytest.mark.parametrize(
    ("question", "days"),
    [
        ("What are the opening hours on each day of the week?", ["Monday", "Tuesday", "Saturday", "Sunday"]),
        ("What are all the opening hours of the counter?", ["Monday", "Tuesday", "Saturday", "Sunday"]),
        ("When does the counter open on Saturday?", ["Saturday"]),
        ("Which days are you not open?", ["Sunday"]),
        ("On which day is the counter closed?", ["Sunday"]),
    ],
)
def test_every_row_or_those_that_deny_come_where_they_are_asked_for(ask: Ask, question: str, days: list[str]) -> None:
    lines = ask(question).text.splitlines()
    assert [line.split(" ")[0] for line in lines if " – " in line] == days


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (
            "I want the mixer: what does it cost a day and how heavy is it?",
            "The mixer costs £35 a day. The mixer weighs 60 kg.",
        ),
        (
            "I want the drill: what does it cost a day and how heavy is it?",
            "The drill costs £20 a day. The drill weighs 9 kg.",
        ),
    ],
)
def test_a_later_part_is_read_with_what_leads_the_question(ask: Ask, question: str, text: str) -> None:
    assert ask(question).text == text


def test_a_part_that_nothing_answers_is_left_out(ask: Ask) -> None:
    answer = ask("When does the counter open on Saturday and who won the chess championship in Reykjavik?")
    assert answer.text == "Saturday – Counter: 9:00 to 12:00"


def test_parts_are_completed_by_what_the_first_says_before_it_asks() -> None:
    question = "I live in Graz. Who pays the postage and what do I get back?"
    parts = split_question(question, "en")
    assert complete_parts(parts) == ("I live in Graz. Who pays the postage", "I live in Graz.: and what do I get back?")
    assert complete_parts(("What is it", "and who sells it?")) == ("What is it", "and who sells it?")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Is there a stove in the shelter on Mole Hill?", "No. The hut at the ford has one."),
        ("Where do dogs sleep at the shelter on Mole Hill?", "Dogs sleep outside, except guide dogs."),
        ("What does a K4 long rope cost at the shelter on Mole Hill?", "K4 long – Rope: £12; Pitons: £2"),
        ("What is the blanket at the shelter on Mole Hill?", "Blanket: £2"),
        (
            "What does the rope K4 long cost and what do the pitons cost at the shelter?",
            "K4 long – Rope: £12; Pitons: £2",
        ),
    ],
)
def test_what_was_asked_comes_with_what_completes_it_and_nothing_beside_it(ask: Ask, question: str, text: str) -> None:
    assert ask(question).text == text


def test_the_row_that_the_question_names_is_quoted_though_it_scores_little_above_the_others(ask: Ask) -> None:
    answer = ask("Hoe laat gaat het zwembad zaterdag open?", "nl")
    assert answer.text == "Zaterdag – Banenzwemmen: gesloten; Recreatie: 10:00-18:00"


def test_no_row_is_named_by_a_part_of_a_number(ask: Ask) -> None:
    lines = ask("What does insurance against theft cost for a kayak worth £1,500?").text.splitlines()
    assert len(lines) == 3
