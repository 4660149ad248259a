"""Compounds are split into the words that they are made of, and other words are not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.languages.compounds import LONGEST, CompoundParts, split_compound, split_compounds

SPLITS = """
konto-führungs-gebühr karten-sperrung überweisungs-gebühren dauer-auftrag kredit-karten-abrechnung konto-auszüge
girokonto=giro-konto schliess-fach-miete zins-satz last-schrift-mandat umtausch-recht
vollmachtsformular=voll-machts-formular öffnungs-zeiten kassen-bon versand-kosten mehr-wert-steuer kunden-karte
gutschein-code schutz-brillen-pflicht gabel-stapler arbeits-zeit-konto wartungs-intervall hydraulik-öl
druck-luft-leitung ersatz-teil-lager qualitäts-prüfung schicht-pläne reise-pass geburts-urkunde hunde-steuer
grund-steuer-bescheid einwohner-melde-ämter standes-amt wert-stoff-höfe gebühren-frei kosten-pflichtige leih-frist
wasser-sport
"""
WHOLE = """
bericht konsole information informationen beratung bestellung abteilung vermögen antrag auftrag unterlagen urlaub
verlust verein vereinbarung rechnung gewinn zugriff verstand vertrag verkäufer verbraucher erstattung entgelt
kündigung mitarbeiter ausweis unterschrift verwaltung verordnung versicherung verspätung material produktion transport
kommission kombination religion organisation überweisung überweisungen gebühren donnerstags minister biologin
bestellen erbringen erwachsene hamburg frankfurt rosenheim neumann baumanns
"""


def read_splits() -> list[tuple[str, tuple[str, ...]]]:
    pairs = [each.split("=") for each in SPLITS.split()]
    return [(pair[0].replace("-", ""), tuple(pair[-1].split("-"))) for pair in pairs]


@pytest.mark.parametrize(("word", "parts"), read_splits())
def test_a_compound_has_the_parts_that_people_see_in_it(word: str, parts: tuple[str, ...]) -> None:
    assert split_compound(word, "de") == parts
    assert split_compound(word.capitalize(), "de") == parts


@pytest.mark.parametrize("word", WHOLE.split())
def test_a_word_that_only_looks_like_a_compound_is_left_whole(word: str) -> None:
    assert split_compound(word, "de") == ()


@pytest.mark.parametrize("word", ["Kartensperrung7", "DE89Kartenkonto", "IBAN", "SEPA", "kartenkonto" * 6, "", "öl"])
def test_codes_and_what_is_too_short_or_too_long_are_left_whole(word: str) -> None:
    assert split_compound(word, "de") == ()


@pytest.mark.parametrize("language", ["en", "nl", "fr", "xx"])
def test_no_other_language_is_split(language: str) -> None:
    assert split_compound("Kartensperrung", language) == ()


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("wassersport", ("wasser", "sport")),  # the longest last part
        ("sportwassersport", ("sportwassers", "port")),  # the fewest parts before that
        ("sportwasserports", ("sport", "wasser", "ports")),  # what ends others may stand before them, and has endings
        ("balltorwasser", ()),  # "tor" is too short for that
    ],
)
def test_of_several_ways_to_split_one_is_taken(word: str, parts: tuple[str, ...]) -> None:
    first, last = (
        frozenset({"wasser", "wassers", "sportwassers", "ball"}),
        frozenset({"sport", "port", "tor", "wasser"}),
    )
    lists = CompoundParts(first | {"sport"}, last, frozenset(), ("s",), frozenset())
    assert lists.split(word) == parts


def test_the_parts_stand_in_the_place_of_their_compound() -> None:
    assert split_compounds("Die Kartensperrung: 5 € (Überweisungsgebühr).", "de") == (
        "Die karten sperrung 5 überweisungs gebühr"
    )


PIECES = st.sampled_from(["karten", "konto", "überweisungs", "gebühr", "ver", "ung", "s", "sport", "ß", "straße", "7"])


@given(st.one_of(st.text(max_size=70), st.lists(PIECES, max_size=12).map("".join)))
def test_the_parts_joined_are_the_word_whatever_was_split_before(word: str) -> None:
    parts = split_compound(word, "de")
    assert parts == split_compound.__wrapped__(word, "de")
    assert "".join(parts) == (word.casefold() if parts else "")
    assert len(parts) != 1
    assert all(len(part) > 1 for part in parts)


@pytest.mark.parametrize("word", ["karten" * 1667, ("karten" * 10)[:LONGEST], "e" * LONGEST])
def test_a_word_takes_bounded_time(word: str) -> None:
    split_compound("kartenkonto", "de")  # so that the lists are read
    began = time.process_time()
    split_compound.__wrapped__(word, "de")
    assert time.process_time() - began < 0.02
