"""Follow-ups: a question that goes on from what was turns stands by itself; one that does not stays as it was asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Turn
from tidegate.services.languages.dialogue_patterns import compile_dialogue, find_words
from tidegate.services.languages.dialogue_words import DialogueWords, load_dialogue_words
from tidegate.services.languages.followups import resolve_followup
from tidegate.services.languages.words import LANGUAGES

OPTIONAL = {"ones", "elisions", "drops_subjects"}


def talk(*turns: str) -> tuple[str, tuple[Turn, ...]]:
    """The last turn, and those before it: user and assistant by turns."""
    sides: tuple[Any, Any] = ("user", "assistant")
    return turns[-1], tuple(Turn(sides[at % 2], text) for at, text in enumerate(turns[:-1]))


RATE = ("What is the rate of the Tide Saver?", "2.15%")
LIMIT = ("What is the limit for contactless?", "£100")
LEITH = ("When is the Leith branch open on Saturdays?", "From 9 am to 1 pm.")


@pytest.mark.parametrize(
    ("language", "turns", "standalone"),
    [
        ("en", (*RATE, "And the smallest deposit?"), "What is the smallest deposit of the Tide Saver?"),
        ("en", ("What does a spare key cost?", "3 euros.", "and a door plate?"), "What does a door plate cost?"),
        ("de", ("Wann ist die Werkstatt offen?", "Ab 8 Uhr.", "und das Lager?"), "Wann ist das Lager offen?"),
        ("en", (*LIMIT, "Can I change it?"), "Can I change the limit for contactless?"),
        ("en", (*LIMIT, "and abroad?"), "What is the limit for contactless abroad?"),
        ("en", (*LIMIT, "Thanks! And for a child?"), "What is the limit for a child?"),
        ("en", (*LEITH, "Sorry, I meant Dundee."), "When is the Dundee branch open on Saturdays?"),
        ("en", (*LEITH, "and on Sundays?"), "When is the Leith branch open on Sundays?"),
        (
            "en",
            ("How much is the hire of the 3-tonne digger?", "£95 a day.", "And for a week?"),
            "How much is the hire of the 3-tonne digger for a week?",
        ),
        (
            "en",
            ("What's the price of 20 pallets, bagged?", "£5,980.", "no wait, 12 pallets"),
            "What's the price of 12 pallets, bagged?",
        ),
        (
            "en",
            ("Who is the manager in Corby?", "Helen Adeyemi is.", "How do I reach her?"),
            "How do I reach her (Helen Adeyemi)?",
        ),
        (
            "en",
            ("what's the postage?", "Do you mean for letters or for parcels?", "the second one"),
            "what's the postage parcels?",
        ),
        ("de", ("Ist die Säge BS 300 da?", "Ja.", "Wie schwer ist sie?"), "Wie schwer ist die Säge BS 300?"),
        ("de", ("Wie hoch ist das Limit?", "100 €", "Kann ich das ändern?"), "Kann ich das Limit ändern?"),
        (
            "de",
            ("Was kostet das Girokonto im Monat?", "4 €", "Und das Sparkonto?"),
            "Was kostet das Sparkonto im Monat?",
        ),
        (
            "fr",
            ("Combien coûte un double par jour ?", "46 €", "Et le simple ?"),
            "Combien coûte le simple par jour ?",
        ),
        ("en", ("What is the fee for the passbook?", "£3", "And the key?"), "What is the fee for the key?"),
        (
            "de",
            ("Wie lange dauert die Lieferung nach Österreich?", "3 Tage.", "Und in die Schweiz?"),
            "Wie lange dauert die Lieferung in die Schweiz?",
        ),
        ("de", ("Was kostet ein Schließfach?", "95 £", "Und ein großes?"), "Was kostet ein Schließfach ein großes?"),
        (
            "fr",
            ("Livrez-vous le samedi à Nantes ?", "Oui.", "Et à Angers ?"),
            "Livrez-vous le samedi à Angers ?",
        ),
        (
            "fr",
            ("Quel est le plafond de la carte ?", "100 €", "Puis-je le modifier ?"),
            "Puis-je le modifier (le plafond de la carte) ?",
        ),
        (
            "es",
            ("¿Qué horario tiene el museo en invierno?", "De 9 a 17 h.", "¿y en verano?"),
            "¿Qué horario tiene el museo en verano?",
        ),
        (
            "es",
            ("¿Tienen la carretilla E15?", "Sí, dos.", "¿Cuánto peso levanta?"),
            "¿Cuánto peso levanta (la carretilla E15)?",
        ),
    ],
)
def test_a_follow_up_becomes_the_question_that_it_stands_for(
    language: str, turns: tuple[str, ...], standalone: str
) -> None:
    resolved = resolve_followup(*talk(*turns), language)
    assert (resolved.text, resolved.resolution) == (standalone, "rewritten")


@pytest.mark.parametrize(
    ("language", "turns"),
    [
        ("en", (*LIMIT, "Where is your showroom in Bristol?")),
        ("en", (*LIMIT, "And what are your opening hours in Truro?")),
        ("en", (*LIMIT, "Is there a charging point for e-bikes?")),
        ("en", (*LIMIT, "I also need to report a pothole, how do I do that?")),
        ("en", (*LIMIT, "opening hours")),
        ("en", (*LIMIT, "When do you open?")),
        ("es", ("¿Cuál es el límite de la tarjeta?", "100", "¿Cuándo abren?")),
        ("en", (*LIMIT, "brilliant, cheers!")),
        ("en", (*LIMIT, "Is it possible to open an account for my son?")),
        ("en", (*LIMIT, "Hello. Where can I park a caravan?")),
        ("de", ("Wie lange habe ich Garantie?", "24 Monate.", "Nehmen Sie auch alte Waschmaschinen mit?")),
        ("de", ("Wie lange habe ich Garantie?", "24 Monate.", "Vermieten Sie auch Teppichreiniger?")),
        ("fr", ("Quel est le plafond de la carte ?", "100", "Où est l'agence ?")),
        ("fr", ("La ligne 2 est-elle repartie ?", "Oui.", "Quelle graisse faut-il pour les paliers du broyeur ?")),
        ("es", ("¿El museo abre los lunes?", "No.", "¿Dónde está la oficina?")),
        ("es", ("¿Cuántos días tengo para devolverlo?", "30.", "¿Hacéis arreglos de bolsos?")),
    ],
)
def test_a_question_of_its_own_is_never_mixed_with_what_was_said(language: str, turns: tuple[str, ...]) -> None:
    resolved = resolve_followup(*talk(*turns), language)
    assert (resolved.text, resolved.resolution) == (turns[-1], "standalone")


def test_a_follow_up_of_a_follow_up_goes_on_from_what_that_stands_for() -> None:
    turns = ("How much is a drum sander for a weekend?", "£62", "And the edge one?", "£40", "And for a week?")
    assert resolve_followup(*talk(*turns), "en").text == "How much is a edge sander for a week?"
    turns = (*LIMIT, "thanks", "You're welcome!", "Can I change it?")
    assert resolve_followup(*talk(*turns), "en").text == "Can I change the limit for contactless?"


@pytest.mark.parametrize("turn", ["Can I change it?", "And for a week?", "and then?"])
def test_what_goes_on_from_nothing_is_unclear(turn: str) -> None:
    assert resolve_followup(*talk("hello", "Hi! What can I do for you?", turn), "en") == (turn, "unclear")


def test_without_a_conversation_or_in_a_language_without_rules_a_question_stays_as_it_is() -> None:
    assert resolve_followup("Can I change it?", (), "en") == ("Can I change it?", "standalone")
    assert resolve_followup("Can I change it?", (Turn("assistant", "Hi"),), "en").resolution == "standalone"
    assert resolve_followup(*talk(*LIMIT, "E per una settimana?"), "it").resolution == "standalone"


def test_a_vault_token_is_one_word_and_is_carried_over_whole() -> None:
    turns = ("Is the account <IBAN_0123456789ab> blocked?", "Yes.", "Can I unblock it?")
    assert resolve_followup(*talk(*turns), "en").text == "Can I unblock the account <IBAN_0123456789ab> blocked?"
    assert [word[0] for word in find_words("l'IBAN <IBAN_0123456789ab>")] == ["l'", "IBAN", "<IBAN_0123456789ab>"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_words_of_conversation_for_all_that_english_has(language: str) -> None:
    words = load_dialogue_words(language)
    assert all(getattr(words, field) for field in set(DialogueWords.__struct_fields__) - OPTIONAL)
    assert compile_dialogue(language).function.fullmatch(words.articles[0])
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(words), "noise": []}, DialogueWords)


TOKEN_TALKS = (
    ("en", ("Can I pay <NAME_{0}> from <IBAN_{1}>?", "Yes.", "And from <IBAN_{2}>?")),
    ("en", ("What does a transfer to <IBAN_{1}> cost?", "£4.", "I meant <NAME_{0}>.")),
    ("en", ("My name is <NAME_{0}>. Is <PHONE_{1}> blocked?", "No.", "What about <PHONE_{2}>?")),
    ("de", ("Kann ich <NAME_{0}> von <IBAN_{1}> bezahlen?", "Ja.", "Und <IBAN_{2}>?")),
    ("fr", ("Puis-je payer <NAME_{0}> ?", "Oui.", "Et <NAME_{1}> ?")),
    ("es", ("¿Puedo pagar a <NAME_{0}>?", "Sí.", "¿Y a <IBAN_{1}>?")),
)
digests = st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), min_size=3, max_size=3, unique=True)


@pytest.mark.parametrize(("language", "turns"), TOKEN_TALKS)
@given(drawn=digests)
def test_a_follow_up_becomes_the_same_whatever_digits_its_vault_tokens_have(
    language: str, turns: tuple[str, ...], drawn: list[str]
) -> None:
    names = ["00000000000a", "bbbbbbbbbbbb", "1c1c1c1c1c1c"]
    expected = resolve_followup(*talk(*(turn.format(*names) for turn in turns)), language)
    assert expected.resolution == "rewritten"
    found = resolve_followup(*talk(*(turn.format(*drawn) for turn in turns)), language)
    back = found.text
    for name, digits in zip(names, drawn, strict=True):
        back = back.replace(f"_{digits}>", f"_{name}>")
    assert (back, found.resolution) == expected


def test_an_account_does_not_take_the_place_of_a_name() -> None:
    before = "Can I pay <NAME_0a1b2c3d4e5f> from <IBAN_0a1b2c3d4e5f>?"
    found = resolve_followup(*talk(before, "Yes.", "And from <IBAN_1a2b3c4d5e6f>?"), "en")
    assert found.text == "Can I pay <NAME_0a1b2c3d4e5f> from <IBAN_1a2b3c4d5e6f>?"
    found = resolve_followup(*talk(before, "Yes.", "And <NAME_1a2b3c4d5e6f>?"), "en")
    assert found.text == "Can I pay <NAME_1a2b3c4d5e6f> from <IBAN_0a1b2c3d4e5f>?"
