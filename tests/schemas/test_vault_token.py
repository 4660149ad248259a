"""One grammar of vault tokens: what the vault makes every room recognises, and a near miss is recognised by none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Answer, Asked
from tidegate.schemas.vault_token import VAULT_TOKEN, complete_length, next_boundary, tokens_in, vault_token
from tidegate.services.gateway.admission import find_fault
from tidegate.services.knowledge.extraction.numbers import find_numbers
from tidegate.services.knowledge.extraction.phrases import find_strings
from tidegate.services.knowledge.index.thesaurus import rewrite_query
from tidegate.services.policies.grounding import list_words
from tidegate.services.policies.redaction import redact_pii
from tidegate.services.privacy.dlp.finding import KINDS, Finding
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.streaming.reidentify import reidentify_text

HEX = "0123456789abcdef"
IBAN, FOREIGN = "<IBAN_0a1b2c3d4e5f>", "<CARD_ffffffffffff>"
LONG = "<ABCDEFGHIJKLMNOP_0a1b2c3d4e5f>"


def redacts_nothing(text: str) -> bool:
    """Whether a text that a detector takes for personal from end to end stays as it is."""
    whole = Finding(kind="ACCOUNT", start=0, end=len(text), value=text)
    return redact_pii(Answer(text=text), lambda _: [whole]) == (Answer(text=text), "")


USERS: dict[str, Callable[[str], bool]] = {
    "grammar": lambda text: tokens_in(text) == (text,),
    "stream": lambda text: reidentify_text(text, lambda _: "value") == "value",
    "grounding": lambda text: list_words(text) == [],
    "redaction": redacts_nothing,
    "search": lambda text: rewrite_query(text) == "",
    "extraction": lambda text: [found.value for found in find_strings(text)] == [text],
    "numbers": lambda text: not any(find_numbers(text, "en", [])),
    "gateway": lambda text: getattr(find_fault(Asked(tenant="kiosk", text=text), Settings(), 1), "code", "") != "",
}
users = pytest.mark.parametrize("user", sorted(USERS))
kinds = st.one_of(st.sampled_from(KINDS), st.text("ABCXYZ", min_size=2, max_size=16))


@users
@given(kind=kinds, digest=st.text(HEX, min_size=12, max_size=64))
def test_every_token_that_can_be_made_is_recognised_by_every_room(user: str, kind: str, digest: str) -> None:
    assert USERS[user](vault_token(kind, digest))


def near_misses(token: str) -> list[str]:
    """What differs from a token in one thing."""
    kind, digits = token[1:-1].split("_")
    return [
        token[1:], token[:-1], f"<{kind}{digits}>", f"<{kind}-{digits}>", f"< {kind}_{digits}>", f"<{kind}_{digits} >",
        f"<{kind}_{digits[:-1]}>", f"<{kind}_{digits[:6]}>", f"<{kind}_{digits}0>", f"<{kind}_{digits[:-1]}g>",
        f"<{kind}_{digits[:-1]}A>", f"<{kind}_{digits[:-1]}\u0663>", f"<{kind}_{digits[:-1]}\uff10>",
        f"<{kind[0]}_{digits}>", f"<{kind * 9}_{digits}>", f"<{kind.lower()}_{digits}>", f"<{kind}1_{digits}>",
        f"<{kind}_{kind}_{digits}>", f"<\u0410{kind}_{digits}>", f"\uff1c{kind}_{digits}>", f"<{kind}_{digits}\n>",
    ]  # fmt: skip


MISSED_BY = sorted({*USERS} - {"numbers"})


@pytest.mark.parametrize("user", MISSED_BY)
@given(kind=st.sampled_from(KINDS), digest=st.text(HEX, min_size=12, max_size=12))
@settings(max_examples=20)
def test_a_near_miss_is_a_token_to_no_room(user: str, kind: str, digest: str) -> None:
    for text in near_misses(vault_token(kind, digest)):
        assert not USERS[user](text), text


def test_the_example_on_which_six_grammars_disagreed_is_no_token() -> None:
    assert {user for user in MISSED_BY if USERS[user]("<IBAN_0a1b2c>")} == set()


@given(kind=st.sampled_from(KINDS), value=st.text(min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_what_the_vault_makes_is_a_token_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, value: str
) -> None:
    vault = Vault.open(tmp_path_factory.mktemp("vault") / "vault.sqlite", bytes(32))
    token = vault.put_all("kiosk", "ann", [(kind, value)])[0]
    assert all(recognises(token) for recognises in USERS.values())
    assert vault.detokenise(f"a {token} b", "kiosk", "ann", "answer") == f"a {value} b"
    assert not any(vault.detokenise(text, "kiosk", "ann", "answer") == value for text in near_misses(token))
    vault.close()


@pytest.mark.parametrize("kind", ["A", "a", "IB4N", "", "ABCDEFGHIJKLMNOPQ", "\u0410\u0410"])
def test_what_is_no_kind_makes_no_token(kind: str) -> None:
    with pytest.raises(ValueError, match="is not a kind"):
        vault_token(kind, HEX)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("a < b", 5),
        ("a <", 2),
        ("a <I", 2),
        ("a <i", 4),
        ("a <I_", 5),  # a kind has two letters
        ("a <IBAN_0a1b2c3d4e5", 2),
        ("a <IBAN_0a1b2c3d4e5f", 2),
        (f"a {IBAN}", 21),
        ("a <IBAN_0a1b2c3d4e5f0", 21),
        (LONG[:-1], 0),
        ("<<IBAN", 1),
        ("", 0),
    ],
)
def test_what_can_still_become_a_token_is_not_complete(text: str, length: int) -> None:
    assert complete_length(text) == length


@given(kind=kinds, digest=st.text(HEX, min_size=12, max_size=12), before=st.text("a<_A0 ", max_size=6))
def test_every_beginning_of_a_token_is_incomplete_and_the_whole_is_not(kind: str, digest: str, before: str) -> None:
    token = vault_token(kind, digest)
    for end in range(1, len(token)):
        assert complete_length(before + token[:end]) == len(before)
    assert complete_length(before + token) == len(before + token)


@pytest.mark.parametrize(("end", "moved"), [(0, 0), (2, 2), (3, 21), (20, 21), (21, 21), (22, 40), (40, 40), (41, 41)])
def test_no_boundary_is_inside_a_token(end: int, moved: int) -> None:
    assert next_boundary(f"a {IBAN}{FOREIGN} b", end) == moved


def test_no_other_module_has_a_grammar_of_its_own() -> None:
    root = Path(__file__).parents[2]
    found = [
        str(path.relative_to(root))
        for room in ("schemas", "services", "brokers", "sync")
        for path in (root / room).rglob("*.py")
        if "<[A-Z]" in path.read_text() or "<([A-Z]" in path.read_text()
    ]
    assert found == ["schemas/vault_token.py"]
    assert VAULT_TOKEN.fullmatch(IBAN)
