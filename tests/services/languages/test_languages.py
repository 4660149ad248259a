"""The words of the languages: every language has all of them, and what they are for still holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.knowledge.reader.answer_type import expected_kind, has_value, is_open_question
from tidegate.services.languages.detection import (
    UnknownLanguagesError,
    detect_foreign_language,
    detect_language,
    load_restricted_model,
)
from tidegate.services.languages.words import (
    LANGUAGES,
    ContentWords,
    LanguageWords,
    ValueKind,
    join_patterns,
    load_words,
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_words_for_all_that_english_has(language: str) -> None:
    words = load_words(language)
    assert all(getattr(words, field) for field in LanguageWords.__struct_fields__)
    assert all(getattr(words.content, field) for field in ContentWords.__struct_fields__)
    assert set(words.asked) == set(load_words("en").asked)
    assert set(words.content.phrases) == set(load_words("en").content.phrases)
    assert set(words.personal.numbers) <= set(load_words("en").personal.numbers)
    assert set(words.personal.gates) == {*words.personal.numbers, "introductions", "closings"}
    assert set(words.labels) <= set(load_words("en").labels)


def list_patterns(words: dict[str, Any]) -> Iterator[str]:
    for each in words.values():
        if isinstance(each, dict):
            yield from list_patterns(each)
        elif isinstance(each, list):
            yield from each


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_pattern_compiles_alone_and_none_matches_everything(language: str) -> None:
    for pattern in list_patterns(msgspec.to_builtins(load_words(language))):
        assert re.compile(pattern, re.IGNORECASE).fullmatch("") is None


def test_the_longer_of_two_alternatives_is_tried_first() -> None:
    assert re.match(join_patterns(lambda words: words.number_words), "fourteen")[0] == "fourteen"  # type: ignore[index]
    assert re.search(join_patterns(lambda _: ()), "anything") is None


@pytest.mark.parametrize(
    ("question", "kind", "answer", "other"),
    [
        ("How long does it take?", "duration", "two working days", "at once by post"),
        ("Wie lange dauert das?", "duration", "zwei Werktage", "am Schalter"),
        ("Cuánto tarda", "duration", "tres días", "en la oficina"),
        ("What does a draft cost?", "amount", "£12", "at the counter"),
        ("Wie viel kostet das?", "amount", "kostenlos", "am Schalter"),
        ("Combien ça coûte ?", "amount", "gratuit", "au guichet"),
        ("À quelle heure fermez-vous ?", "clock", "16h30", "le lundi"),
        ("Which day is it?", "date", "1 March", "soon"),
        ("¿Cuál es su correo electrónico?", "email", "a@b.example", "en la web"),
    ],
)
def test_a_question_asks_for_a_kind_of_value_in_each_language(
    question: str, kind: ValueKind, answer: str, other: str
) -> None:
    assert expected_kind(question) == kind
    assert has_value(answer, kind)
    assert not has_value(other, kind)


def test_an_open_question_is_known_in_each_language() -> None:
    assert all(map(is_open_question, ("Who pays?", "Wer zahlt?", "Qui paie ?", "¿Quién paga?")))
    assert not any(map(is_open_question, ("Do I pay?", "Zahle ich?", "Est-ce gratuit ?", "¿Pago yo?")))


@pytest.mark.parametrize(
    "sentence",
    [
        "The bond matures in approx. 5 yrs. (i.e. on 30.09.2031).",
        "Interest of 3.25 % p.a. is paid on Dec. 31 by Dr. Oetzel Trust Ltd.",
        "Das gilt z. B. Montags und bzw. Dienstags.",
        "El núm. 4 es de la Sra. Pérez.",
    ],
)
def test_an_abbreviation_ends_no_sentence(sentence: str) -> None:
    text = f"{sentence} Then more."
    assert [text[start:end] for start, end in split_sentences(text, 0, len(text))] == [sentence, "Then more."]


def test_a_document_s_language_is_one_of_those_asked_for_unless_it_is_certainly_another() -> None:
    german = "Die Filiale ist am Montag geschlossen, außer wenn der Montag ein Feiertag ist. " * 4
    italian = "Il museo è aperto dal martedì alla domenica, e il lunedì resta chiuso ai visitatori. " * 4
    assert detect_language(german, ("en", "de")) == "de"
    assert detect_language("12:30", ("fr", "en")) == "fr"
    assert detect_language(italian, ("en", "de")) in ("en", "de")
    assert detect_foreign_language(italian, ("en", "de")) == "it"
    assert detect_foreign_language(german, ("en", "de")) is None
    assert detect_foreign_language(italian[:30], ("en", "de")) is None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "nl",
            "Honden zijn niet toegestaan, behalve hulphonden. Kaartje volwassene: € 5,80. Kind: € 3,20.",
        ),
        (
            "it",
            "I cani non sono ammessi, tranne i cani guida per non vedenti. Il biglietto intero costa 5,80 €.",
        ),
        (
            "pt",
            "Não são permitidos cães, exceto cães-guia. Bilhete de adulto: 5,80 €. Crianças até aos doze anos: 3,20 €.",
        ),
        (
            "pl",
            "Psy nie są wpuszczane, z wyjątkiem psów asystujących. Bilet normalny: 20 zł. Dzieci: 12 zł.",
        ),
    ],
)
def test_a_short_document_in_a_language_of_ours_is_certainly_in_that(language: str, text: str) -> None:
    assert detect_foreign_language(text, ("en", "de", "fr", "es")) == language
    english = "Dogs are not let in, but for guide dogs. Adults: £5.80. Children under twelve: £3.20."
    assert detect_foreign_language(english, ("en", "de")) is None


def test_the_restricted_model_ranks_as_the_whole_one_restricted() -> None:
    languages = frozenset(("de", "en", "fr", "it", "ru"))
    whole = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    whole.set_languages(languages)
    for text in ("Wo ist die Bank?", "Où est la banque ?", "Как дела?", "\x00\xff 12:30", "x" * 300):
        assert load_restricted_model(languages).rank(text) == whole.rank(text)
    with pytest.raises(UnknownLanguagesError, match="language qq; known: af, am"):
        load_restricted_model(languages | {"qq"})
