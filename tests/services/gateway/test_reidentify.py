"""The asker reads their own words, under every cut of the stream, and nobody else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway_site import EMAIL, Site, ask, asked, nats_site
from tidegate.schemas import Cursor, Published, Receipt, decode, encode, encode_json
from tidegate.schemas.subjects import ANSWERS
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.gateway.ticket import reidentify
from tidegate.services.privacy.vault import Vault
from tidegate.services.streaming.events import log_of_answer, pending_steps, render_event, split_step
from tidegate.services.streaming.reidentify import ValueOf

pytestmark = pytest.mark.anyio
running = pytest.fixture(nats_site)


def values_of(vault: Vault, asker: str) -> ValueOf:
    return lambda token: vault.detokenise(token, "kiosk", asker, "answer")


@pytest.mark.parametrize("form", [encode, encode_json])
async def test_tokens_are_restored_for_the_asker_at_the_end_and_stay_tokens_in_the_store(
    running: Site, form: Any
) -> None:
    published = await ask(running, asked("personal data", rid="r1"), form)
    assert isinstance(published, Published)
    assert published.text == f"We write to {EMAIL} today, and to {EMAIL} tomorrow."
    assert published.citations[0].quote == published.text
    stored = await running.bus.last(ANSWERS, "answers.kiosk.r1")
    assert stored is not None
    assert EMAIL.encode() not in stored
    assert VAULT_TOKEN.search(decode(stored, Published).text)


async def test_a_restored_value_never_breaks_a_json_answer(running: Site) -> None:
    published = await ask(running, asked("json please"))
    assert isinstance(published, Published)
    assert json.loads(published.text) == {"email": EMAIL, "n": 1}


def test_a_json_answer_keeps_its_form_to_the_character(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "vault.sqlite", bytes(32))
    token = vault.put_all("kiosk", "digest", [("EMAIL", EMAIL)])[0]
    text = f'{{ "email" : "{token}",\n "n": 1.0 , "n": 2}}'
    shown = reidentify(msgspec.structs.replace(STORED, text=text, format="json"), values_of(vault, "digest")).text
    vault.close()
    assert shown == text.replace(token, json.dumps(EMAIL)[1:-1])


STORED = Published(
    rid="r1",
    tenant="kiosk",
    site="site1",
    asked_at_ms=1,
    deadline_at_ms=2,
    outcome="answered",
    text="",
    receipt=Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=()),
)
WORDS = st.lists(st.sampled_from(["We", "write", "to", "you", "<", "at\n", "noon."]), max_size=12)


@settings(derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS, positions=st.lists(st.integers(0, 12), max_size=4), glue=st.sampled_from([" ", "", "\n"]))
def test_no_chunk_of_a_stream_ever_holds_a_token_or_a_piece_of_one(
    tmp_path: Path, words: list[str], positions: list[int], glue: str
) -> None:
    key = bytes(32)
    vault = Vault.open(tmp_path / "vault.sqlite", key)
    token = vault.put_all("kiosk", "digest", [("EMAIL", EMAIL)])[0]
    pieces = list(words)
    for position in positions:
        pieces.insert(position, token)
    stored = msgspec.structs.replace(STORED, text=glue.join(pieces))
    shown = reidentify(stored, values_of(vault, "digest"))
    log = log_of_answer(stored.text, Cursor())
    rest, chunks = pending_steps(log, Cursor()), list[str]()
    while rest:
        piece, more = split_step(rest.pop(), 1)
        chunks.append(render_event(piece, log.text, values_of(vault, "digest")).text)
        rest += [more] if more else []
    vault.close()
    assert "".join(chunks) == shown.text == glue.join(EMAIL if piece == token else piece for piece in pieces)
    assert not any(token[:8] in chunk for chunk in chunks)


def test_a_stranger_sees_tokens_only(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "vault.sqlite", bytes(32))
    token = vault.put_all("kiosk", "digest", [("EMAIL", EMAIL)])[0]
    stored = msgspec.structs.replace(STORED, text=token)
    assert reidentify(stored, values_of(vault, "another")).text == token
    assert reidentify(stored, values_of(vault, "digest")).text == EMAIL
    vault.close()
