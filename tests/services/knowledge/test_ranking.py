"""What the reader's graph is given, and how units are ranked by learned weights."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.services.knowledge.reader.pairs import logits_of_units, pack_pairs
from tidegate.services.knowledge.reader.ranking import Fitted, RankingModel, UnitSignals, describe_units
from tidegate.services.knowledge.reader.windows import Piece, Window

ONE = Window((0, 9, 5, 6, 2), (Piece(0, 1, 2, ((0, 4),)), Piece(1, 2, 4, ((0, 3), (3, 8)))))
TWO = Window((0, 7, 2), (Piece(1, 1, 2, ((8, 9),)),))


def test_a_pair_is_the_question_followed_by_the_window() -> None:
    rng = np.random.default_rng(1)
    question, *windows = (rng.normal(size=(length, 4)).astype(np.float16) for length in (3, 5, 3))
    packed = pack_pairs(question, [ONE, TWO], windows)
    assert packed["states"].shape == (2, 8, 4)
    np.testing.assert_array_equal(packed["states"][1, :6], np.concatenate([question, windows[1]]).astype(np.float32))
    assert packed["parts"].tolist() == [[0] * 3 + [1] * 5, [0] * 3 + [1] * 3 + [0] * 2]
    assert packed["attention_mask"].sum(axis=1).tolist() == [8, 6]
    assert packed["rows"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(packed["pooling"][1], [0, 0, 0, 0, 0, 0.5, 0.5, 0])
    np.testing.assert_allclose(packed["pooling"].sum(axis=1), 1.0)


def test_a_unit_in_pieces_has_the_logit_of_its_best_piece() -> None:
    whole = Window(ONE.ids, (*ONE.pieces, Piece(1, 4, 5, ((8, 9),))))
    assert logits_of_units([whole, TWO], np.array([-1.0, 0.5, 2.0, -3.0], np.float32)) == [{0: -1.0, 1: 2.0}, {1: -3.0}]


def fitted(weights: dict[str, float], bias: float = 0.0) -> Fitted:
    zeros, ones = (0.0,) * len(weights), (1.0,) * len(weights)
    return Fitted(tuple(weights), zeros, ones, tuple(weights.values()), bias)


def model() -> RankingModel:
    return RankingModel(
        unread=fitted({"cosine": 1.0}),
        read=fitted({"cosine": 1.0, "logit": 1.0}),
        unread_confidence=fitted({"cosine": 2.0}),
        read_confidence=fitted({"logit": 1.0}),
    )


def unit(document: str, text: str, cosine: float, logit: float | None = None) -> UnitSignals:
    return UnitSignals(document, text, f"T: {text}", cosine, 0.0, 0.0, logit)


def test_a_reader_moves_the_ranking_and_its_absence_leaves_retrieval() -> None:
    unread = [unit("a", "one", 0.6), unit("b", "two", 0.5)]
    assert model().rank("Which?", unread).order == (0, 1)
    read = [unit("a", "one", 0.6, -2.0), unit("b", "two", 0.5, 1.0)]
    ranked = model().rank("Which?", read)
    assert ranked.order == (1, 0)
    assert ranked.confidence == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert model().rank("Which?", [read[0], unread[1]]).order == (0, 1)
    assert model().rank("Which?", []).order == ()


def test_values_and_numbers_that_are_asked_for_are_looked_for() -> None:
    units = [unit("a", "It costs €5 in 2024.", 0.1), unit("a", "It is blue.", 0.3)]
    table = describe_units("How much does it cost in 2024?", units)
    assert table["kind"].tolist() == [1.0, -1.0]
    assert table["numbers"].tolist() == [1.0, 0.0]
    assert table["document"].tolist() == pytest.approx([0.2, 0.2])
