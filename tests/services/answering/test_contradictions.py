"""Passages that say otherwise are found; those that speak of something else are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Citation, Passage
from tidegate.services.answering.contradictions import _cited_in, _statements, contradicts, find_contradictions

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


SENTENCES = (FEE, "The monthly fee of the account is 7 euros.", "The desk opens at 9.", "It is a good account.")
texts = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3).map(" ".join)
headings = st.tuples(
    st.sampled_from(("Current account", "Savings account")),
    st.sampled_from(("", "Fees")),
    st.sampled_from(("en", "pl")),
)


@given(
    st.lists(st.tuples(texts, headings), min_size=1, max_size=5), st.lists(st.integers(0, 40), min_size=1, max_size=3)
)
@settings(derandomize=True, max_examples=60)
def test_what_need_not_be_read_contradicts_nothing(
    found: list[tuple[str, tuple[str, str, str]]], cited: list[int]
) -> None:
    passages = [passage(text, f"d{n}", *where) for n, (text, where) in enumerate(found)]
    sources = [passages[each % len(passages)] for each in cited]
    citations = [cite(each, each.text.split(". ")[n % (each.text.count(". ") + 1)]) for n, each in enumerate(sources)]
    pairs = [
        (one.text, other.text)
        for citation, source in zip(citations, sources, strict=True)
        for one in _statements(source, [(citation.start, citation.end)])
        for beside in passages
        for other in _statements(beside, _cited_in(beside, citations), False)
        if contradicts(one, other)
    ]
    assert find_contradictions(citations, passages) == tuple(dict.fromkeys(pairs))
