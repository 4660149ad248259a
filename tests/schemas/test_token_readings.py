"""What is read of vault tokens: the same whatever digits were drawn, and nothing is lost where they are put back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tidegate.schemas.vault_token import number_tokens, read_kinds, tokens_in, vault_token, without_tokens

MAY_REPLACE = {
    "schemas/vault_token.py",
    "services/privacy/vault.py",
    "services/streaming/reidentify.py",
}
"""Who makes these readings, and who puts values back."""
WORDS = ("What does", "a transfer to", "cost?", "<", ">", "\0", "_", "")
digests = st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), min_size=4, max_size=4, unique=True)
pieces = st.lists(st.sampled_from([*WORDS, *(("NAME", at) for at in range(2)), *(("IBAN", at) for at in range(2, 4))]))


def write(parts: list[str | tuple[str, int]], drawn: list[str]) -> str:
    return "".join(part if isinstance(part, str) else vault_token(part[0], drawn[part[1]]) for part in parts)


@given(texts=st.lists(pieces, max_size=3), drawn=digests, others=digests)
def test_no_reading_depends_on_the_digits(
    texts: list[list[str | tuple[str, int]]], drawn: list[str], others: list[str]
) -> None:
    one, other = [write(each, drawn) for each in texts], [write(each, others) for each in texts]
    assert list(map(read_kinds, one)) == list(map(read_kinds, other))
    assert list(map(without_tokens, one)) == list(map(without_tokens, other))
    assert number_tokens(one).texts == number_tokens(other).texts


@given(texts=st.lists(pieces, max_size=3), drawn=digests)
def test_numbered_tokens_come_back_and_every_character_stays_at_its_place(
    texts: list[list[str | tuple[str, int]]], drawn: list[str]
) -> None:
    written = [write(each, drawn) for each in texts]
    numbered = number_tokens(written)
    assert list(map(numbered.restore, numbered.texts)) == written
    assert list(map(len, numbered.texts)) == list(map(len, written))
    assert len(tokens_in("\0".join(numbered.texts))) == len(tokens_in("\0".join(written)))


def test_a_kind_is_shown_as_is_wanted() -> None:
    text = "Pay <IBAN_0a1b2c3d4e5f> for <NAME_0a1b2c3d4e5f>."
    assert read_kinds(text) == "Pay <IBAN> for <NAME>."
    assert read_kinds(text, str.lower) == "Pay iban for name."
    assert without_tokens(text) == "Pay   for  ."


def test_a_text_is_read_without_digits_in_one_place() -> None:
    """Whoever replaces tokens by something of its own has found another reading."""
    code = [path for room in ("schemas", "services") for path in (ROOT / room).rglob("*.py")]
    own = {str(path.relative_to(ROOT)) for path in code if re.search(r"VAULT_TOKEN\.subn?\(", path.read_text("utf-8"))}
    assert own == MAY_REPLACE
