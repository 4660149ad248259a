"""Greetings, thanks and signatures are taken off a text, and what is left of it stays as it was."""

from __future__ import annotations

import pytest

from tidegate.services.languages.pleasantries import take_pleasantries


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("I hope you are well. Sorry to bother you on a Friday. Until when is it open?", "Until when is it open?"),
        ("Hi! Who is the branch manager? Thanks a lot", "Who is the branch manager?"),
        ("When does it open?\n\nThanks a lot\nBen", "When does it open?"),
        ("Dear Ms Smith,\nwhat does it cost?\n\nKind regards\nBen Miller\nMiller & Sons", "what does it cost?"),
        ("Hello <NAME_0123456789ab>, when do you open?", "when do you open?"),
        ("hi what does a coin roll cost", "what does a coin roll cost"),
        ("Hallo, kurze Frage: was kostet ein Konto?", "was kostet ein Konto?"),
        ("Sehr geehrte Frau Amsel, wann öffnen Sie? Mit freundlichen Grüßen", "wann öffnen Sie?"),
        ("Bonjour, j'ai une question : combien coûte une carte ? Merci d'avance", "combien coûte une carte ?"),
        ("Hola, ¿qué tal? ¿Cuánto cuesta una tarjeta? Muchas gracias", "¿Cuánto cuesta una tarjeta?"),
        ("Buongiorno, quanto costa? Grazie mille", "quanto costa?"),
        ("Olá, bom dia! Quanto custa? Obrigado", "Quanto custa?"),
        ("Goedemiddag, wat kost het? Alvast bedankt", "wat kost het?"),
        ("Dzień dobry, ile to kosztuje? Dziękuję", "ile to kosztuje?"),
    ],
)
def test_what_is_asked_is_left(text: str, rest: str) -> None:
    assert take_pleasantries(text) == (rest, None, ())


@pytest.mark.parametrize(
    "text",
    [
        "What is your best rate?",
        "Beste tijd om te komen?",
        "How do I say thanks?",
        "Super Sparen: was kostet es?",
        "Best mortgage rate?",
        "I moved here last week. How long does it take?",
        "Is the ok button broken?",
    ],
)
def test_words_that_look_like_pleasantries_stay(text: str) -> None:
    assert take_pleasantries(text).rest == text


@pytest.mark.parametrize(
    ("text", "kind", "language"),
    [
        ("hi", "greeting", "en"),
        ("Hello, how are you today?", "greeting", "en"),
        ("Thank you so much!", "thanks", "en"),
        ("ok, thanks, bye", "thanks", "en"),
        ("See you later", "farewell", "en"),
        ("Hello, who are you?", "identity", "en"),
        ("Danke schön", "thanks", "de"),
        ("Bist du ein Mensch?", "identity", "de"),
        ("Coucou, ça va ?", "greeting", "fr"),
        ("Muchas gracias", "thanks", "es"),
        ("buongiorno", "greeting", "it"),
        ("obrigada", "thanks", "pt"),
        ("tot ziens", "farewell", "nl"),
        ("Kim jesteś?", "identity", "pl"),
    ],
)
def test_a_text_of_nothing_else_is_known_for_what_it_is(text: str, kind: str, language: str) -> None:
    found = take_pleasantries(text)
    assert found.kind == kind
    assert language in found.languages


def test_a_text_of_tokens_and_marks_is_nothing() -> None:
    assert take_pleasantries("<NAME_0123456789ab> ...").kind is None
