"""A yes or no is known however it is worded, and one that what it cites denies is no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.answering.answer_lead import LEAD_FEATURES, AnswerLead, measure_lead, split_lead
from tidegate.services.answering.sentence_check import SourceText, check_sentence
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose

WORDED = [
    ("en", "No, you cannot. Coins are not exchanged.", "no", "Coins are not exchanged."),
    ("en", "Unfortunately not: coins are not exchanged.", "no", "coins are not exchanged."),
    ("en", "That’s not possible – coins stay here.", "no", "coins stay here."),
    ("en", "Yes, of course! Dogs are welcome.", "yes", "Dogs are welcome."),
    ("en", "Yes.", "yes", ""),
    ("de", "Das geht leider nicht.", "no", ""),
    ("de", "Nein, leider nicht. Hunde bleiben draußen.", "no", "Hunde bleiben draußen."),
    ("de", "Natürlich, Hunde sind willkommen.", "yes", "Hunde sind willkommen."),
    ("fr", "Malheureusement non, la piscine est fermée.", "no", "la piscine est fermée."),
    ("fr", "Bien sûr : les chiens sont admis.", "yes", "les chiens sont admis."),
    ("es", "Lamentablemente no. No se admiten perros.", "no", "No se admiten perros."),
    ("es", "Claro que sí, se admiten perros.", "yes", "se admiten perros."),
    ("it", "Purtroppo no, i cani non entrano.", "no", "i cani non entrano."),
    ("it", "Certo, i cani entrano.", "yes", "i cani entrano."),
    ("pt", "Infelizmente não. Os cães ficam fora.", "no", "Os cães ficam fora."),
    ("pt", "Com certeza, os cães entram.", "yes", "os cães entram."),
    ("nl", "Dat kan helaas niet. Honden blijven buiten.", "no", "Honden blijven buiten."),
    ("nl", "Jazeker, honden mogen mee.", "yes", "honden mogen mee."),
    ("pl", "Niestety nie. Psy zostają na zewnątrz.", "no", "Psy zostają na zewnątrz."),
    ("pl", "Oczywiście, psy są mile widziane.", "yes", "psy są mile widziane."),
]
NONE = [
    ("en", "No-one may enter."),
    ("en", "No. 5 is the office."),
    ("en", "Yes and no answers are counted."),
    ("en", "No coins are exchanged."),
    ("en", "Yes, no, coins are not exchanged."),
    ("de", "Das geht nur samstags."),
    ("es", "No se admiten perros."),
    ("sv", "Ja, det går bra."),
]
ASKED = [
    ("en", "Can I get a refund for this ticket?", "The ticket can be refunded.", "The ticket cannot be refunded."),
    ("de", "Darf man hier rauchen?", "Hier darf man rauchen.", "Hier darf man nicht rauchen."),
    ("fr", "Peut-on fumer ici ?", "On peut fumer ici.", "On ne peut pas fumer ici."),
    ("es", "¿Se puede fumar aquí?", "Aquí se puede fumar.", "Aquí no se puede fumar."),
    ("it", "Si può fumare qui?", "Qui si può fumare.", "Qui non si può fumare."),
    ("pt", "Pode-se fumar aqui?", "Aqui pode fumar.", "Aqui não pode fumar."),
    ("nl", "Mag je hier roken?", "Je mag hier roken.", "Je mag hier niet roken."),
    ("pl", "Czy można tu palić?", "Można tu palić.", "Nie można tu palić."),
]


@pytest.mark.parametrize(("language", "answer", "says", "rest"), WORDED)
def test_a_lead_is_known_in_other_words_too(language: str, answer: str, says: str, rest: str) -> None:
    assert split_lead(answer, language) == (says, rest)


@pytest.mark.parametrize(("language", "answer"), NONE)
def test_what_only_looks_like_a_lead_is_none(language: str, answer: str) -> None:
    assert split_lead(answer, language) == ("", answer)


@given(language=st.sampled_from(PROSE_LANGUAGES), is_yes=st.booleans(), rest=st.text("abcdef ", min_size=1))
def test_the_lead_and_the_rest_are_all_of_the_answer(language: str, is_yes: bool, rest: str) -> None:
    words = load_prose(language)
    word = words.yes if is_yes else words.no
    behind = f"xyz{rest}"
    assert split_lead(f"{word}, {behind}", language) == ("yes" if is_yes else "no", behind)
    assert split_lead(behind, language) == ("", behind)


@pytest.mark.parametrize(("language", "question", "affirmed", "denied"), ASKED)
def test_a_lead_that_what_it_cites_denies_is_refused_in_every_language(
    language: str, question: str, affirmed: str, denied: str
) -> None:
    words = load_prose(language)
    for cited, right, wrong in ((affirmed, words.yes, words.no), (denied, words.no, words.yes)):
        evidence = [SourceText(cited, language)]
        assert check_sentence(f"{right}, {cited}", evidence, question).passed
        found = check_sentence(f"{wrong}, {cited}", evidence, question)
        assert not found.passed
        assert "it says" in found.fault or "is not what it cites says" in found.fault, found.fault


@pytest.mark.parametrize(("language", "question", "affirmed", "denied"), ASKED)
def test_a_denial_more_or_less_is_refused_in_every_language(
    language: str, question: str, affirmed: str, denied: str
) -> None:
    for cited, stated in ((affirmed, denied), (denied, affirmed)):
        assert check_sentence(cited, [SourceText(cited, language)], question).passed
        assert not check_sentence(stated, [SourceText(cited, language)], question).passed


def test_a_lead_without_more_is_borne_out_only_by_the_words_of_the_question() -> None:
    question, evidence = "Are foreign coins exchanged?", [SourceText("Foreign coins are not exchanged.", "en")]
    assert check_sentence("No, unfortunately not.", evidence, question).passed
    assert "says no" in check_sentence("Yes, of course.", evidence, question).fault
    unknown = check_sentence("No.", [SourceText("Coins go into the machine in the hall.", "en")], question)
    assert not unknown.passed
    assert unknown.doubtful == ("no", "")


def test_a_lead_of_which_nothing_speaks_is_doubtful_and_excuses_no_other_fault() -> None:
    question, evidence = "Does the tenant keep the key?", [SourceText("The key hangs beside the door.", "en")]
    found = check_sentence("Yes, the key hangs beside the door.", evidence, question)
    assert found.passed
    assert found.doubtful == ("yes", "the key hangs beside the door.")
    plain = check_sentence("the key hangs beside the door.", evidence, question)
    assert plain.doubtful == ("", "")
    free = [SourceText("Charities have the room free.", "en")]
    assert not check_sentence("Yes, charities have the room free.", free, "Does a charity pay for the room?").passed
    shoes = [SourceText("Closed shoes are compulsory.", "en")]
    assert not check_sentence("No, closed shoes are not compulsory.", shoes, "May I drive in sandals?").passed


@given(
    question=st.text(max_size=40), source=st.text(max_size=60), rest=st.text(max_size=40), language=st.sampled_from(
        (*PROSE_LANGUAGES, "sv")
    )
)  # fmt: skip
def test_yes_and_no_are_measured_alike(question: str, source: str, rest: str, language: str) -> None:
    yes = measure_lead(AnswerLead("yes", rest), question, source, language)
    no = measure_lead(AnswerLead("no", rest), question, source, language)
    assert set(yes) == set(LEAD_FEATURES)
    assert all(yes[name] == -no[name] for name in LEAD_FEATURES)
    assert not any(measure_lead(AnswerLead("", rest), question, source, language).values())
