"""Trains the safety head: what kind of message a text is, by tuned upper layers over the states that are shared.

A head is kept from one fold of the messages: split by meaning, so that nothing that it was taught says what it is
measured on. That which is shipped goes on from the mean of such heads (Wortsman et al., "Model soups", ICML 2022) and
learns from everything (`--fold` left out).
Next: data/messages.py, evaluation/safety.py.
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
    FOLDS,
    Message,
    Split,
    load_messages,
    load_own,
    load_plain,
    load_questions,
    load_utterances,
    retype,
    split_by_meaning,
)
from tidegate.infra.models.evaluation.safety import HARD, PLAIN, auc, column
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export import int8_weights
from tidegate.infra.models.export.multilingual import EMBEDDING, UPPER, WIDTH, Encoder
from tidegate.infra.models.training.encoder import Layer, Weights, stack

BATCH = 32
SMOOTHING = 0.05
WARM_UP = 0.1
NOISE = 0.1
"""The share of a text's tokens that are hidden in training, and of what each layer hands on."""
HEAD_RATE = 10
"""How many times as fast as the layers the head learns."""
SERVED, QUESTIONS = 400, 2000
"""How many harmless utterances of the pack and questions of qa/train are trained on beside the messages."""
RETYPED = 1
"""In how many other ways a message may be typed."""


class SafetyNet(nn.Module):
    """The tuned layers, the mean over the tokens beside the first token, and a logit for each class."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(weights, number) for number in UPPER])
        self.noise = nn.Dropout(NOISE)
        self.classes = nn.Linear(2 * WIDTH, len(CLASSES))
        for part, kept in (("weight", self.classes.weight), ("bias", self.classes.bias)):
            kept.data = torch.from_numpy(weights.get(f"classes.{part}", np.zeros(kept.shape, np.float32)))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            states = self.noise(layer(states, mask[:, None, None, :]))
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

    def __init__(self, net: SafetyNet, states: FrozenStates, epochs: int, rate: float) -> None:
        self.net = net
        self.states = states
        self.epochs = epochs
        head = {"params": net.classes.parameters(), "lr": rate * HEAD_RATE}
        self.optimiser = torch.optim.AdamW(
            [{"params": net.layers.parameters(), "lr": rate}, head], weight_decay=0.05, fused=True
        )
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

    def typed(self, message: Message) -> list[Message]:
        """The message and as others would type it, always the same, so that few states have to be computed."""
        rng = random.Random(message.text)
        return [message, *(retype(message, rng) for _ in range(RETYPED))]

    def ids(self, message: Message) -> tuple[int, ...]:
        return self.states.ids("query: " + message.text)

    def epoch(self, messages: Sequence[Message], number: int) -> float:
        """One pass in batches of similar length; the mean loss."""
        order = sorted(messages, key=lambda each: len(self.ids(each)) * random.uniform(0.9, 1.1))
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
    """How well labels are told apart, and what share of each is withheld where 5 % of hard_harmless and 1 % of harmless
    are."""
    shares = torch.softmax(torch.tensor(logits), dim=1).numpy().astype(np.float64)
    harm = column(shares, "unsafe", "distress", "injection")
    labels = np.array([each.label for each in messages])
    limits = {
        name: float(np.quantile(harm[labels == name], 1 - share))
        for name, share in (("hard_harmless", HARD), ("harmless", PLAIN))
    }
    names = sorted(set(labels.tolist()))
    found = {name: round(float((harm[labels == name] > max(limits.values())).mean()), 3) for name in names}
    aucs = [auc(shares, labels, "unsafe", name) for name in limits]
    return f"auc {aucs} limits {[round(each, 2) for each in limits.values()]}: {found}"


def load_vectors(model: Path, states: FrozenStates, messages: Sequence[Message], path: Path) -> NDArray[np.float32]:
    """The vectors by which messages are split, those kept at `path` not computed again."""
    known: dict[str, NDArray[np.float32]] = {}
    if path.exists():
        kept = np.load(path)
        known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    encoder = Encoder.of(model)
    for text in {each.text: None for each in messages if each.text not in known}:
        known[text] = encoder.vector(states.ids("query: " + text))
    np.savez(path, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[each.text] for each in messages])


def load_split(arguments: argparse.Namespace, states: FrozenStates) -> Split:
    """The data and what is kept here, without the fold that is measured on; the folds are kept beside the weights."""
    data, own = load_messages(arguments.data), load_own()
    other = load_utterances(arguments.intents, SERVED, arguments.seed)
    other += load_questions(arguments.data, QUESTIONS, arguments.seed)
    other += load_plain() if arguments.start else []
    vectors = load_vectors(arguments.model, states, data + own + other, arguments.out / "vectors.npz")
    found, folds = split_by_meaning(data, own, other, vectors, arguments.fold)
    np.savez(arguments.out / "folds.npz", folds=folds)
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds safety/messages.jsonl")
    parser.add_argument("--model", type=Path, required=True, help="what export.multilingual built")
    parser.add_argument("--intents", type=Path, required=True, help="the intents.yaml of a pack, with its verdicts")
    parser.add_argument("--embedding", type=Path, default=EMBEDDING, help="upper layers to start from")
    parser.add_argument("--start", type=Path, help="a head to go on from, with ordinary requests beside the rest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="the fold that is not learned from")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument(
        "--seed", type=int, default=1, help="which utterances and questions are trained on, and the order"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = "all" if arguments.fold is None else f"fold-{arguments.fold}"
    started = time.process_time()
    states = FrozenStates(arguments.model)
    states.restore(arguments.out / "states.npz")
    trained, *measured = load_split(arguments, states)
    print(f"{len(trained)} to train, {[len(each) for each in measured]} to measure", flush=True)
    net = SafetyNet(int8_weights.load(arguments.start or arguments.embedding))
    training = SafetyTraining(net, states, arguments.epochs, arguments.rate)
    for number in range(arguments.epochs):
        loss = training.epoch(trained, number)
        print(f"epoch {number + 1}  {time.process_time() - started:.0f} s  loss {loss:.3f}", flush=True)
    for each in filter(None, measured):
        print("  ", summarise(each, training.logits(each)), flush=True)
    states.save(arguments.out / "states.npz")
    int8_weights.save(arguments.out / f"{name}.safetensors", net.weights())


if __name__ == "__main__":
    main()
