"""On which page of its document a character of a passage stands, and whether it was recognised in a picture."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.schemas import Citation, Passage, Suggestion
from tidegate.schemas.pack import Document

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
    assert b"is_recognised" not in msgspec.json.encode(citation)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(100, 109, False), (100, 110, False), (100, 111, True), (115, 116, True), (119, 140, True), (120, 140, False)],
)
def test_what_holds_a_recognised_character_is_recognised(start: int, end: int, expected: bool) -> None:
    assert msgspec.structs.replace(PASSAGE, recognised=((110, 120),)).is_recognised(start, end) is expected
    assert not PASSAGE.is_recognised(start, end)
    document = Document(
        id="d", title="", language="en", scope="site", text="x" * 200, version="1", recognised=((110, 120), (150, 160))
    )
    assert document.is_recognised(start, end) is expected
    assert document.is_recognised(159, 170)


def test_a_document_knows_the_page_of_each_of_its_characters() -> None:
    about = {"id": "d", "title": "", "language": "en", "scope": "site", "text": "x" * 30, "version": "1"}
    paged = msgspec.convert({**about, "page_starts": (0, 10, 10)}, Document)
    assert [paged.page_at(position) for position in (0, 9, 10, 29)] == [1, 1, 3, 3]
    assert msgspec.convert(about, Document).page_at(9) == 0


def test_a_citation_of_before_there_was_recognition_was_written_in_letters() -> None:
    stored = b'{"document_id": "d", "document_version": "1", "start": 0, "end": 1, "quote": "x", "page": 2}'
    assert msgspec.json.decode(stored, type=Citation).is_recognised is False
    suggested = stored.replace(b'"page"', b'"title": "", "score": 0.5, "page"')
    assert msgspec.json.decode(suggested, type=Suggestion).is_recognised is False
