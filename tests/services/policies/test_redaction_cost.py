"""What redacting an answer costs: each of its texts is searched once."""

from __future__ import annotations

from tidegate.schemas import Answer, Citation
from tidegate.services.policies.redaction import redact_pii
from tidegate.services.privacy.dlp.finding import Finding


def test_an_answer_that_is_what_it_quotes_is_searched_once() -> None:
    searched: list[str] = []

    def find_personal(text: str) -> list[Finding]:
        searched.append(text)
        return []

    quoted = [
        Citation(document_id="fees", document_version="v1", start=0, end=len(text), quote=text)
        for text in ("It is free.", "It is late.")
    ]
    redact_pii(Answer(text="It is free.", citations=tuple(quoted)), find_personal)
    assert sorted(searched) == ["It is free.", "It is late."]
