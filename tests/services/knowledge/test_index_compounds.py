"""German documents are found by the parts of their compounds, and by those of a question's compounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS
from tests.support.corpus import document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import STEMMED, KeywordLeg, KeywordRow, find_parts, find_terms
from tidegate.services.languages.stemming import STEMMED_HERE

OTHERS = tuple(
    document(f"other{number}", text, "de")
    for number, text in enumerate(["Der Park schließt abends.", "Hunde bleiben draußen.", "Montags ist Ruhetag."])
)


def find_by_words(path: Path, text: str, question: str) -> bool:
    """Whether a document of this text is the only one among others of which the question states a word."""
    index = HybridIndex.open(path, LETTERS)
    index.upsert([document("held", text, "de"), *OTHERS])
    stated = [each.document_id for each in index.search(question, LETTERS.embed(question), 8, "de") if each.bm25 > 0.0]
    index.close()
    return stated == ["held"]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Eine Kartensperrung ist jederzeit möglich.", "Wie kann ich meine Karte sperren?"),
        ("Kontoführungsgebühr: 3 €.", "Wie hoch ist die Gebühr für das Konto?"),
        ("Sie kostet 2 €: die Gebühr einer Überweisung.", "Überweisungsgebühr?"),
        ("Die Karte verschickt die Bank per Post.", "Kartenversand"),
        ("Die Schichtpläne hängen aus.", "Wo ist der Plan der Schicht?"),
        ("Fundbüro im Standesamt.", "Welches Amt?"),
    ],
)
def test_a_compound_and_its_parts_find_each_other(tmp_path: Path, text: str, question: str) -> None:
    assert set(find_terms(text, "de")).isdisjoint(find_terms(question, "de"))
    assert find_by_words(tmp_path / "i", text, question)


def test_the_word_itself_is_found_before_its_parts(tmp_path: Path) -> None:
    leg = KeywordLeg(tmp_path / "leg")
    texts = ["Gebühr einer Überweisung", "Überweisungsgebühr einer Bank", "Überweisung"]
    leg.replace(KeywordRow(number=n, mark=n, language="de", head="", body=text) for n, text in enumerate(texts))
    hits = leg.refresh().search("Überweisungsgebühr", "de", 3, lambda numbers: {n: ("", n) for n in numbers})
    assert [number for number, _ in hits] == [1, 0, 2]


def test_a_question_for_a_part_finds_a_head_that_holds_it(tmp_path: Path) -> None:
    leg = KeywordLeg(tmp_path / "leg")
    leg.replace([KeywordRow(number=4, mark=1, language="de", head="Kartensperrung", body="Rufen Sie uns an.")])
    assert leg.refresh().search("Karte", "de", 3, lambda numbers: {n: ("", n) for n in numbers})


def test_a_part_is_no_term_that_a_document_states(tmp_path: Path) -> None:
    """What is known and weighed by words, as a thesaurus and a reader do, stays what whole words say."""
    index = HybridIndex.open(tmp_path / "i", LETTERS)
    index.upsert([document("held", "Eine Kartensperrung ist jederzeit möglich.", "de"), *OTHERS])
    assert index.stated_terms(find_terms("Kartensperrung Karte", "de"), "de") == set(find_terms("Kartensperrung", "de"))
    assert find_terms("Kartensperrung", "de") == ("kartensperr",)


@pytest.mark.parametrize("language", sorted({*STEMMED, *STEMMED_HERE, "xx", "sv"} - {"de"}))
def test_other_languages_have_no_parts(language: str) -> None:
    assert find_parts("Kartensperrung", language) == ()
