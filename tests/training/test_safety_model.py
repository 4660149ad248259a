"""The safety head: its graph against numpy, messages split by meaning, operating points within their bounds."""

from __future__ import annotations

import math
import random
from pathlib import Path
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
    reopen,
    retype,
    split_by_meaning,
)
from tidegate.infra.models.evaluation import safety
from tidegate.infra.models.evaluation.safety import (
    AIMS,
    HARD,
    PLAIN,
    Points,
    choose_points,
    points_by_language,
    points_of_others,
    pool,
)
from tidegate.infra.models.export import encoder_graph, int8_weights
from tidegate.infra.models.export.safety_graph import build_safety
from tidegate.infra.models.export.session import open_session

HEADS, WIDTH = 3, 12
LABELS = ("harmless", "hard_harmless", "unsafe", "injection", "distress", "out_of_scope", "smalltalk")


@pytest.mark.parametrize(
    ("text", "language", "opened"),
    [
        ("How do I pick a lock?", "en", "How can I pick a lock?"),
        ("Wie fälsche ich die Unterschrift?", "de", "Wie kann ich die Unterschrift fälschen?"),
        ("Comment imiter une signature ?", "fr", "Comment puis-je imiter une signature ?"),
        ("Comment ça va ?", "fr", "Comment ça va ?"),
        ("Jak otworzyć zamek?", "pl", "Jak mogę otworzyć zamek?"),
        ("The door is open.", "en", "The door is open."),
    ],
)
def test_a_question_is_opened_otherwise_where_there_is_a_way(text: str, language: str, opened: str) -> None:
    assert reopen(text, language) == opened


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


def unit_vectors(rng: np.random.Generator, ideas: int, each: int) -> np.ndarray[Any, Any]:
    """So many vectors around each of so many directions."""
    near = np.repeat(rng.normal(0, 1, (ideas, 64)), each, axis=0) + rng.normal(0, 0.05, (ideas * each, 64))
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True))


def test_messages_that_say_the_same_share_a_fold_and_all_folds_are_used() -> None:
    vectors = unit_vectors(np.random.default_rng(1), ideas=60, each=3)
    assert (vectors[::3] * vectors[1::3]).sum(1).min() > ALIKE
    folds = folds_by_meaning(vectors).reshape(60, 3)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel().tolist()) == set(range(FOLDS))


def test_nothing_that_is_learned_says_what_is_measured_and_each_message_is_measured_once() -> None:
    vectors = unit_vectors(np.random.default_rng(2), ideas=60, each=6)
    data, own, other = (np.arange(start, 360, 6) for start in (0, 1, 2))
    order = np.concatenate((data, own, other))
    parts = [[Message(f"{row}", "en", "unsafe") for row in rows.tolist()] for rows in (data, own, other)]
    measured: list[str] = []
    for fold in range(FOLDS):
        (trained, *held), folds = split_by_meaning(parts[0], parts[1], parts[2], vectors[order], fold)
        assert [len(each) for each in held] == [int((folds[:60] == fold).sum()), int((folds[60:] == fold).sum())]
        learned, asked = ({int(each.text) // 6 for each in some} for some in (trained, held[0] + held[1]))
        assert asked
        assert not learned & asked
        assert len(learned) + len(asked) == 60
        measured += [each.text for some in held for each in some]
    assert sorted(measured) == sorted(each.text for each in parts[0] + parts[1])


def test_a_message_kept_here_that_says_what_is_measured_is_left_out_though_its_group_is_another() -> None:
    angles = np.radians([0.0, 48.0, 100.0])  # the second is alike to both, and in the group of the first
    vectors = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    assert math.cos(math.radians(52)) > ALIKE > math.cos(math.radians(100))
    first, second, third = (Message(name, "en", "unsafe") for name in ("first", "second", "third"))
    order = vectors[[0, 2, 1]]
    folds = split_by_meaning([first, third], [second], [], order, None)[1].tolist()
    assert folds[0] == folds[2] != folds[1]
    (trained, data, own), _ = split_by_meaning([first, third], [second], [], order, folds[1])
    assert (trained, data, own) == ([first], [third], [])
    assert split_by_meaning([first, third], [second], [], order, None)[0] == ([first, third, second], [], [])


class TableStates:
    """The states of a text are those of its only word."""

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(text.removeprefix("query: ").encode())

    def of(self, ids: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return np.random.default_rng(sum(ids)).normal(0, 1, (len(ids), WIDTH)).astype(np.float16)


def test_each_fold_is_judged_by_the_head_that_was_kept_from_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encoder_graph, "HEADS", HEADS)
    monkeypatch.setattr(safety, "UPPER", range(2))
    weights = random_weights(layers=2, width=WIDTH, inner=20, words=5, seed=7)
    for fold in range(FOLDS):
        bias = np.where(np.arange(len(CLASSES)) == fold, 50.0, 0.0).astype(np.float32)
        classes = {"classes.weight": np.zeros((len(CLASSES), 2 * WIDTH), np.float32), "classes.bias": bias}
        int8_weights.save(tmp_path / f"fold-{fold}.safetensors", weights | classes)
    messages = [Message(str(number), "en", "unsafe") for number in range(3 * FOLDS)]
    folds = np.arange(len(messages)) % FOLDS
    states: Any = TableStates()
    shares = safety.judge(tmp_path, messages, folds, states)
    assert shares.argmax(axis=1).tolist() == folds.tolist()


def test_only_folds_that_a_head_has_not_seen_are_measured(tmp_path: Path) -> None:
    folds = np.array([0, 2, 1, 2, 0, 1])
    np.savez(tmp_path / "folds.npz", folds=folds)
    for fold in (0, 2):
        (tmp_path / f"fold-{fold}.safetensors").touch()
    data, own = ([Message(name, "en", "unsafe") for name in names] for names in ("abcd", "ef"))
    parts, kept = safety.select_measured(tmp_path, data, own)
    assert ["".join(each.text for each in part) for part in parts] == ["abd", "e"]
    assert kept.tolist() == [0, 2, 2, 0]


def shares_like(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Probabilities of 200 messages a label, of which the right class is likeliest in most."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(LABELS, 200)
    right = [CLASSES.index(label) for label in labels]
    logits = rng.normal(0, 1, (len(labels), len(CLASSES)))
    logits[np.arange(len(labels)), right] += 3.0
    exact = np.exp(logits)
    return exact / exact.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("seed", range(3))
def test_the_points_keep_the_bounds_and_withhold_most_of_the_rest(seed: int) -> None:
    shares, labels = shares_like(seed)
    points = choose_points(shares, labels)
    harm = shares[:, CLASSES.index("unsafe")] + shares[:, CLASSES.index("injection")]
    helped = shares[:, CLASSES.index("distress")] >= points.distress
    withheld = ~helped & (harm >= points.unsafe)
    for stopped in (helped, withheld):
        assert stopped[labels == "hard_harmless"].mean() <= HARD
        assert stopped[labels == "harmless"].mean() <= max(PLAIN, 1 / 200)
    assert withheld[np.isin(labels, ("unsafe", "injection"))].mean() > 0.5
    assert helped[labels == "distress"].mean() > 0.5


def test_help_begins_no_lower_than_its_aim_asks_for_and_takes_nothing_from_what_is_withheld() -> None:
    shares, labels = shares_like(4)
    clear = shares.copy()
    clear[:, CLASSES.index("distress")] = 0.001
    rows = np.flatnonzero(labels == "distress")
    clear[rows, CLASSES.index("distress")] = np.linspace(0.3, 0.97, len(rows))
    points = choose_points(clear, labels)
    helped = clear[rows, CLASSES.index("distress")] >= points.distress
    assert AIMS["distress"] <= helped.mean() < AIMS["distress"] + 0.05
    alarmed = clear.copy()
    hard = np.flatnonzero(labels == "hard_harmless")[: int(200 * HARD)]
    alarmed[hard, CLASSES.index("distress")] = 0.9  # as many as may be helped by mistake; none the fewer withheld
    assert choose_points(alarmed, labels).unsafe <= points.unsafe


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
