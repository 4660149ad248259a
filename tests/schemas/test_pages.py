"""On which page of its document a character of a passage stands."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.schemas import Citation, Passage

PASSAGE = Passage(
    document_id="d", document_version="1", title="", text="x" * 50, language="en", start=100, end=150, score=0.0
)


@pytest.mark.parametrize(
    ("position", "page"), [(99, 0), (100, 4), (119, 4), (120, 5), (129, 5), (130, 7), (149, 7), (150, 0)]
)
def test_a_character_is_on_the_page_that_began_last(position: int, page: int) -> None:
    paged = msgspec.structs.replace(PASSAGE, page=4, page_breaks=(120, 130, 130))
    assert paged.page_at(position) == page


def test_a_document_without_pages_has_none() -> None:
    assert PASSAGE.page_at(120) == 0


def test_a_citation_without_a_page_is_as_it_was_before_there_were_pages() -> None:
    citation = Citation(document_id="d", document_version="1", start=0, end=1, quote="x")
    assert b"page" not in msgspec.json.encode(citation)
