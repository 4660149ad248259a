"""Tells what a text asks for: a multinomial logistic head over sentence embeddings, trained on a pack's utterances.

Promises the same weights for the same pack and embedder. Next: embedding.py; kept_vectors.py.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tidegate.schemas import TidegateError, Workload
from tidegate.schemas.pack import Intent, Pack, Verdict
from tidegate.services.knowledge.kept_vectors import KeptVectors
from tidegate.services.knowledge.text_embedder import TextEmbedder

FloatMatrix = NDArray[np.floating[Any]]

FOLDS = 5
PENALTIES = (3e-4, 1e-3)
STEPS = 200
HELD_OUT_STEPS = 80
"""Enough for what a temperature is fitted on; a third of the time that a new site waits for."""
MOST_SENTENCES = 400
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
RECIPE = 2
"""Raised when training changes, so that saved heads are trained again."""
VECTORS = "intent_vectors.safetensors"
"""Beside a head, what it was trained on, embedded: that takes twice as long as the training itself."""


class IntentHeadMissingError(TidegateError, FileNotFoundError):
    """There is no intent head that fits the embedding model."""

    hint = "run `tidegate up`, which prepares it"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"no intent head in {path}: {reason} ({self.hint})")


class Prediction(NamedTuple):
    """The likeliest intent, its calibrated probability, and those of all intents (they sum to 1).

    `harmless` is the probability that the text is the kind of thing that the site's own documents say.
    """

    intent: str
    probability: float
    probabilities: Mapping[str, float]
    harmless: float


class Samples(NamedTuple):
    """What a head is trained on: vectors (texts, dimensions + 1), and the row, fold and weight of each text."""

    vectors: FloatMatrix
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    weights: FloatMatrix


class IntentHead:
    """Weights (rows, dimensions + 1) and a temperature. `version` tells the utterances and the embedding apart.

    There is a row for each intent, and after them one for the site's own documents, if it was trained on any.
    """

    def __init__(
        self, intents: Sequence[Mapping[str, str]], weights: FloatMatrix, temperature: float, version: str
    ) -> None:
        """`intents`: id, verdict and workload of each row of `weights` but the documents'."""
        self.ids = tuple(intent["id"] for intent in intents)
        self.verdicts = {intent["id"]: intent["verdict"] for intent in intents}
        self.workloads: dict[str, Workload] = {intent["id"]: intent["workload"] for intent in intents}  # type: ignore[misc]
        self.weights = weights
        self.temperature = temperature
        self.version = version

    def predict(self, vector: NDArray[np.float32]) -> Prediction:
        """What the text of this unit vector asks for. Probabilities are calibrated on held-out utterances."""
        shares = softmax((_with_one(vector[None, :]) @ self.weights.T) / self.temperature)[0]
        asked = shares[: len(self.ids)]
        harmless = float(shares[len(self.ids) :].sum())
        asked = asked / asked.sum()
        best = int(asked.argmax())
        return Prediction(
            self.ids[best], float(asked[best]), dict(zip(self.ids, asked.tolist(), strict=True)), harmless
        )

    def unsafe_probability(self, prediction: Prediction) -> float:
        """The probability that the text asks for something unsafe, whichever of these intents it is.

        Words of the site's own documents speak against it: "vault", "report", "cash" are no crime in a bank.
        """
        return self.find_verdict(prediction, "unsafe")[1]

    def find_verdict(self, prediction: Prediction, verdict: Verdict) -> tuple[str, float]:
        """The likeliest intent of a verdict (empty: there is none) and the probability of all of them together."""
        shares = {key: share for key, share in prediction.probabilities.items() if self.verdicts[key] == verdict}
        likeliest = max(shares, key=lambda key: shares[key], default="")
        return likeliest, (1 - prediction.harmless) * sum(shares.values())

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        intents = [{"id": key, "verdict": self.verdicts[key], "workload": self.workloads[key]} for key in self.ids]
        about = json.dumps({"intents": intents, "temperature": self.temperature, "version": self.version})
        fresh.write_bytes(safetensors.numpy.save({"weights": self.weights}, {"about": about}))
        os.replace(fresh, path)

    @classmethod
    def load(cls, path: Path) -> IntentHead:
        """The saved head. Raises `IntentHeadMissingError` when there is none, or none that can be read."""
        try:
            with safe_open(path, framework="numpy") as saved:
                about: dict[str, Any] = json.loads(saved.metadata()["about"])
                weights: FloatMatrix = saved.get_tensor("weights")
            head = cls(about["intents"], weights, float(about["temperature"]), str(about["version"]))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise IntentHeadMissingError(path, str(error)) from error
        if weights.ndim != 2 or len(weights) - len(head.ids) not in (0, 1) or not np.isfinite(weights).all():
            raise IntentHeadMissingError(path, "it is damaged")
        return head


def make_version(intents: Sequence[Intent], embedder: TextEmbedder, documents: Sequence[str] = ()) -> str:
    """What a head trained on these texts over this embedding is called: digest, then the embedding's version."""
    about = [[intent.id, intent.verdict, intent.workload, *intent.utterances] for intent in intents]
    digest = hashlib.sha256(json.dumps([RECIPE, about, list(documents)]).encode()).hexdigest()
    return f"{digest[:12]}+{embedder.version}"


def train(intents: Sequence[Intent], embedder: TextEmbedder, documents: Sequence[str] = ()) -> IntentHead:
    """Fit weights (L2, full batch, so the same every time), then the temperature on out-of-fold predictions.

    `documents` are sentences that are certainly harmless; all together they weigh as much as one intent. Guo et al.,
    "On Calibration of Modern Neural Networks", 2017. Raises `ValueError` where there are not two
    kinds of text to tell apart.
    """
    if len(intents) + bool(documents) < 2:
        raise ValueError("a pack needs at least two intents, or one and documents, to tell apart")
    samples = embed_samples(intents, embedder, documents)
    fits = [(predict_held_out(samples, penalty), penalty) for penalty in PENALTIES]
    asked = samples.labels < len(intents)
    _, temperature, penalty = min(
        (*_temperature(logits[asked], samples.labels[asked]), penalty) for logits, penalty in fits
    )
    rows = [{"id": intent.id, "verdict": intent.verdict, "workload": intent.workload} for intent in intents]
    return IntentHead(rows, fit(samples, penalty), temperature, make_version(intents, embedder, documents))


def prepare_intents(pack: Pack, embedder: TextEmbedder, path: Path, known: Sequence[Path] = ()) -> IntentHead:
    """The head for the pack's intents, in `path`; trained unless the one that is there was trained on the same.

    Beside it are the vectors that it was trained on; what those have, or else the files `known` of earlier heads, is
    not embedded again.
    """
    documents = sample_sentences(pack)
    try:
        head = IntentHead.load(path)
    except IntentHeadMissingError:
        pass
    else:
        if head.version == make_version(pack.intents, embedder, documents):
            return head
    vectors = KeptVectors(embedder, (path.with_name(VECTORS), *known))
    head = train(pack.intents, vectors, documents)
    head.save(path)
    vectors.save(path.with_name(VECTORS))
    return head


def sample_sentences(pack: Pack) -> tuple[str, ...]:
    """Up to `MOST_SENTENCES` sentences, table rows and headings of the pack's documents, evenly spread, each once.

    They are those of the least digests: a document that comes or goes changes its share of the sample and no more.
    """
    lines = (line.strip("#-*>| \t") for document in pack.documents for line in SENTENCE_END.split(document.text))
    found = list(dict.fromkeys(line for line in lines if len(line.split()) > 2))
    chosen = set(
        heapq.nsmallest(
            MOST_SENTENCES, found, key=lambda line: hashlib.sha256(line.encode("utf-8", "surrogatepass")).digest()
        )
    )
    return tuple(line for line in found if line in chosen)


def embed_samples(intents: Sequence[Intent], embedder: TextEmbedder, documents: Sequence[str] = ()) -> Samples:
    """Embed all utterances and documents. An intent's utterances are dealt out to the folds in turn."""
    texts = [[*intent.utterances] for intent in intents] + ([[*documents]] if documents else [])
    labels = np.array([number for number, group in enumerate(texts) for _ in group])
    folds = np.array([position % FOLDS for group in texts for position, _ in enumerate(group)])
    vectors = np.stack([embedder.embed(text) for group in texts for text in group])
    weights = np.ones(len(labels))
    if documents:
        count = len(labels) - len(documents)
        weights[count:] = count / len(intents) / len(documents)
    return Samples(_with_one(vectors), labels, folds, weights)


def fit(samples: Samples, penalty: float, but_fold: int | None = None, steps: int = STEPS) -> FloatMatrix:
    """Weights that minimise mean cross entropy + penalty · |W|², by accelerated gradient (Nesterov, 1983).

    The curvature is at most λmax(XᵀSX)/2 + 2·penalty, and λmax at most the trace, which is 2: unit vectors and a one.
    """
    kept = samples.folds != but_fold
    vectors = samples.vectors[kept].astype(np.float32)
    share = (samples.weights[kept, None] / samples.weights[kept].sum()).astype(np.float32)
    wanted = np.eye(samples.labels.max() + 1, dtype=np.float32)[samples.labels[kept]]
    curvature = 1 + 2 * penalty
    weights = ahead = np.zeros((wanted.shape[1], vectors.shape[1]), np.float32)
    pace = 1.0
    for _ in range(steps):
        slope = (share * (softmax(vectors @ ahead.T) - wanted)).T @ vectors + 2 * penalty * ahead
        moved = ahead - slope / curvature
        faster = (1 + sqrt(1 + 4 * pace * pace)) / 2
        ahead = moved + (pace - 1) / faster * (moved - weights)
        weights, pace = moved, faster
    return weights


def predict_held_out(samples: Samples, penalty: float) -> FloatMatrix:
    """The logits of each text by weights that never saw its fold."""
    logits = np.zeros((len(samples.labels), samples.labels.max() + 1))
    for fold in set(samples.folds.tolist()):
        out = samples.folds == fold
        logits[out] = samples.vectors[out] @ fit(samples, penalty, but_fold=fold, steps=HELD_OUT_STEPS).T
    return logits


def softmax(logits: FloatMatrix) -> FloatMatrix:
    """Rows that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatMatrix = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def _temperature(logits: FloatMatrix, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The smallest mean cross entropy and the temperature that has it, on a grid 2 % apart.

    One more utterance is counted than there are, which could be of any intent: without it, intents that the folds
    never mistake would be believed without bound.
    """
    count, classes = logits.shape
    doubt = 1 / (count + 1)
    wanted = (1 - doubt) * np.eye(classes)[labels] + doubt / classes
    candidates = 0.05 * 1.02 ** np.arange(300)
    losses = [float(-(wanted * np.log(softmax(logits / t) + 1e-300)).sum(axis=1).mean()) for t in candidates]
    best = int(np.argmin(losses))
    return losses[best], float(candidates[best])


def _with_one(vectors: NDArray[Any]) -> FloatMatrix:
    return np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])
