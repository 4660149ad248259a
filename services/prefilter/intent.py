"""Tells what a text asks for: a multinomial logistic head over sentence embeddings, trained on a pack's utterances."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from schemas import Workload
from schemas.pack import Intent, Pack

Matrix = NDArray[np.float64]

MAX_TOKENS = 32
FOLDS = 5
PENALTIES = (3e-4, 1e-3, 3e-3)
STEPS = 300
RECIPE = 1
"""Raised when training changes, so that saved heads are trained again."""


class Encoder(Protocol):
    """What turns a text into a unit vector."""

    version: str

    def embed(self, text: str, max_tokens: int = ...) -> NDArray[np.float32]: ...


class HeadMissing(FileNotFoundError):
    """There is no intent head that fits the embedding model; `hint` says how to get one."""

    def __init__(self, path: Path, reason: str) -> None:
        self.hint = "run `tidegate up`, which prepares it"
        super().__init__(f"no intent head in {path}: {reason} ({self.hint})")


class Prediction(NamedTuple):
    """The likeliest intent, its calibrated probability, and those of all intents (they sum to 1)."""

    intent: str
    probability: float
    probabilities: Mapping[str, float]


class IntentHead:
    """Weights (intents, dimensions + 1) and a temperature. `version` tells the utterances and the embedding apart."""

    def __init__(self, intents: Sequence[Mapping[str, str]], weights: Matrix, temperature: float, version: str) -> None:
        """`intents`: id, verdict and workload of each row of `weights`."""
        self.ids = tuple(intent["id"] for intent in intents)
        self.verdicts = {intent["id"]: intent["verdict"] for intent in intents}
        self.workloads: dict[str, Workload] = {intent["id"]: intent["workload"] for intent in intents}  # type: ignore[misc]
        self.weights = weights
        self.temperature = temperature
        self.version = version

    def predict(self, vector: NDArray[np.float32]) -> Prediction:
        """What the text of this unit vector asks for. Probabilities are calibrated on held-out utterances."""
        shares = softmax((_with_one(vector[None, :]) @ self.weights.T) / self.temperature)[0]
        best = int(shares.argmax())
        return Prediction(self.ids[best], float(shares[best]), dict(zip(self.ids, shares.tolist(), strict=True)))

    def unsafe(self, prediction: Prediction) -> float:
        """The probability that the text asks for something unsafe, whichever of these intents it is."""
        return sum(share for key, share in prediction.probabilities.items() if self.verdicts[key] == "unsafe")

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        intents = [{"id": key, "verdict": self.verdicts[key], "workload": self.workloads[key]} for key in self.ids]
        about = json.dumps({"intents": intents, "temperature": self.temperature, "version": self.version})
        with fresh.open("wb") as file:
            np.savez(file, weights=self.weights, about=np.array(about))
        os.replace(fresh, path)

    @classmethod
    def load(cls, path: Path) -> IntentHead:
        """The saved head. Raises `HeadMissing` when there is none, or none that can be read."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                about: dict[str, Any] = json.loads(str(saved["about"]))
                weights: Matrix = saved["weights"]
            head = cls(about["intents"], weights, float(about["temperature"]), str(about["version"]))
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise HeadMissing(path, str(error)) from error
        if weights.ndim != 2 or len(head.ids) != len(weights) or not np.isfinite(weights).all():
            raise HeadMissing(path, "it is damaged")
        return head


def version_of(intents: Sequence[Intent], encoder: Encoder) -> str:
    """What a head trained on these utterances over this embedding is called: digest, then the embedding's version."""
    about = [[intent.id, intent.verdict, intent.workload, *intent.utterances] for intent in intents]
    digest = hashlib.sha256(json.dumps([RECIPE, about]).encode()).hexdigest()
    return f"{digest[:12]}+{encoder.version}"


def train(intents: Sequence[Intent], encoder: Encoder) -> IntentHead:
    """Fit weights (L2, full batch, so the same every time), then the temperature on out-of-fold predictions.

    Guo et al., "On Calibration of Modern Neural Networks", 2017. Raises `ValueError` for fewer than two intents.
    """
    if len(intents) < 2:
        raise ValueError("a pack needs at least two intents to tell apart")
    vectors, labels = embedded(intents, encoder)
    folds = folds_of(labels)
    fitted = [(_held_out(vectors, labels, folds, len(intents), penalty), penalty) for penalty in PENALTIES]
    tempered = [(*_temperature(logits, labels), penalty) for logits, penalty in fitted]
    _, temperature, penalty = min(tempered)
    rows = [{"id": intent.id, "verdict": intent.verdict, "workload": intent.workload} for intent in intents]
    return IntentHead(rows, fit(vectors, labels, len(intents), penalty), temperature, version_of(intents, encoder))


def prepare(pack: Pack, encoder: Encoder, path: Path) -> IntentHead:
    """The head for the pack's intents, in `path`; trained unless the one that is there was trained on the same."""
    try:
        head = IntentHead.load(path)
    except HeadMissing:
        pass
    else:
        if head.version == version_of(pack.intents, encoder):
            return head
    head = train(pack.intents, encoder)
    head.save(path)
    return head


def embedded(intents: Sequence[Intent], encoder: Encoder) -> tuple[Matrix, NDArray[np.int64]]:
    """Vectors (utterances, dimensions + 1) and the index of each one's intent."""
    pairs = [(text, number) for number, intent in enumerate(intents) for text in intent.utterances]
    vectors = np.stack([encoder.embed(text, MAX_TOKENS) for text, _ in pairs])
    return _with_one(vectors), np.array([number for _, number in pairs])


def folds_of(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each utterance: those of one intent are dealt out in turn."""
    seen: dict[int, int] = {}
    folds = []
    for label in labels.tolist():
        folds.append(seen.get(label, 0) % FOLDS)
        seen[label] = seen.get(label, 0) + 1
    return np.array(folds)


def fit(vectors: Matrix, labels: NDArray[np.int64], classes: int, penalty: float) -> Matrix:
    """Weights that minimise mean cross entropy + penalty · |W|², by accelerated gradient (Nesterov, 1983).

    The step is 1/L for L = λmax(XᵀX)/2n + 2·penalty, an upper bound of the curvature, so it needs no tuning.
    """
    count = len(vectors)
    wanted = np.eye(classes)[labels]
    curvature = float(np.linalg.eigvalsh(vectors @ vectors.T)[-1]) / (2 * count) + 2 * penalty
    weights = ahead = np.zeros((classes, vectors.shape[1]))
    pace = 1.0
    for _ in range(STEPS):
        slope = (softmax(vectors @ ahead.T) - wanted).T @ vectors / count + 2 * penalty * ahead
        moved = ahead - slope / curvature
        faster = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        ahead = moved + (pace - 1) / faster * (moved - weights)
        weights, pace = moved, faster
    return weights


def softmax(logits: Matrix) -> Matrix:
    """Rows that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def _held_out(
    vectors: Matrix, labels: NDArray[np.int64], folds: NDArray[np.int64], classes: int, penalty: float
) -> Matrix:
    """The logits of each utterance by weights that never saw its fold."""
    logits = np.zeros((len(vectors), classes))
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and not out.all():
            logits[out] = vectors[out] @ fit(vectors[~out], labels[~out], classes, penalty).T
    return logits


def _temperature(logits: Matrix, labels: NDArray[np.int64]) -> tuple[float, float]:
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


def _with_one(vectors: NDArray[Any]) -> Matrix:
    return np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])
