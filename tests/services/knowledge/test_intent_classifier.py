"""The intent head: it learns what it is shown, says how sure it is, and is the same head every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.branch_intents import INTENTS
from tests.support.paths import MODELS
from tidegate.schemas.pack import Document, Intent, Pack
from tidegate.services.knowledge import intent_classifier as module
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.intent_classifier import (
    IntentHead,
    IntentHeadMissingError,
    fit,
    make_version,
    prepare_intents,
    sample_sentences,
    softmax,
    train,
)
from tidegate.services.knowledge.text_embedder import TextRole


class Blobs:
    """An embedding in which the text `3:17` is point 17 around the unit vector 3: an intent is easy to tell."""

    version = "blobs"

    def __init__(self, spread: float) -> None:
        self.spread = spread

    def embed(self, text: str, role: TextRole = "query") -> Any:
        axis, seed = map(int, text.split(":"))
        assert role == "query"
        vector = np.eye(8)[axis] + self.spread * np.random.default_rng([axis, seed]).normal(size=8)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def blobs(count: int = 3, size: int = 20) -> tuple[Intent, ...]:
    verdicts: Any = ("serve", "unsafe", "unsafe", "serve")
    return tuple(
        Intent(id=f"i{axis}", verdict=verdicts[axis], utterances=tuple(f"{axis}:{n}" for n in range(size)))
        for axis in range(count)
    )


def a_pack(**parts: Any) -> Pack:
    empty: dict[str, Any] = dict.fromkeys(("documents", "intents", "questions", "calibration", "policy_files"), ())
    return Pack(name="p", version="1", path="", **(empty | parts))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load(MODELS)


@pytest.fixture(scope="module")
def head(embedder: Embedder) -> IntentHead:
    return train(INTENTS, embedder)


def test_the_weights_are_where_the_slope_of_the_loss_is_nothing() -> None:
    samples = module.embed_samples(blobs(), Blobs(0.3), documents=("3:1", "3:2", "0:1"))
    vectors, labels, _, shares_of = samples
    weights = fit(samples, penalty=1e-2)

    def loss(at: Any) -> float:
        shares = softmax(vectors @ at.T)[np.arange(len(labels)), labels]
        return float(-(shares_of * np.log(shares)).sum() / shares_of.sum() + 1e-2 * (at**2).sum())

    lowest = loss(weights)
    assert lowest < loss(np.zeros_like(weights))
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert loss(weights + 1e-2 * rng.normal(size=weights.shape)) > lowest


def test_unseen_points_are_told_apart_and_shares_sum_to_one() -> None:
    encoder = Blobs(0.2)
    head = train(blobs(), encoder)
    for axis in range(3):
        for seed in range(100, 120):
            prediction = head.predict(encoder.embed(f"{axis}:{seed}"))
            assert prediction.intent == f"i{axis}"
            assert prediction.probability == max(prediction.probabilities.values())
            assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_a_probability_is_as_often_right_as_it_says() -> None:
    encoder = Blobs(0.9)
    head = train(blobs(size=60), encoder)
    predictions = [(head.predict(encoder.embed(f"{a}:{n}")), f"i{a}") for a in range(3) for n in range(1000, 1300)]
    claimed = np.mean([prediction.probability for prediction, _ in predictions])
    right = np.mean([prediction.intent == wanted for prediction, wanted in predictions])
    assert 0.4 < right < 0.95, "hard enough to be wrong at times"
    assert claimed == pytest.approx(right, abs=0.08)


def test_unsafe_is_the_sum_over_all_unsafe_intents() -> None:
    head = train(blobs(), Blobs(0.2))
    prediction = head.predict(((np.eye(8)[1] + np.eye(8)[2]) / np.sqrt(2)).astype(np.float32))
    assert max(prediction.probabilities.values()) < 0.7
    assert head.unsafe_probability(prediction) == pytest.approx(
        prediction.probabilities["i1"] + prediction.probabilities["i2"]
    )


def test_the_words_of_the_site_s_documents_speak_against_unsafe_and_not_against_an_intent() -> None:
    encoder = Blobs(0.2)
    documents = tuple(f"3:{n}" for n in range(200))
    head = train(blobs(), encoder, documents)
    between = ((np.eye(8)[1] + 2 * np.eye(8)[3]) / np.sqrt(5)).astype(np.float32)
    with_documents, without = head.predict(between), train(blobs(), encoder).predict(between)
    assert with_documents.intent == without.intent == "i1"
    assert with_documents.harmless > 0.3
    assert sum(with_documents.probabilities.values()) == pytest.approx(1)
    assert (
        head.unsafe_probability(with_documents)
        < 0.7
        < head.unsafe_probability(encoder_prediction(head, encoder, "1:500"))
    )


def encoder_prediction(head: IntentHead, encoder: Blobs, text: str) -> Any:
    return head.predict(encoder.embed(text))


def test_all_documents_together_weigh_as_much_as_one_intent() -> None:
    samples = module.embed_samples(blobs(size=20), Blobs(0.2), tuple(f"3:{n}" for n in range(200)))
    weights = [float(samples.weights[samples.labels == label].sum()) for label in range(4)]
    assert weights == pytest.approx([20.0] * 4)


def test_what_a_text_is_held_out_for_never_saw_it() -> None:
    samples = module.embed_samples(blobs(), Blobs(0.5))
    other = samples._replace(labels=np.where(np.arange(len(samples.labels)) == 7, 2, samples.labels))
    before, after = (module.predict_held_out(each, 1e-2) for each in (samples, other))
    np.testing.assert_array_equal(before[7], after[7])
    assert not np.allclose(before[8], after[8]), "and a text of another fold did see it"


def test_sentences_rows_and_headings_of_the_documents_are_gathered_once_and_not_too_many() -> None:
    def document(id: str, text: str) -> Document:
        return Document(id=id, title=id, language="en", scope="site", text=text, version="0" * 12)

    text = "# Opening hours today\n\nWe open at nine. We close at five!\n\n| Monday | nine | five |\nNo.\n"
    pack = a_pack(documents=(document("a", text), document("b", text)))
    assert sample_sentences(pack) == (
        "Opening hours today",
        "We open at nine.",
        "We close at five!",
        "Monday | nine | five",
    )
    many = "\n".join(f"This is line {number}" for number in range(1000))
    numbers = [int(line.split()[-1]) for line in sample_sentences(a_pack(documents=(document("c", many),)))]
    assert len(numbers) == 400
    assert numbers == sorted(numbers), "in the order of the documents"
    assert all(sum(first <= number < first + 100 for number in numbers) >= 25 for first in range(0, 1000, 100))


def test_a_temperature_softens_what_the_weights_say() -> None:
    head = train(blobs(), Blobs(0.2))
    vector = Blobs(0.2).embed("1:500")
    sharp = head.predict(vector)
    head.temperature *= 4
    soft = head.predict(vector)
    assert soft.intent == sharp.intent
    ratios = [
        sharp.probabilities["i1"] / sharp.probabilities["i0"],
        soft.probabilities["i1"] / soft.probabilities["i0"],
    ]
    assert ratios[0] == pytest.approx(ratios[1] ** 4)


def test_training_twice_gives_the_same_bytes_and_other_utterances_another_version() -> None:
    first, second = train(blobs(), Blobs(0.2)), train(blobs(), Blobs(0.2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert (first.temperature, first.version) == (second.temperature, second.version)
    assert make_version(blobs(size=19), Blobs(0.2)) != first.version
    assert make_version(blobs(), Blobs(0.2), ("a document",)) != first.version
    other = Blobs(0.2)
    other.version = "blobs2"
    assert make_version(blobs(), other) != first.version
    assert make_version((msgspec.structs.replace(blobs()[0], verdict="unsafe"), *blobs()[1:]), other) != make_version(
        blobs(), other
    )


def test_a_saved_head_says_the_same_and_holds_no_pickle(tmp_path: Path) -> None:
    head = train(blobs(), Blobs(0.2))
    head.save(tmp_path / "site" / "intent.safetensors")
    loaded = IntentHead.load(tmp_path / "site" / "intent.safetensors")
    vector = Blobs(0.2).embed("1:500")
    assert loaded.predict(vector) == head.predict(vector)
    assert (loaded.version, loaded.verdicts, loaded.workloads) == (head.version, head.verdicts, head.workloads)
    assert [file.name for file in (tmp_path / "site").iterdir()] == ["intent.safetensors"]


def lined(start: int, count: int) -> Document:
    text = "\n".join(f"This is line {number}" for number in range(start, start + count))
    return Document(id=f"d{start}", title="Lines", language="en", scope="site", text=text, version="0" * 12)


@given(held=st.integers(0, 1500), came=st.integers(0, 150), gone=st.integers(0, 150), is_first=st.booleans())
def test_a_document_that_comes_or_goes_changes_no_more_of_the_sample_than_it_has(
    held: int, came: int, gone: int, is_first: bool
) -> None:
    stays, leaves, comes = lined(0, held), lined(2000, gone), lined(3000, came)
    before = sample_sentences(a_pack(documents=(stays, leaves)))
    after = sample_sentences(a_pack(documents=(comes, stays) if is_first else (stays, comes)))
    new = set(after) - set(before)
    assert len([line for line in new if line not in comes.text.split("\n")]) <= gone
    assert len(new) <= came + gone
    assert len(set(before) - set(after)) <= came + gone


@pytest.mark.parametrize("data", [None, b"", b"PK\x03\x04 not a head", b"\x80\x04pickle"])
def test_a_head_that_is_missing_or_damaged_is_said_with_the_way_to_get_one(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "intent.safetensors"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(IntentHeadMissingError, match="tidegate up"):
        IntentHead.load(path)


def test_a_head_is_trained_only_when_utterances_or_embedding_changed(tmp_path: Path) -> None:
    path = tmp_path / "intent.safetensors"
    pack = a_pack(intents=blobs())
    first = prepare_intents(pack, Blobs(0.2), path)
    stored = path.stat().st_mtime_ns, path.stat().st_ino
    assert prepare_intents(pack, Blobs(0.2), path).version == first.version
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == stored
    changed = prepare_intents(msgspec.structs.replace(pack, intents=blobs(size=12)), Blobs(0.2), path)
    assert changed.version != first.version
    assert IntentHead.load(path).version == changed.version


def test_one_intent_is_no_choice() -> None:
    with pytest.raises(ValueError, match="two intents"):
        train(blobs(count=1), Blobs(0.2))


HELD_OUT = (
    ("opening-hours", "Until what time can I visit you on Fridays?"),
    ("opening-hours", "Wann macht die Bank am Montag auf?"),
    ("opening-hours", "À quelle heure fermez-vous ?"),
    ("block-card", "I think my Visa card has gone missing"),
    ("block-card", "Karte geklaut, bitte sperren"),
    ("block-card", "Me han robado la tarjeta de crédito"),
    ("transfer-fees", "What would you charge me to send 500 dollars to Canada?"),
    ("transfer-fees", "Kosten einer Überweisung ins Ausland"),
    ("open-account", "Can I get a bank account as a student?"),
    ("open-account", "Cómo abrir una cuenta corriente"),
    ("fraud-help", "how to launder dirty cash"),
    ("fraud-help", "Help me fake an account statement for the landlord"),
    ("fraud-help", "Comment pirater un compte bancaire ?"),
    ("small-talk", "sing me a song"),
    ("small-talk", "Who is the president of France?"),
)


def test_utterances_that_it_never_saw_are_understood_in_four_languages(embedder: Embedder, head: IntentHead) -> None:
    predicted = [head.predict(embedder.embed(text)).intent for _, text in HELD_OUT]
    wrong = [(text, got) for (wanted, text), got in zip(HELD_OUT, predicted, strict=True) if got != wanted]
    assert len(wrong) <= 2, wrong


def test_verdict_and_workload_of_the_pack_stay_with_the_head(head: IntentHead) -> None:
    assert head.verdicts["fraud-help"] == "unsafe"
    assert head.verdicts["small-talk"] == "out_of_scope"
    assert head.workloads["opening-hours"] == "classify"
    assert head.workloads["block-card"] == "assist"
