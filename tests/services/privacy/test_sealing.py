"""What is stored of a request holds none of its words, and opens to exactly what was asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Asked, encode
from tidegate.services.privacy.sealing import closed, opened
from tidegate.services.privacy.vault import Tampered

KEY = bytes(range(32))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(derandomize=True)
@given(text=WORDS, schema=WORDS)
def test_a_closed_request_opens_to_what_was_asked(text: str, schema: str) -> None:
    asked = Asked(tenant="kiosk", text=text, schema=schema, rid="r1", asker="ann")
    again = opened(KEY, closed(KEY, asked))
    assert (again.text, again.schema) == (text, schema)


def test_nothing_of_text_schema_or_asker_is_stored() -> None:
    asked = Asked(
        tenant="kiosk",
        text="my card is 4111 1111 1111 1111",
        schema='{"title": "Ann Archer"}',
        rid="r1",
        asker="ann@b.io",
    )
    stored = encode(closed(KEY, asked))
    for word in (b"4111", b"Archer", b"ann@b.io"):
        assert word not in stored


def test_a_request_sealed_for_another_does_not_open() -> None:
    stored = closed(KEY, Asked(tenant="kiosk", text="hello", rid="r1"))
    with pytest.raises(Tampered):
        opened(bytes(32), stored)
    with pytest.raises(Tampered):
        opened(KEY, Asked(tenant="other", rid="r1", sealed=stored.sealed))
