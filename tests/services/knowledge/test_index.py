"""What a question finds: exact passages, its own language first, by its words and by its meaning."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH, FEES, document
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.fusion import fuse_rankings
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.thesaurus import rewrite_query


@pytest.fixture
def index(tmp_path: Path) -> HybridIndex:
    return branch_index(tmp_path / "index")


def test_a_passage_names_its_document_its_version_and_its_exact_characters(index: HybridIndex) -> None:
    text = "what does a banker's draft cost"
    best = index.search(text, LETTERS.embed(text), 3, "en")[0]
    assert (best.document_id, best.document_version) == ("fees", BRANCH[0].version)
    assert FEES[best.start : best.end] == best.text
    assert best.bm25 > 0.0
    assert best.heading == "Fees"


def test_a_question_finds_its_own_language_by_its_own_stems(index: HybridIndex) -> None:
    assert found(index, "Ist die Filiale am Freitag offen?", 1, "de") == ["stunden"]
    assert found(index, "Wann öffnen Filialen?", 1, "de") == ["stunden"]


def test_languages_that_share_an_analyzer_are_kept_apart(tmp_path: Path) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS)
    index.upsert(
        [document("sv", "# Mynt\n\nDe automaat telt.", "sv"), document("da", "# Mønter\n\nDe automaat.", "da")]
    )
    for language in ("sv", "da"):
        first, second = index.search("automaat", LETTERS.embed("automaat"), 2, language)
        assert (first.language, first.bm25 > 0.0) == (language, True)
        assert second.language != language


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("it", "Il biglietto ridotto costa cinque euro.", "Quanto costano i biglietti ridotti?"),
        ("pt", "O bilhete reduzido custa cinco euros.", "Quanto custam os bilhetes reduzidos?"),
        ("nl", "Honden blijven buiten.", "Waar blijft mijn hond?"),
        ("pl", "Opłata za kartę: 5 złotych.", "Ile trzeba za karty i opłaty?"),
    ],
)
def test_a_language_of_ours_is_stemmed_and_its_question_words_are_not_looked_for(
    tmp_path: Path, language: str, text: str, question: str
) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS)
    index.upsert([document("held", text, language), document("other", "zzz", language)])
    best = index.search(question, LETTERS.embed(question), 1, language)[0]
    assert (best.document_id, best.bm25 > 0.0) == ("held", True)
    asked = find_terms(question, language)
    assert set(asked) <= set(find_terms(text, language))
    assert index.stated_terms(asked, language) == frozenset(asked)


def test_where_its_own_language_has_nothing_another_may_answer(index: HybridIndex) -> None:
    assert found(index, "600 coins", 3, "fr")[0] in {each.id for each in BRANCH}


def test_no_question_is_too_odd(index: HybridIndex) -> None:
    for text in ("", "   ", "AND OR NOT (", 'body_en:"x', "<IBAN_0a1b2c3d4e5f>", "\x00", "?" * 500):
        index.search(text, LETTERS.embed(text), 5, "xx")
    assert index.search("fees", LETTERS.embed("fees"), 0, "en") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("I am <NAME_0a1b2c3d4e5f>. What does a draft cost?", "I am . What does a draft cost?"),
        ("word " * 70 + "end. What does a draft cost?", "What does a draft cost?"),
        ("word " * 70, ("word " * 70).strip()),
        ("What does a draft cost", "What does a draft cost"),
        ("I lost my card. Why?", "I lost my card. Why?"),
        ("Is <IBAN_0a1b2c3d4e5f> an account with a fee?", "Is an account with a fee?"),
    ],
)
def test_what_is_looked_for_is_what_is_asked_and_no_token(text: str, query: str) -> None:
    assert rewrite_query(text) == query


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.permutations(range(6)).flatmap(lambda p: st.integers(0, 6).map(lambda n: p[:n])), max_size=4))
def test_fusion_ranks_every_key_once_and_never_below_one_that_is_behind_it_everywhere(
    rankings: list[list[int]],
) -> None:
    ranked = fuse_rankings(*rankings)
    keys = [key for key, _ in ranked]
    assert sorted(keys) == sorted({key for ranking in rankings for key in ranking})
    assert all(one >= two for (_, one), (_, two) in itertools.pairwise(ranked))
    for one in keys:
        for two in keys:
            positions = [(r.index(one), r.index(two) if two in r else 99) for r in rankings if one in r]
            behind = all(a < b for a, b in positions) and all(one in r for r in rankings if two in r)
            if one != two and positions and behind:
                assert keys.index(one) < keys.index(two)


def test_fusion_is_reciprocal_rank_with_sixty() -> None:
    assert fuse_rankings(["a", "b"], ["b"]) == [("b", 1 / 62 + 1 / 61), ("a", 1 / 61)]


def test_by_meaning_a_question_finds_what_shares_no_word_with_it(tmp_path: Path) -> None:
    embedder = Embedder.load(Path(".models"))
    index = HybridIndex.open(tmp_path / "i", embedder)
    index.upsert(BRANCH)
    text = "identification papers required for a new customer"
    best = index.search(text, embedder.embed(text), 1, "en")[0]
    assert best.heading == "Fees › What you need"
    assert best.similarity > 0.3
