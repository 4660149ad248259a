"""What is stored of a request holds none of its words, and opens to exactly what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.schemas import Asked, encode
from tidegate.services.privacy.faults import ErasedError, TamperedError
from tidegate.services.privacy.sealing import seal_request, unseal_request
from tidegate.services.privacy.vault import Vault

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    opened = Vault.open(tmp_path_factory.mktemp("vault") / "vault.sqlite", bytes(range(32)))
    yield opened
    opened.close()


@settings(derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=WORDS, schema=WORDS, asker=st.sampled_from(["ann", ""]))
def test_a_closed_request_opens_to_what_was_asked(vault: Vault, text: str, schema: str, asker: str) -> None:
    asked = Asked(tenant="kiosk", text=text, schema=schema, rid="r1", asker=asker)
    again = unseal_request(vault, seal_request(vault, asked))
    assert (again.text, again.schema) == (text, schema)


def test_nothing_of_text_schema_asker_or_session_is_stored(vault: Vault) -> None:
    asked = Asked(
        tenant="kiosk",
        text="my card is 4111 1111 1111 1111",
        schema='{"title": "Ann Archer"}',
        rid="r1",
        asker="ann@b.io",
        session="ann's loan",
    )
    stored = encode(seal_request(vault, asked))
    for word in (b"4111", b"Archer", b"ann@b.io", b"loan"):
        assert word not in stored


def test_a_request_sealed_for_another_does_not_open(vault: Vault, tmp_path: Path) -> None:
    for asker in ("ann", ""):
        stored = seal_request(vault, Asked(tenant="kiosk", text="hello", rid="r1", asker=asker))
        with pytest.raises(TamperedError):
            unseal_request(vault, Asked(tenant="kiosk", rid="r2", asker=stored.asker, sealed=stored.sealed))
        with pytest.raises(ErasedError):
            unseal_request(vault, Asked(tenant="other", rid="r1", asker=stored.asker, sealed=stored.sealed))
    other = Vault.open(tmp_path / "vault.sqlite", bytes(32))
    with pytest.raises(TamperedError):
        unseal_request(other, stored)
    other.close()
