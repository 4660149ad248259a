"""The safety head: its graph against numpy, messages split by meaning, operating points within their bounds."""

from __future__ import annotations

import random
from typing import Any, get_args

import numpy as np
import pytest

from tests.support.tiny_encoder import embed_ids, encode, linear, random_linear, random_weights
from tidegate.infra.models.data.messages import (
    ALIKE,
    CLASSES,
    FOLDS,
    Label,
    Message,
    folds_by_meaning,
    load_frames,
    load_own,
    retype,
)
from tidegate.infra.models.evaluation.safety import (
    HARD,
    PLAIN,
    Points,
    choose_points,
    points_by_language,
    points_of_others,
    pool,
)
from tidegate.infra.models.export import encoder_graph
from tidegate.infra.models.export.multilingual import open_session
from tidegate.infra.models.export.safety_graph import build_safety

HEADS, WIDTH = 3, 12
LABELS = ("harmless", "hard_harmless", "unsafe", "injection", "distress", "out_of_scope", "smalltalk")


def test_the_graph_computes_what_numpy_does_and_padding_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_graph, "HEADS", HEADS)
    weights = random_weights(layers=2, width=WIDTH, inner=20, words=50, seed=7)
    classes = random_linear(np.random.default_rng(3), "classes", len(CLASSES), 2 * WIDTH)
    weights |= {name: value.astype(np.float32) for name, value in classes.items()}
    session = open_session(build_safety(weights, range(2)).SerializeToString())
    texts = ([5, 9, 44, 3, 17], [1, 2], [30])
    states = np.zeros((len(texts), 5, WIDTH), np.float32)
    mask = np.zeros((len(texts), 5), np.int64)
    for row, text in enumerate(texts):
        states[row, : len(text)], mask[row, : len(text)] = embed_ids(weights, text), 1
    found = session.run(None, {"states": states, "attention_mask": mask})[0]
    for row, text in enumerate(texts):
        x = encode(weights, embed_ids(weights, text), range(2), HEADS)
        expected = linear(weights, np.concatenate((x.mean(0), x[0])), "classes")
        np.testing.assert_allclose(found[row], expected, atol=5e-5)


def test_messages_that_say_the_same_share_a_fold_and_all_folds_are_used() -> None:
    rng = np.random.default_rng(1)
    ideas = rng.normal(0, 1, (60, 64))
    near = np.repeat(ideas, 3, axis=0) + rng.normal(0, 0.05, (180, 64))
    vectors = near / np.linalg.norm(near, axis=1, keepdims=True)
    assert (vectors[::3] * vectors[1::3]).sum(1).min() > ALIKE
    folds = folds_by_meaning(vectors).reshape(60, 3)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel().tolist()) == set(range(FOLDS))


def shares_like(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Probabilities of 200 messages a label, of which the right class is likeliest in most."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(LABELS, 200)
    right = [CLASSES.index("harmless" if label == "hard_harmless" else label) for label in labels]
    logits = rng.normal(0, 1, (len(labels), len(CLASSES)))
    logits[np.arange(len(labels)), right] += 3.0
    exact = np.exp(logits)
    return exact / exact.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("seed", range(3))
def test_the_points_keep_the_bounds_and_withhold_most_of_the_rest(seed: int) -> None:
    shares, labels = shares_like(seed)
    points = choose_points(shares, labels)
    harm = shares[:, CLASSES.index("unsafe")] + shares[:, CLASSES.index("injection")]
    stopped = (harm >= points.unsafe) | (shares[:, CLASSES.index("distress")] >= points.distress)
    assert stopped[labels == "hard_harmless"].mean() <= HARD
    assert stopped[labels == "harmless"].mean() <= max(PLAIN, 1 / 200)
    assert stopped[np.isin(labels, ("unsafe", "injection"))].mean() > 0.5


def test_a_language_s_points_lie_nearer_to_its_own_the_more_messages_it_has() -> None:
    own, common = Points(0.2, 0.2, 0.2), Points(0.9, 0.9, 0.9)
    few, many = pool(own, common, 10).unsafe, pool(own, common, 500).unsafe
    assert own.unsafe < many < few < common.unsafe


def test_what_is_kept_here_has_labels_in_eight_languages_and_says_nothing_twice() -> None:
    own = load_own()
    assert {each.label for each in own} <= set(get_args(Label))
    assert {each.language for each in own} == {"en", "de", "fr", "es", "it", "pt", "nl", "pl"} == set(load_frames())
    assert len({each.text for each in own}) == len(own) > 1500
    for language in {each.language for each in own}:
        here = [each.label for each in own if each.language == language]
        assert min(here.count(label) for label in ("unsafe", "hard_harmless", "injection", "distress")) >= 10


@pytest.mark.parametrize("text", ["Wo {ist} der Eingang?", "?", "a", "¿Cuánto cuesta?"])
def test_another_way_to_type_keeps_the_letters_and_the_label(text: str) -> None:
    rng = random.Random(5)
    typed = [retype(Message(text, "de", "unsafe", "x"), rng) for _ in range(200)]
    assert {(each.label, each.language, each.category) for each in typed} == {("unsafe", "de", "x")}
    letters = sorted(letter for letter in text.lower() if letter.isalnum())
    unframed = [each.text for each in typed if len(each.text) <= len(text)]
    assert len(unframed) > 50
    assert all(sorted(letter for letter in each.lower() if letter.isalnum()) == letters for each in unframed)
    assert len({each.text for each in typed}) > 3


def test_a_message_is_measured_at_points_that_it_had_no_part_in() -> None:
    shares, labels = shares_like(3)
    messages = [Message(str(number), "en", label) for number, label in enumerate(labels)]
    vectors = np.eye(len(messages))
    parts = folds_by_meaning(vectors)
    own = points_of_others(shares, messages, vectors)
    part = parts[0]
    changed = shares.copy()
    changed[parts == part] = changed[parts == part][::-1]
    assert points_of_others(changed, messages, vectors)[0] == own[0]
    assert points_by_language(changed, messages)["en"] != points_by_language(shares, messages)["en"]
    assert len(set(own)) > 1
