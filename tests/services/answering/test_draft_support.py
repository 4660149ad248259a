"""A draft is held against what it cites, line by line: quotations pass, what they do not say is refused."""

from __future__ import annotations

import pytest

from tidegate.schemas import Answer, Citation, Passage, Question
from tidegate.services.answering.draft_support import check_draft
from tidegate.services.knowledge.index.chunking import cut_into_chunks, render_unit

TEXT = (
    "A lost card is blocked at once. A new card is sent within five working days and costs £8. "
    "Customers may order a second card.\n\n"
    "| Card | Fee | Limit |\n|---|---|---|\n| Blue | £10 | £500 |\n| Gold | £25 | £2,000 |\n"
)
ROW = "Gold – Fee: £25; Limit: £2,000"


def passage(text: str = TEXT, language: str = "en") -> Passage:
    common = {"document_id": "cards", "document_version": "v", "title": "Cards", "score": 1.0}
    return Passage(text=text, start=0, end=len(text), language=language, **common)  # type: ignore[arg-type]


def cited(*quotes: str) -> tuple[Citation, ...]:
    places = [(TEXT.index(quote), quote) for quote in quotes]
    return tuple(
        Citation(document_id="cards", document_version="v", start=at, end=at + len(quote), quote=quote)
        for at, quote in places
    )


def asked(text: str = "How fast is a new card sent?", language: str = "en") -> Question:
    return Question(text=text, language=language, intent="cards", intent_confidence=1.0)


SENT = "A new card is sent within five working days and costs £8."
BLOCKED = "A lost card is blocked at once."
HEADER, GOLD = "| Card | Fee | Limit |", "| Gold | £25 | £2,000 |"


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        (SENT, (SENT,)),
        (f"{BLOCKED} {SENT}", (BLOCKED, SENT)),
        ("A new card costs £8 and is sent within 5 working days.", (SENT,)),
        (ROW, (HEADER, GOLD)),
        (f"Blue – Fee: £10; Limit: £500\n{ROW}", (HEADER, "| Blue | £10 | £500 |", GOLD)),
        ("", ()),
    ],
)
def test_what_the_citations_say_is_borne_out(text: str, quotes: tuple[str, ...]) -> None:
    found = check_draft(asked(), Answer(text=text, citations=cited(*quotes)), (passage(),))
    assert found.passed, found


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        (SENT.replace("five", "three"), (SENT,)),
        (SENT.replace("£8", "€8"), (SENT,)),
        (SENT.replace("days", "weeks"), (SENT,)),
        (SENT.replace("is sent", "is not sent"), (SENT,)),
        (SENT.replace("within", "after"), (SENT,)),
        (SENT, (BLOCKED,)),
        (f"{SENT}\n{BLOCKED.replace('is', 'is never')}", (SENT, BLOCKED)),
        ("Customers must order a second card.", ("Customers may order a second card.",)),
        (ROW.replace("£2,000", "£500"), (HEADER, GOLD)),
        (SENT, ()),
    ],
)
def test_what_they_do_not_say_is_refused_and_named(text: str, quotes: tuple[str, ...]) -> None:
    found = check_draft(asked(), Answer(text=text, citations=cited(*quotes)), (passage(),))
    assert not found.passed
    assert found.score < 0.85


def test_a_yes_where_the_quotation_says_no_is_refused() -> None:
    quote = "Foreign coins are not exchanged at the counter."
    source = passage(quote)
    given = Citation(document_id="cards", document_version="v", start=0, end=len(quote), quote=quote)
    question = asked("Are foreign coins exchanged at the counter?")
    verdicts = [
        check_draft(question, Answer(text=f"{lead} {quote}", citations=(given,)), (source,)).passed
        for lead in ("No.", "Yes.")
    ]
    assert verdicts == [True, False]


def test_words_of_the_product_itself_claim_nothing() -> None:
    quote = "Die Karte kostet 8 Euro."
    given = Citation(document_id="cards", document_version="v", start=0, end=len(quote), quote=quote)
    note = "Shown: 1 of 20. Ask for a single entry by its name, or open “Cards” for the rest."
    text = f"The document says in German: {quote}\n{note}"
    assert check_draft(asked(), Answer(text=text, citations=(given,)), (passage(quote, "de"),)).passed


def test_every_unit_of_a_document_bears_itself_out() -> None:
    for chunk in cut_into_chunks(TEXT):
        for unit in chunk.units:
            quotes = [TEXT[begin:end] for begin, end in (*unit.context, (unit.start, unit.end))]
            answer = Answer(text=render_unit(TEXT, unit), citations=cited(*quotes))
            assert check_draft(asked(), answer, (passage(),)).passed, unit
