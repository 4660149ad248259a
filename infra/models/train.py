"""Trains one of the pair, by wall time: copy tasks alone, or questions with some copy tasks among them."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import copying
import llama
import priming
import torch
from optimiser import Mean, optimisers
from torch import Tensor
from torch.nn import functional

SHAPES = {
    "target": llama.Shape(hidden=256, layers=4, inner=704, heads=4, head=64),
    "draft": llama.Shape(hidden=128, layers=4, inner=192, heads=3, head=64),
}
DECISIVE = frozenset((copying.NONE, *copying.MARKS))
ASKERS = frozenset((copying.QUESTION, 8))
OPENERS = frozenset((copying.PASSAGE, 7))
CLOSERS = frozenset((copying.ANSWER, 9))
THREADS = 2
POOL = 24
STRIDE = 32

Example = tuple[list[int], list[int]]
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def row(r: random.Random, prompt: list[int], answer: list[int], reading: float) -> tuple[list[int], list[float]]:
    """Ids and the weight of each as something to predict: a citation decides all that follows."""
    cited = 8.0 if sum(token in DECISIVE for token in answer) < 3 else 0.0  # marks of a recital are anybody's guess
    weights = [cited if token in DECISIVE else 1.0 for token in answer]
    told = 0.08 if r.random() < reading else 0.0
    return prompt + answer, [told] * len(prompt) + weights


def verdicts(ids: list[int]) -> list[tuple[int, float]]:
    """The last place of each passage, and whether the answer cites that passage."""
    if copying.ANSWER not in ids or copying.PASSAGE not in ids:
        return []
    end = ids.index(copying.ANSWER)
    cited = set(ids[end:])
    starts = [place for place in range(end) if ids[place] == copying.PASSAGE]
    return [(after - 1, float(ids[at + 1] in cited)) for at, after in zip(starts, [*starts[1:], end], strict=True)]


def echoes(ids: list[int]) -> list[tuple[int, float]]:
    """Each place of the passages or of the text, and whether its token stands in the question or in the schema, too."""
    openers = [place for place, token in enumerate(ids) if token in OPENERS]
    closers = [place for place, token in enumerate(ids) if token in CLOSERS]
    if not openers or not closers or ids[1] not in ASKERS:
        return []
    asked = set(ids[2 : openers[0]])
    return [
        (place, float(ids[place] in asked)) for place in range(openers[0], closers[0]) if ids[place] >= copying.FIRST
    ]


def batch(rows: list[tuple[list[int], list[float]]]) -> Batch:
    """Inputs, targets, weights, verdicts and echoes (-1 where there is none), (rows, tokens) in whole strides."""
    width = math.ceil((max(len(ids) for ids, _ in rows) - 1) / STRIDE) * STRIDE
    ids = torch.zeros(len(rows), width + 1, dtype=torch.int64)
    weights = torch.zeros(len(rows), width + 1)
    judged, echoed = torch.full((2, len(rows), width), -1.0)
    for number, (row_ids, row_weights) in enumerate(rows):
        ids[number, : len(row_ids)] = torch.tensor(row_ids)
        weights[number, : len(row_ids)] = torch.tensor(row_weights)
        for place, cited in verdicts(row_ids):
            judged[number, place] = cited
        for place, heard in echoes(row_ids):
            echoed[number, place] = heard
    return ids[:, :-1], ids[:, 1:], weights[:, 1:], judged, echoed


def batches(r: random.Random, draw: Callable[[], Example], size: int, reading: float) -> Iterator[Batch]:
    """Endless batches of about `size` tokens; each holds rows of about one length, so little is padding."""
    while True:
        rows: list[tuple[list[int], list[float]]] = []
        total = 0
        while total < size * POOL:
            rows.append(row(r, *draw(), reading))
            total += len(rows[-1][0])
        rows.sort(key=lambda pair: len(pair[0]))
        packs: list[Batch] = []
        while rows:
            count = max(1, size // (math.ceil(len(rows[-1][0]) / STRIDE) * STRIDE))
            packs.append(batch(rows[-count:]))
            del rows[-count:]
        packs = [pack for pack in packs if pack[0].numel() > size // 2] or packs
        r.shuffle(packs)
        yield from packs


def source(r: random.Random, arguments: argparse.Namespace, vocabulary: int) -> Callable[[], Example]:
    """What the examples are drawn from."""
    if arguments.tasks == "copy":
        return lambda: copying.example(r, vocabulary, arguments.hard)
    draw: Callable[[random.Random], Example] = importlib.import_module("generator").Training().example
    return lambda: copying.example(r, vocabulary, arguments.hard) if r.random() < arguments.copies else draw(r)


def distilled(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """The divergence of the student's next tokens from the teacher's, both (tokens, vocabulary)."""
    each = functional.kl_div(
        functional.log_softmax(student, -1), functional.log_softmax(teacher, -1), log_target=True, reduction="none"
    )
    return (each.sum(-1) * weights).sum() / weights.sum()


class Run:
    """A model being trained, which can be put on disk and taken up again."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        if arguments.start:
            self.model = llama.load(arguments.start).train()
        else:
            self.model = llama.Llama(SHAPES[arguments.shape])
            priming.prime(self.model)
        self.optimisers = optimisers(self.model, arguments.muon, arguments.adam)
        self.judge = torch.nn.Linear(self.model.shape.hidden, 2)
        self.optimisers[1].add_param_group({"params": list(self.judge.parameters()), "base": arguments.adam})
        self.mean = Mean(self.model, arguments.horizon)
        self.teacher = llama.load(arguments.teacher) if arguments.teacher else None
        self.steps = self.tokens = 0
        if arguments.resume:
            self.resume(arguments.resume)
        self.trunk: Callable[[Tensor], tuple[Tensor, ...]] = self.model.tapped
        if arguments.compile:
            self.trunk = torch.compile(self.model.tapped, dynamic=None if arguments.compile == "static" else True)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        if "judge" in state and state["judge"]["weight"].shape == self.judge.weight.shape:
            self.judge.load_state_dict(state["judge"])
        self.mean = Mean(self.model, self.arguments.horizon)
        self.steps, self.tokens = state["steps"], state["tokens"]
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            bases = [group["base"] for group in optimiser.param_groups]
            if len(kept["param_groups"]) < len(bases):
                kept["param_groups"] += optimiser.state_dict()["param_groups"][len(kept["param_groups"]) :]
            optimiser.load_state_dict(kept)
            for group, base in zip(optimiser.param_groups, bases, strict=True):
                group["base"] = base

    def keep(self) -> None:
        """Everything to go on from, and the mean as a directory of its own."""
        out: Path = self.arguments.out
        out.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {"model": self.model.state_dict(), "steps": self.steps, "tokens": self.tokens}
        state["judge"] = self.judge.state_dict()
        state["optimisers"] = [optimiser.state_dict() for optimiser in self.optimisers]
        torch.save(state, out / ".state.pt")
        (out / ".state.pt").rename(out / "state.pt")
        mean = llama.Llama(self.model.shape)
        mean.load_state_dict(self.mean.weights)
        llama.save(mean, out / "mean")

    def judged(self, entering: Tensor, truth: Tensor, output: int) -> Tensor:
        """How badly the stream, as it enters a layer, tells what `truth` (-1 for nothing) says of each place.

        Before the last layer but one: whether the token stands in the question. Before the last: whether the passage
        that just ended answers. The last layer can only cite what earlier ones have found; asking them teaches it.
        """
        where = truth >= 0
        if not bool(where.any()):
            return entering.sum() * 0
        told = self.judge(functional.rms_norm(entering[where], entering.shape[-1:]))[:, output]
        return functional.binary_cross_entropy_with_logits(told, truth[where])

    def told(self, seconds: float) -> None:
        """What this run was, for the card."""
        some = ("tasks", "size", "muon", "adam", "flat", "copies", "judge", "seed")
        run = {name: getattr(self.arguments, name) for name in some}
        run |= {
            "distilled": self.teacher is not None,
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": int(seconds),
        }
        (self.arguments.out / "run.json").write_text(json.dumps(run) + "\n")

    def step(self, pack: Batch, rate: float) -> tuple[float, ...]:
        ids, wanted, weights, verdict, echo = pack
        where = weights.flatten().nonzero().squeeze(1)
        stream, *entered = self.trunk(ids)
        logits = self.model.logits(stream.flatten(0, 1)[where])
        weight = weights.flatten()[where]
        loss = (
            functional.cross_entropy(logits, wanted.flatten()[where], reduction="none") * weight
        ).sum() / weight.sum()
        total = loss
        if self.teacher is not None:
            with torch.no_grad():
                told = self.teacher.logits(self.teacher(ids).flatten(0, 1)[where])
            total = 0.3 * loss + 0.7 * distilled(logits, told, weight)
        judged, heard = self.judged(entered[-1], verdict, 0), self.judged(entered[-2], echo, 1)
        (total + self.arguments.judge * (judged + heard)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate
            optimiser.step()
            optimiser.zero_grad()
        self.mean.update(self.model)
        self.steps += 1
        self.tokens += ids.numel()
        return float(loss.detach()), float(judged.detach()), float(heard.detach())


def rate(done: float, steps: int, flat: float) -> float:
    """The share of the full learning rate: a short rise, level until `flat` of the time, then a half cosine to 0."""
    fall = 1.0 if done < flat else 0.5 * (1 + math.cos(math.pi * min(1.0, (done - flat) / (1 - flat))))
    return min(1.0, (steps + 1) / 60) * fall


def train(arguments: argparse.Namespace) -> None:
    """Train for `--seconds`, keeping a checkpoint every two minutes."""
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    r = random.Random(arguments.seed)
    run = Run(arguments)
    print(arguments, sum(p.numel() for p in run.model.parameters()), "parameters", flush=True)
    draw = source(r, arguments, run.model.shape.vocabulary)
    started = kept = time.monotonic()
    losses: list[tuple[float, ...]] = []
    last, since = run.tokens, started
    for number, pack in enumerate(batches(r, draw, arguments.size, arguments.reading)):
        done = (time.monotonic() - started) / arguments.seconds
        if done >= 1:
            break
        losses.append(run.step(pack, rate(done, number, arguments.flat)))
        if len(losses) == 20:
            speed = (run.tokens - last) / (time.monotonic() - since)
            last, since = run.tokens, time.monotonic()
            loss, judged, heard = (sum(column) / 20 for column in zip(*losses, strict=True))
            progress = f"{done:6.1%} step {run.steps} loss {loss:.4f} judged {judged:.4f} heard {heard:.4f}"
            print(f"{progress} {run.tokens / 1e6:.2f} M, {speed:.0f}/s", flush=True)
            losses = []
        if time.monotonic() - kept > 120:
            run.keep()
            kept = time.monotonic()
    run.keep()
    run.told(time.monotonic() - started)
    print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="target")
    parser.add_argument("--start", type=Path, help="a directory whose weights, and shape, to begin with")
    parser.add_argument("--tasks", choices=("copy", "questions"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--resume", type=Path, help="a state.pt to go on from")
    parser.add_argument("--teacher", type=Path, help="a directory whose model's next tokens are learned, too")
    parser.add_argument("--compile", choices=("", "static", "dynamic"), default="")
    for name, default in (
        ("muon", 0.02),
        ("adam", 0.004),
        ("flat", 0.4),
        ("reading", 0.1),
        ("copies", 0.12),
        ("hard", 0.3),
        ("judge", 1.0),
    ):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, default in (("size", 6144), ("seed", 1), ("threads", THREADS), ("horizon", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
