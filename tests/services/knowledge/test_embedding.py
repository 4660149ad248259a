"""The embedding model: it reads every token, in any language, and one embedder serves all threads alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import ROOT
from tidegate.services.inference import OpenedModels
from tidegate.services.knowledge import embedding
from tidegate.services.knowledge.embedding import MODEL, WINDOW, Embedder, EmbeddingModelMissingError, read_version
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE

MODELS = ROOT / ".models"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load(MODELS)


ANSWERED = (
    ("When is the branch open at weekends?", "Opening hours: On Saturday from 9 to 12, on Sunday not at all."),
    ("Meine Karte wurde gestohlen, was soll ich tun?", "Cards › Loss: Have a stolen card blocked at once by phone."),
    ("¿Cuánto cuesta mandar dinero al extranjero?", "Überweisungen: Ins Ausland kostet eine Überweisung 4,50 €."),
    ("What do I need to open an account?", "Ouvrir un compte : Apportez une pièce d'identité."),
)


def test_a_question_is_nearest_to_what_answers_it_whatever_the_languages(embedder: Embedder) -> None:
    asked = np.stack([embedder.embed(question) for question, _ in ANSWERED])
    answers = np.stack([embedder.embed(text, "passage") for _, text in ANSWERED])
    cosines = asked @ answers.T
    assert cosines.argmax(axis=1).tolist() == list(range(len(ANSWERED)))
    assert cosines.diagonal().min() > cosines[~np.eye(len(ANSWERED), dtype=bool)].max()


def test_a_vector_has_unit_length_and_the_same_bytes_each_time(embedder: Embedder) -> None:
    for text in ("", "Hi", "word " * 4000, "Straße 東京 🚀"):
        vector = embedder.embed(text)
        assert vector.shape == (Embedder.DIMENSIONS,)
        assert vector.dtype == np.float32
        assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5
        with pytest.raises(ValueError, match="read-only"):
            vector[0] = 0.0
    fresh = Embedder(MODELS / MODEL)
    assert fresh.embed("Hi").tobytes() == embedder.embed("Hi").tobytes()
    assert fresh.version == embedder.version


def test_no_token_of_a_long_text_is_unread(embedder: Embedder) -> None:
    filler = "The hall was painted and the floor was swept. " * 60
    text = f"{filler}The strongroom is opened with key number seven."
    question = embedder.embed("Which key opens the strongroom?")
    assert question @ embedder.embed(text, "passage") > question @ embedder.embed(filler, "passage") + 0.02


def test_a_window_is_read_as_the_text_of_its_tokens(embedder: Embedder) -> None:
    words = " ".join(f"word{number}" for number in range(90))
    windows = embedder._windows(f"passage: {words}")
    whole = embedder.tokenizer.encode(f"passage: {words}").ids
    assert [token for window in windows for token in window[1:-1]] == whole
    assert max(map(len, windows)) <= WINDOW


def test_a_question_and_a_passage_of_the_same_words_are_not_the_same(embedder: Embedder) -> None:
    one, other = embedder.embed("opening hours"), embedder.embed("opening hours", "passage")
    assert 0.5 < float(one @ other) < 0.9999


def test_all_threads_get_the_vector_that_one_gets_alone(embedder: Embedder) -> None:
    fresh = Embedder(MODELS / MODEL)
    texts = [f"question number {number}" for number in range(12)]
    found: list[dict[str, bytes]] = [{} for _ in range(4)]

    def work(mine: dict[str, bytes]) -> None:
        for text in texts:
            mine[text] = fresh.embed(text).tobytes()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{text: embedder.embed(text).tobytes() for text in texts}] * 4


def test_the_text_that_was_used_least_lately_is_forgotten() -> None:
    fresh = Embedder(MODELS / MODEL, cached=2)
    first, second = fresh.embed("first"), fresh.embed("second")
    assert fresh.embed("first") is first
    fresh.embed("third")
    assert fresh.embed("first") is first
    assert fresh.embed("second") is not second


def test_stages_of_one_process_share_the_embedder() -> None:
    assert Embedder.load(MODELS) is Embedder.load(MODELS / "." / MODEL / "..")


def test_the_version_is_that_of_the_files_and_of_an_open_model_it_is_known_without_them(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(EmbeddingModelMissingError):
        read_version(tmp_path)
    opened = Embedder._opened
    monkeypatch.setattr(Embedder, "_opened", OpenedModels())
    assert read_version(MODELS) == embedder.version
    assert Embedder.opened(MODELS) is None, "it was not opened for that"
    monkeypatch.setattr(Embedder, "_opened", opened)
    monkeypatch.setattr(embedding, "_read_files", lambda _: pytest.fail("it is open"))
    assert read_version(MODELS) == embedder.version


def test_a_missing_or_altered_model_is_said_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingModelMissingError, match="make models"):
        Embedder.load(tmp_path)
    shutil.copytree(MODELS / MODEL, tmp_path / MODEL)
    with (tmp_path / MODEL / TOKENIZER_FILE).open("ab") as file:
        file.write(b" ")
    with pytest.raises(EmbeddingModelMissingError, match=r"tokenizer.model is not the file"):
        Embedder.load(tmp_path)


def test_the_manifest_vouches_for_the_int8_graphs() -> None:
    manifest = json.loads((MODELS / MODEL / "manifest.json").read_text())
    assert manifest["cosine_to_fp32"]["min"] >= 0.97
    assert manifest["dimensions"] == Embedder.DIMENSIONS


def test_importing_the_room_reports_to_nobody(tmp_path: Path) -> None:
    script = (
        "import tidegate.services.knowledge.embedding, pathlib, sys\n"
        "sys.exit(any('Microsoft' in str(path) for path in pathlib.Path(sys.argv[1]).rglob('*')))\n"
    )
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment, cwd=ROOT, timeout=60)
