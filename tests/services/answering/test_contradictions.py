"""Passages that say otherwise are found; those that speak of something else are not."""

from __future__ import annotations

import pytest

from tidegate.schemas import Citation, Passage
from tidegate.services.answering.contradictions import find_contradictions

FEE = "The monthly fee of the account is 5 euros."


def passage(
    text: str, document: str = "fees", title: str = "Current account", heading: str = "", language: str = "en"
) -> Passage:
    return Passage(
        document_id=document,
        document_version="v",
        title=title,
        heading=heading,
        text=text,
        language=language,
        start=0,
        end=len(text),
        score=1.0,
    )


def cite(source: Passage, quote: str) -> Citation:
    start = source.text.index(quote)
    return Citation(
        document_id=source.document_id, document_version="v", start=start, end=start + len(quote), quote=quote
    )


@pytest.mark.parametrize(
    ("other", "is_found"),
    [
        (passage("The monthly fee of the account is 7 euros.", "old-fees"), True),
        (passage("We are open. The account's monthly fee is 7 euros. See below.", "old-fees"), True),
        (passage("The monthly fee of the account is 5 euros.", "copy"), False),
        (passage("The monthly fee of the account is 7 euros.", "savings", title="Savings account"), False),
        (passage("The monthly fee of the account is 7 euros.", "old-fees", heading="Students"), False),
        (passage("The yearly fee of the card is 60 euros.", "old-fees"), False),
        (passage("The monthly fee of the account is low.", "old-fees"), False),
        (passage("The monthly fee of the account is 2 percent.", "old-fees"), False),
        (passage("Die monatliche Gebühr des Kontos ist 7 Euro.", "alt", language="de"), False),
        (passage("The monthly fee of the account is 7 euros.", "old-fees", language="pl"), False),
    ],
)
def test_the_same_sentence_with_another_number_contradicts(other: Passage, is_found: bool) -> None:
    own = passage(f"It is a good account. {FEE} It can be closed.")
    found = find_contradictions((cite(own, FEE),), (own, other))
    assert bool(found) is is_found
    assert not found or found[0][0] == FEE


def test_what_is_cited_from_both_is_shown_with_both_and_hides_nothing() -> None:
    own, other = passage(FEE), passage("The monthly fee of the account is 7 euros.", "old-fees")
    assert find_contradictions((cite(own, FEE), cite(other, other.text)), (own, other)) == ()


def test_a_number_in_a_sentence_that_is_not_cited_is_no_contradiction() -> None:
    own = passage(f"{FEE} The desk opens at 9.")
    other = passage("The desk opens at 10.", "old-fees")
    assert find_contradictions((cite(own, FEE),), (own, other)) == ()
    assert find_contradictions((cite(own, "The desk opens at 9."),), (own, other)) != ()
