"""The turns before a question: read within a budget, stored sealed, part of what makes two requests the same one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Asked, Turn, encode
from tidegate.services.gateway.admission import admit, find_fault, newest_turns, words_of
from tidegate.services.gateway.http.conversation import read_history, read_instructions
from tidegate.services.gateway.http.openai import ChatRequest, read_chat, read_question
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError
from tidegate.services.llm.text.token_counter import TokenCounter
from tidegate.services.privacy.faults import ErasedError, TamperedError
from tidegate.services.privacy.sealing import seal_request, unseal_request
from tidegate.services.privacy.site_key import derive_key, frame
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
WORDS = TokenCounter("words", lambda text: [0] * len(text.split()))
SAID = (
    Turn("user", "What is the rate?"),
    Turn("assistant", "It is 2 %."),
    Turn("user", "Since when is that?"),
    Turn("assistant", "Since May."),
)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    opened = Vault.open(tmp_path / "vault.sqlite", KEY)
    yield opened
    opened.close()


def chat(*messages: tuple[str, Any]) -> ChatRequest:
    turns = [{"role": role, "content": content} for role, content in messages]
    return read_chat(msgspec.json.encode({"model": "tidegate", "messages": turns}))


TALK = chat(*((turn.role, turn.text) for turn in SAID), ("user", "And before?"))


@pytest.mark.parametrize(
    ("tokens", "kept"), [(0, 0), (1, 0), (2, 1), (5, 1), (6, 2), (8, 2), (10, 3), (13, 3), (14, 4), (99, 4)]
)
def test_the_newest_whole_turns_are_read_that_have_room(tokens: int, kept: int) -> None:
    assert read_history(TALK, WORDS, tokens) == SAID[len(SAID) - kept :]


def test_what_is_no_turn_is_no_history_and_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "When"}, {"type": "text", "text": "is it?"}]
    refused = [{"type": "refusal", "refusal": "No."}]
    talk = chat(("system", "Be kind."), ("user", parts), ("assistant", refused), ("user", "And?"), ("assistant", "We"))
    assert read_history(talk, WORDS, 99) == (Turn("user", "When\nis it?"),)
    assert read_question(talk) == "And?"
    assert (
        read_history(
            chat(
                ("assistant", "Hello"),
            ),
            WORDS,
            99,
        )
        == ()
    )


def test_instructions_are_read_in_their_order_with_the_path_of_the_first() -> None:
    talk = chat(
        ("user", "Hi"),
        ("developer", " Be brief. "),
        ("system", [{"type": "text", "text": "Be kind."}]),
        ("user", "When?"),
    )
    assert read_instructions(talk) == ("Be brief.\n\nBe kind.", "messages[1].role")
    assert read_instructions(chat(("system", "  "), ("user", "When?"))) == ("", None)


@pytest.mark.parametrize("history", [(), SAID])
@pytest.mark.parametrize("schema", ["", '{"a": 1}'])
def test_instructions_are_stored_sealed_and_open_to_what_they_were(vault: Vault, schema: str, history: Any) -> None:
    instructed = Asked(
        tenant="kiosk", text="And, 3:before?", schema=schema, rid="r1", history=history, instructions="9,9: Be kind."
    )
    stored = seal_request(vault, instructed)
    assert b"kind" not in encode(stored)
    again = unseal_request(vault, stored)
    assert words_of(again) == words_of(instructed)


def test_a_conversation_is_stored_sealed_and_opens_to_what_was_said(vault: Vault) -> None:
    asked = Asked(tenant="kiosk", text="And before?", schema='{"a": 1}', rid="r1", history=SAID)
    stored = seal_request(vault, asked)
    assert b"rate" not in encode(stored)
    assert stored.history == ()
    again = unseal_request(vault, stored)
    assert (again.text, again.schema, again.history) == (asked.text, asked.schema, SAID)
    with pytest.raises(TamperedError):
        unseal_request(vault, msgspec.structs.replace(stored, rid="r2"))


def test_what_an_erased_asker_has_asked_opens_no_more(vault: Vault) -> None:
    ann, ben = (seal_request(vault, Asked(tenant="kiosk", text="And?", rid="r1", asker=who)) for who in ("ann", "ben"))
    assert unseal_request(vault, ann).text == "And?"
    vault.erase("kiosk", ann.asker)
    with pytest.raises(ErasedError):
        unseal_request(vault, ann)
    assert unseal_request(vault, ben).text == "And?"
    seal_request(vault, Asked(tenant="kiosk", text="Again?", rid="r2", asker="ann"))
    with pytest.raises(TamperedError):
        unseal_request(vault, ann)


def test_a_request_that_an_older_version_has_sealed_still_opens(vault: Vault) -> None:
    nonce = bytes(12)
    sealed = AESGCMSIV(derive_key(KEY, "seal")).encrypt(nonce, b"3:abc{}", frame("kiosk", "r1"))
    stored = Asked(tenant="kiosk", rid="r1", sealed=b"\x01" + nonce + sealed)
    assert (unseal_request(vault, stored).text, unseal_request(vault, stored).schema) == ("abc", "{}")


def test_an_earlier_turn_may_hold_no_token_and_the_oldest_are_dropped() -> None:
    settings = Settings()
    forged = Asked(tenant="kiosk", text="And?", history=(Turn("user", "Of <IBAN_0123456789ab>?"),))
    fault = find_fault(forged, settings, 0)
    assert fault is not None
    assert fault.code == "forged_token"
    assert newest_turns(SAID, 30) == SAID[2:]
    long = Asked(tenant="kiosk", text="And?", history=(Turn("user", "x" * settings.prefilter.max_chars), *SAID))
    assert admit(long, settings, 5).history == SAID


@pytest.fixture
async def ingress(vault: Vault) -> AsyncIterator[Ingress]:
    door = Ingress(Settings(site="site1"), MemoryBus("site1"), vault)
    await door.open()
    yield door
    await door.close()


async def test_the_same_words_after_another_conversation_are_another_request(ingress: Ingress) -> None:
    asked = Asked(tenant="kiosk", text="And before?", rid="r1", asker="ann", history=SAID)
    for again in (asked, asked):
        (await ingress.accept(again)).end(msgspec.UNSET)  # type: ignore[arg-type]
    with pytest.raises(RequestRefusedError) as caught:
        await ingress.accept(msgspec.structs.replace(asked, history=SAID[:2]))
    assert caught.value.refused.code == "rid_taken"
