"""What is stored of a request holds none of its words, and opens to exactly what was asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Asked, encode
from tidegate.services.privacy.sealing import seal_request, unseal_request
from tidegate.services.privacy.vault import TamperedError

KEY = bytes(range(32))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(derandomize=True)
@given(text=WORDS, schema=WORDS)
def test_a_closed_request_opens_to_what_was_asked(text: str, schema: str) -> None:
    asked = Asked(tenant="kiosk", text=text, schema=schema, rid="r1", asker="ann")
    again = unseal_request(KEY, seal_request(KEY, asked))
    assert (again.text, again.schema) == (text, schema)


def test_nothing_of_text_schema_or_asker_is_stored() -> None:
    asked = Asked(
        tenant="kiosk",
        text="my card is 4111 1111 1111 1111",
        schema='{"title": "Ann Archer"}',
        rid="r1",
        asker="ann@b.io",
    )
    stored = encode(seal_request(KEY, asked))
    for word in (b"4111", b"Archer", b"ann@b.io"):
        assert word not in stored


def test_a_request_sealed_for_another_does_not_open() -> None:
    stored = seal_request(KEY, Asked(tenant="kiosk", text="hello", rid="r1"))
    with pytest.raises(TamperedError):
        unseal_request(bytes(32), stored)
    with pytest.raises(TamperedError):
        unseal_request(KEY, Asked(tenant="other", rid="r1", sealed=stored.sealed))
