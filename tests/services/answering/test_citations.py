"""An answer in a model's own words: believed as far as the passages that it cites bear it out."""

from __future__ import annotations

import pytest

from tidegate.schemas import Passage
from tidegate.services.answering.citations import check_citations

PASSAGE = Passage(
    document_id="d", document_version="v", title="Fees", text="A draft costs £12. It is paid at once.", language="en",
    start=100, end=138, score=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("output", "question", "confidence", "quotes"),
    [
        ("A draft costs £12 [1].", "", 1.0, ["A draft costs £12."]),
        ("It is paid at once [1].", "", 1.0, ["It is paid at once."]),
        ("A draft costs £13 [1].", "", 0.0, ["A draft costs £12."]),
        ("For 5 drafts: a draft costs £12 [1].", "What do 5 drafts cost?", 0.8, ["A draft costs £12."]),
        ("A draft costs £12.", "", 0.0, []),
        ("A draft costs £12 [2].", "", 0.0, []),
        ("A draft costs £12 [1][2].", "", 0.0, ["A draft costs £12."]),
        ("NONE", "", 0.0, []),
        ("none.", "", 0.0, []),
        ("", "", 0.0, []),
    ],
)
def test_what_a_model_says_is_believed_as_far_as_it_is_borne_out(
    output: str, question: str, confidence: float, quotes: list[str]
) -> None:
    answer = check_citations(output, [PASSAGE], question)
    assert answer.confidence == confidence
    assert [citation.quote for citation in answer.citations] == quotes
    for citation in answer.citations:
        assert PASSAGE.text[citation.start - 100 : citation.end - 100] == citation.quote
    assert "[" not in answer.text
