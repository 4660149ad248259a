"""Trains the reader of fields: which of the values that stand in a text is meant by a field, or that none is.

First on questions over paragraphs (`--questions`), then on texts with schemas (`--texts`), of which folds are kept out:
what is read of them, by a net that has not seen them, is what the ranker's weights are fitted on.
Next: field_net.py, data/field_texts.py, field_weights.py.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tidegate.infra.models.data.field_texts import AskedOfText, AskedText, read_questions, read_texts
from tidegate.infra.models.data.field_yes_no import read_yes_no
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export import int8_weights
from tidegate.infra.models.export.multilingual import READER
from tidegate.infra.models.training.field_net import FieldNet
from tidegate.infra.models.training.field_weights import ReadField
from tidegate.services.knowledge.extraction.field_reader import Odds, collect
from tidegate.services.knowledge.extraction.field_windows import FieldReading, pack, plan_readings

FOLDS = 3
ALL = "all"
TEXTS = 2
"""Texts in a step."""
HEAD_RATE = 5
"""How many times as fast as the layers the heads learn."""
WARM_UP = 0.08
NOISE = 0.1
"""The share of tokens that are hidden in training."""
LEAST = -30.0
"""The log-odds that are written for what was not read."""
YES_NO = 0.4
"""The share of the questions to be answered with yes or no that each epoch has."""
BARE = 0.25
"""The share of fields that are asked by their names alone, though they are described."""


class ScoredField(NamedTuple):
    """Of the pairs of one field in a reading: which they are, and which of those are right."""

    pairs: list[int]
    right: list[int]


def folds_of(count: int) -> NDArray[np.int64]:
    """The fold of each text."""
    return np.random.default_rng(9).permutation(count) % FOLDS


def readings_of(text: AskedText, rng: random.Random | None = None) -> Iterator[FieldReading]:
    """All that is to be read of a text; with `rng` some fields are asked by their names alone."""
    asked = [each.bare if rng is not None and rng.random() < BARE else each.asked for each in text.fields]
    yield from plan_readings(asked, [each.spans for each in text.fields], text.windows)


def scored_of(text: AskedText, reading: FieldReading) -> dict[int, ScoredField]:
    """What can be learned from a reading: the pairs of each field, by its place in it."""
    found: dict[int, ScoredField] = {}
    for number, pair in enumerate(reading.pairs):
        field = text.fields[reading.fields[pair.field]]
        if field.is_known:
            own = found.setdefault(pair.field, ScoredField([], []))
            own.pairs.append(number)
            if field.right[pair.value]:
                own.right.append(number)
    return found


class FieldTraining:
    """Epochs over texts, at a rate that rises and then falls to nothing."""

    def __init__(self, net: FieldNet, states: FrozenStates, epochs: int, rate: float, seed: int) -> None:
        self.net = net
        self.states = states
        self.epochs = epochs
        self.done = 0
        self.random = random.Random(seed)
        heads = [each for name, each in net.named_parameters() if not name.startswith(("layers.", "parts"))]
        groups = [{"params": [*net.layers.parameters(), net.parts], "lr": rate}]
        groups.append({"params": heads, "lr": rate * HEAD_RATE})
        self.optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

    def read(self, reading: FieldReading, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The logits of the pairs and of the absences."""
        asked = [self.states.of(each.ids) for each in reading.asked]
        logits, absent = self.net(pack(reading, asked, self.states.of(reading.window.ids)), seen)
        return logits, absent

    def epoch(self, texts: Sequence[AskedText]) -> float:
        """One pass in random order; the mean loss of a field."""
        order = [*texts]
        self.random.shuffle(order)
        losses = []
        self.net.train()
        began = time.process_time()
        for at in range(0, len(order), TEXTS):
            done = (self.done + at / len(order)) / self.epochs
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate * min(1.0, done / WARM_UP + 0.02) * (1.0 - done)
            parts = [loss for text in order[at : at + TEXTS] for loss in self._losses(text)]
            if not parts:
                continue
            loss = torch.stack(parts).mean()
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            losses.append(float(loss.detach()))
            if len(losses) % 100 == 0:
                print(f"  {time.process_time() - began:.0f} s  {np.mean(losses[-100:]):.3f}", flush=True)
        self.done += 1
        return float(np.mean(losses))

    def _losses(self, text: AskedText) -> Iterator[Tensor]:
        """For each field in each window the loss of its right values among all and its absence."""
        for reading in readings_of(text, self.random):
            scored = scored_of(text, reading)
            if not scored:
                continue
            length = sum(len(each.ids) for each in reading.asked) + len(reading.window.ids)
            logits, absent = self.read(reading, torch.rand(length) >= NOISE)
            for field, (pairs, right) in scored.items():
                none = absent[field : field + 1]
                whole = torch.logsumexp(torch.cat([logits[pairs], none]), 0)
                if right and text.fields[reading.fields[field]].is_list:
                    yield whole - logits[right].mean()  # each of its items, and not one of them
                else:
                    yield whole - (torch.logsumexp(logits[right], 0) if right else none[0])

    def odds(self, text: AskedText) -> list[Odds]:
        """The log-odds of each value of each field against its absence."""
        found = [np.full(len(each.right), -np.inf) for each in text.fields]
        with torch.no_grad():
            for reading in readings_of(text):
                logits, absent = self.read(reading)
                collect(reading, logits.numpy(), absent.numpy(), found)
        return found

    def save(self, path: Path) -> None:
        state = {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "done": self.done}
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done = state["done"]


def is_right(field: AskedOfText, odds: Odds) -> bool:
    """Whether the likeliest value is right; or nothing, where nothing is said."""
    best = int(odds.argmax()) if len(odds) else -1
    return field.right[best] if best >= 0 and odds[best] > 0 else field.is_absent


def measure(training: FieldTraining, texts: Sequence[AskedText]) -> tuple[str, list[ReadField]]:
    """How many fields of each family the likeliest value is right for, and what was read."""
    training.net.eval()
    counts: dict[str, list[bool]] = defaultdict(list)
    read = []
    for text in texts:
        for field, odds in zip(text.fields, training.odds(text), strict=True):
            counts[field.family].append(is_right(field, odds))
            clipped = np.maximum(odds, LEAST)
            read.append(ReadField(text.number, field.path, [round(each, 3) for each in clipped.tolist()]))
    everything = [each for own in counts.values() for each in own]
    shares = [(name, sum(own), len(own)) for name, own in (*sorted(counts.items()), (ALL, everything)) if own]
    return "  ".join(f"{name} {right}/{count}={right / count:.3f}" for name, right, count in shares), read


class Material(NamedTuple):
    """What there is to learn from: texts in folds, texts in none, and questions of which each epoch has some."""

    texts: list[AskedText]
    also: list[AskedText]
    yes_no: list[AskedText]


def train(arguments: argparse.Namespace, fold: str, material: Material, states: FrozenStates) -> None:
    """All epochs without one fold's texts, which are measured after each; its weights and what was read at the end."""
    texts = material.texts
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    name = f"{fold}-{arguments.seed}"
    held = folds_of(len(texts)) if fold != ALL else None
    learned = [each for n, each in enumerate(texts) if held is None or held[n] != int(fold)] + material.also
    kept = [each for n, each in enumerate(texts) if held is not None and held[n] == int(fold)]
    net = FieldNet(int8_weights.load(arguments.start))
    training = FieldTraining(net, states, arguments.epochs, arguments.rate, arguments.seed)
    state = arguments.out / f"state-{name}.pt"
    if arguments.resume and state.exists():
        training.resume(state)
    print(f"fold {fold}: {len(learned)} to learn from, {len(kept)} to measure", flush=True)
    began = time.process_time()
    while training.done < arguments.epochs:
        questions = training.random.sample(material.yes_no, int(YES_NO * len(material.yes_no)))
        loss = training.epoch([*learned, *questions])
        training.save(state)
        if training.done == 1:
            states.save(arguments.out / "states.npz")
        shown, read = measure(training, kept)
        print(f"epoch {training.done}  {time.process_time() - began:.0f} s  loss {loss:.3f}  {shown}", flush=True)
        if kept:
            (arguments.out / f"read-{name}.json").write_bytes(msgspec.json.encode(read))
    int8_weights.save(arguments.out / f"upper-{name}.safetensors", net.weights())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--questions", type=Path, help="the directory that holds squad2 and xquad")
    source.add_argument("--texts", type=Path, nargs="+", help="JSON Lines of text, language, schema and truth")
    parser.add_argument("--also", type=Path, nargs="+", default=[], help="texts that are in no fold")
    parser.add_argument("--yes-no", type=Path, help="the directory that holds qa")
    parser.add_argument(
        "--model", type=Path, required=True, help="what export.multilingual built, for the frozen layers"
    )
    parser.add_argument("--start", type=Path, default=READER, help="upper layers, with heads or without, to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", nargs="+", default=[ALL], choices=[ALL, *map(str, range(FOLDS))])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on where a run of the same name stopped")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    states = FrozenStates(arguments.model)
    states.restore(arguments.out / "states.npz")
    encode = states.tokenizer.encode
    asked = (
        read_questions(arguments.questions, encode, arguments.seed)
        if arguments.questions
        else read_texts(arguments.texts, encode)
    )
    yes_no = read_yes_no(arguments.yes_no, encode) if arguments.yes_no else ()
    material = Material([*asked], [*read_texts(arguments.also, encode)], [*yes_no])
    for fold in arguments.fold:
        train(arguments, fold, material, states)


if __name__ == "__main__":
    main()
