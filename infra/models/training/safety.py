"""Trains the safety head: what kind of message a text is, by tuned upper layers over the states that are shared.

Split by meaning: no message of the development part says what one of the training part says. Next: data/messages.py.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.data.messages import (
    ALIKE,
    CLASSES,
    Message,
    folds_by_meaning,
    load_messages,
    load_own,
    load_questions,
    load_utterances,
    retype,
)
from tidegate.infra.models.evaluation.states import LowerStates
from tidegate.infra.models.export import int8_weights
from tidegate.infra.models.export.multilingual import EMBEDDING, UPPER, WIDTH, Encoder
from tidegate.infra.models.training.encoder import Layer, Weights, stack

BATCH = 32
SMOOTHING = 0.05
WARM_UP = 0.1
NOISE = 0.1
"""The share of a text's tokens that are hidden in training."""
HEAD_RATE = 10
"""How many times as fast as the layers the head learns."""
SERVED, QUESTIONS = 250, 350
"""How many harmless utterances of the pack and questions of qa/train are trained on beside the messages."""
DEV = 0
"""The fold that is never trained on."""


class SafetyNet(nn.Module):
    """The tuned layers, the mean over the tokens beside the first token, and a logit for each class."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(weights, number) for number in UPPER])
        self.classes = nn.Linear(2 * WIDTH, len(CLASSES))
        for part, kept in (("weight", self.classes.weight), ("bias", self.classes.bias)):
            kept.data = torch.from_numpy(weights.get(f"classes.{part}", np.zeros(kept.shape, np.float32)))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            states = layer(states, mask[:, None, None, :])
        weight = mask[..., None].to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        found: Tensor = self.classes(torch.cat((mean, states[:, 0]), dim=1))
        return found

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Its weights under the names by which the graph is built."""
        found = {f"classes.{part}": getattr(self.classes, part).detach().numpy() for part in ("weight", "bias")}
        for layer in self.layers:
            found |= layer.weights()
        return found


class SafetyTraining:
    """Epochs over the messages that are trained on."""

    def __init__(self, net: SafetyNet, states: LowerStates, epochs: int, rate: float, retyped: int) -> None:
        """`retyped`: in how many other ways each message may be typed."""
        self.net = net
        self.retyped = retyped
        self.states = states
        self.epochs = epochs
        head = {"params": net.classes.parameters(), "lr": rate * HEAD_RATE}
        self.optimiser = torch.optim.AdamW([{"params": net.layers.parameters(), "lr": rate}, head], weight_decay=0.05)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

    def typed(self, message: Message) -> list[Message]:
        """The message and as others would type it, always the same, so that few states have to be computed."""
        rng = random.Random(message.text)
        return [message, *(retype(message, rng) for _ in range(self.retyped))]

    def ids(self, message: Message) -> tuple[int, ...]:
        return self.states.ids("query: " + message.text)

    def epoch(self, messages: Sequence[Message], number: int) -> float:
        """One pass in batches of similar length; the mean loss."""
        order = sorted(messages, key=lambda each: len(self.ids(each)) * random.uniform(0.8, 1.25))
        queue = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
        random.shuffle(queue)
        losses = []
        self.net.train()
        for at, batch in enumerate(queue):
            done = (number + at / len(queue)) / self.epochs
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate * min(1.0, done / WARM_UP + 0.02) * (1.0 - done)
            states, mask = stack([self.states.of(self.ids(random.choice(self.typed(each)))) for each in batch])
            seen = mask & (torch.rand(mask.shape) >= NOISE)
            seen[:, 0] = True
            rows = torch.tensor([each.row for each in batch])
            loss = functional.cross_entropy(self.net(states, seen), rows, label_smoothing=SMOOTHING)
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def logits(self, messages: Sequence[Message]) -> NDArray[np.float32]:
        """(messages, classes)."""
        self.net.eval()
        order = sorted(range(len(messages)), key=lambda each: len(self.ids(messages[each])))
        found = np.zeros((len(messages), len(CLASSES)), np.float32)
        with torch.no_grad():
            for at in range(0, len(order), BATCH):
                rows = order[at : at + BATCH]
                found[rows] = self.net(*stack([self.states.of(self.ids(messages[row])) for row in rows])).numpy()
        return found


def summarise(messages: Sequence[Message], logits: NDArray[np.float32]) -> str:
    """What share of each label is withheld where 5 % of hard_harmless and 1 % of harmless are."""
    shares = torch.softmax(torch.tensor(logits), dim=1).numpy()
    harm = shares[:, [CLASSES.index(name) for name in ("unsafe", "distress", "injection")]].sum(1)
    labels = np.array([each.label for each in messages])
    limit = max(
        float(np.quantile(harm[labels == name], 1 - share))
        for name, share in (("hard_harmless", 0.05), ("harmless", 0.01))
    )
    found = {name: round(float((harm[labels == name] > limit).mean()), 3) for name in sorted(set(labels))}
    return f"at {limit:.2f}: {found}"


class Split(NamedTuple):
    """What is trained on from the start, what is added when a run goes on from another, what is measured on; the fold
    of each of the messages of the data."""

    trained: list[Message]
    own: list[Message]
    dev: list[Message]
    folds: NDArray[np.int64]


def load_vectors(model: Path, states: LowerStates, messages: Sequence[Message], path: Path) -> NDArray[np.float32]:
    """The vectors by which messages are split, those kept at `path` not computed again."""
    known: dict[str, NDArray[np.float32]] = {}
    if path.exists():
        kept = np.load(path)
        known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    encoder = Encoder(str(model / "lower.onnx"), str(model / "embed.onnx"))
    for text in {each.text: None for each in messages if each.text not in known}:
        known[text] = encoder.vector(states.ids("query: " + text))
    np.savez(path, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[each.text] for each in messages])


def split(arguments: argparse.Namespace, states: LowerStates) -> Split:
    """The data and what is kept here, without what says the same as a message that is measured on."""
    measured = load_messages(arguments.data)
    other = load_utterances(arguments.intents, SERVED, arguments.seed)
    other += load_questions(arguments.data, QUESTIONS, arguments.seed)
    own = load_own()
    vectors = load_vectors(arguments.model, states, measured + other + own, arguments.out / "vectors.npz")
    folds = folds_by_meaning(vectors[: -len(own)])
    dev = [each for each, fold in zip(measured, folds, strict=False) if fold == DEV]
    trained = [each for each, fold in zip(measured + other, folds, strict=True) if fold != DEV]
    likeness = vectors[-len(own) :] @ vectors[: len(measured)][folds[: len(measured)] == DEV].T
    kept = [each for each, alike in zip(own, likeness.max(axis=1), strict=True) if alike < ALIKE]
    print(f"{len(trained)} and {len(kept)} of {len(own)} to train, {len(dev)} to develop", flush=True)
    return Split(trained, kept, dev, folds[: len(measured)])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds safety/messages.jsonl")
    parser.add_argument("--model", type=Path, required=True, help="what export.multilingual built")
    parser.add_argument("--intents", type=Path, required=True, help="the intents.yaml of a pack, with its verdicts")
    parser.add_argument("--embedding", type=Path, default=EMBEDDING, help="upper layers to start from")
    parser.add_argument("--start", type=Path, help="a head to go on from, now with the messages that are kept here")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=1, help="which utterances and questions are trained on")
    parser.add_argument("--order", type=int, default=1, help="another run over the same, to average with this one")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    random.seed(arguments.order)
    torch.manual_seed(arguments.order)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    states = LowerStates(arguments.model)
    states.restore(arguments.out / "states.npz")
    trained, own, dev, folds = split(arguments, states)
    net = SafetyNet(int8_weights.load(arguments.start or arguments.embedding))
    training = SafetyTraining(net, states, arguments.epochs, arguments.rate, 1 if arguments.start else 0)
    for number in range(arguments.epochs):
        known = random.sample(trained, len(trained) // 2) + own if arguments.start else trained
        loss = training.epoch(known, number)
        logits = training.logits(dev)
        print(
            f"epoch {number + 1}  {time.process_time() - started:.0f} s  loss {loss:.3f}  {summarise(dev, logits)}",
            flush=True,
        )
        if number == 0:
            states.save(arguments.out / "states.npz")
        np.savez(arguments.out / "dev.npz", logits=logits, folds=folds)
        int8_weights.save(arguments.out / "upper.safetensors", net.weights())


if __name__ == "__main__":
    main()
