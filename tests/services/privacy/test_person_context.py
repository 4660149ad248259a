"""What stands around a name tells it, whatever the name, in any layout; what names nobody is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR
from tests.support.paths import MODELS
from tidegate.services.languages.person_cues import list_cues
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.names import OTHERS
from tidegate.services.privacy.dlp.person_context import (
    INTRODUCTIONS,
    NO_NAMES,
    PARTICLE_PHRASES,
    PRESENTED,
    TITLED,
    lower_capitals,
    read_context,
)
from tidegate.services.privacy.dlp.person_model import PersonModel
from tidegate.services.privacy.dlp.person_words import split_words

MODEL = PersonModel.load(MODELS)
READER = Detector(("NL", "DE"), MODEL)
INVENTED = st.from_regex(r"\A[bdfgklmnprstvwz][aeiou][bdfgklmnprstz]{1,2}[aeiou][lnrst]\Z").filter(
    lambda word: word not in NO_NAMES and word not in PARTICLE_PHRASES and word not in INTRODUCTIONS
)
"""Words that may be a name in any language and are most likely in no list."""
LAID_OUT = (
    ("Naam: {}\nKlantnummer: onbekend", "Sjoukje Zwiers"),
    ("Nachname: {}", "Zwirngibl"),
    ("Nom : {}", "Kerhuel"),
    ("Von: {} <k@beispiel.example>", "Sjoukje Zwiers"),
    ("Op 3 mei schreef {}:\n> Waar is het?", "S. Zwiers"),
    ("Mijn naam\nis\n{}, dag.", "Sjoukje van der\nZwiers"),
    ("Geachte mevrouw {}, dank.", "uit den Zwanenberg"),
    ("z. Hd. {}, Einkauf", "T. von Zwirn"),
    ("i. A. {}", "U. Zwirngibl"),
    ("Gestern war {} an der Kasse.", "Hans-J. Zwirngibl"),
    ("Ist {} heute im Haus?", "Lange"),
    ("Danke {}, das hat geholfen.", "Willfried"),
    ("Laut {} ist das so.", "R. Zwirngibl"),
    ("Vertrag mit {} vom Mai", "Thomas Mann"),
    ("selon {} cela marche", "leticia galiazzo"),
    ("De heer {} belde.", "In 't Zwet"),
    ("Monteur {} is geweest.", "El Zwazni"),
    ("Sehr geehrte Frau Dr. {}, guten Tag.", "Zwirngibl"),
    ("{} am Apparat.", "Torsten Zwirngibl"),
    ("Ik sprak met {} gisteren.", "Sjoukje op den Zwet"),
    ("Groetjes,\n{}", "Sjoukje"),
    ("MET VRIENDELIJKE GROET,\n{}", "SJOUKJE ZWIERS"),
    ("mijn naam is {} en ik bel", "sjoukje van der zwiers"),
)
NOBODY = (
    "Bedankt, Klantenservice",
    "Ich bin Kunde der Sparkasse.",
    "Ich heiße Sie willkommen.",
    "Das Päckchen von der Post, z. B. Karten.",
    "Am Bahnsteig B. Danach geht es weiter.",
    "Geachte heer, mevrouw, ik wil opzeggen.",
    "Mit freundlichen Grüßen\nIhr Kundenservice",
    "T.a.v. afdeling inkoop",
    "mijn naam is verkeerd gespeld.",
    "de dokter zei dat ik moet rusten",
    "Was droht, wenn man den Vierbeiner verschweigt?",
    "Office | Name | Since",
    "grazie mille",
    "Moin Jungs, was nu?",
    "ese señor ha entrado",
    "Kann die Kundin den Sessel ohne Kosten stornieren?",
)


@pytest.mark.parametrize(("frame", "name"), LAID_OUT)
def test_a_name_is_found_in_every_layout(frame: str, name: str) -> None:
    text = frame.format(name)
    assert any(name in each.value for each in READER.find(text)), [each.value for each in READER.find(text)]


@pytest.mark.parametrize("text", NOBODY)
def test_what_stands_where_a_name_does_and_is_none_is_left_alone(text: str) -> None:
    assert READER.find(text) == []


SURE = sorted(phrase for phrase, kind in INTRODUCTIONS.items() if kind >= PRESENTED or kind == TITLED)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(phrase=st.sampled_from(SURE), given_name=INVENTED, surname=INVENTED, gap=st.sampled_from((" ", "  ", "\n")))
def test_whatever_follows_a_sure_introduction_in_capitals_is_a_name(
    phrase: str, given_name: str, surname: str, gap: str
) -> None:
    name = f"{given_name.title()}{gap}{surname.title()}"
    text = f"{phrase}{gap}{name}, 3 x"
    words = [(each.start, each.end) for each in MODEL.find(text)]
    start = len(text) - len(name) - len(", 3 x")
    assert any(begin <= start and start + len(name) <= end for begin, end in words), text


INTRODUCED_BY_RULES = list_cues(lambda cues: cues.introductions, OTHERS)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(phrase=st.sampled_from(INTRODUCED_BY_RULES), name=INVENTED, is_capital=st.booleans())
def test_rules_alone_find_who_introduces_themselves(phrase: str, name: str, is_capital: bool) -> None:
    value = name.title() if is_capital else name
    assert any(value in each.value for each in DETECTOR.find(f"{phrase} {value}, 3 x")), phrase


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    text=st.one_of(
        st.text(alphabet="aäéßI. A-B:'\n,van der Ik zB.İ", max_size=60), st.text(alphabet="AB CÄ İ-.", max_size=30)
    )
)
def test_any_text_is_read_word_for_word(text: str) -> None:
    lowered = lower_capitals(text)
    assert len(lowered) == len(text)
    context = read_context(lowered, split_words(lowered, MODEL.labels))
    assert len({len(part) for part in context[:6]}) == 1
    for span in MODEL.find(text):
        assert 0 <= span.start < span.end <= len(text)


STARTS = (
    "How do I change it?", "What does it cost?", "This was wrong.", "Thanks for that.",
    "Wie kann ich das ändern?", "Könnten Sie das prüfen?", "Brauche ich das?",
    "Comment la changer ?", "Puis-je payer ?", "Pourriez-vous vérifier ?",
    "Cuánto cuesta?", "Gracias por todo.", "Podría revisarlo?",
    "Quanto costa?", "Posso pagare?", "Vorrei sapere.",
    "Hoe wijzig ik dat?", "Kunt u dat nakijken?",
    "Ile to kosztuje?", "Czy mogę zapłacić?", "Proszę o potwierdzenie.",
    "Onde vou?", "Posso pagar?", "Gostaria de saber.",
)  # fmt: skip
"""Sentences of eight languages; none holds personal data."""


@pytest.mark.parametrize("sentence", STARTS)
@pytest.mark.parametrize(
    ("before", "code"),
    [("My number is AB 12 34 56 C. ", "AB 12 34 56 C"), ("It is in block B. ", ""), ("Seat 12 A. ", "")],
)
def test_a_sentence_behind_a_code_or_a_letter_is_no_part_of_a_name(sentence: str, before: str, code: str) -> None:
    assert [found.value for found in READER.find(before + sentence)] == ([code] if code else [])


@pytest.mark.parametrize("name", ["J. de la Cruz", "P. Le Goff", "K. Lindqvist", "B. Moreno"])
def test_a_surname_behind_an_initial_is_found_though_it_may_begin_with_a_small_word(name: str) -> None:
    assert name in [found.value for found in READER.find(f"It was signed yesterday by {name} at the counter.")]
