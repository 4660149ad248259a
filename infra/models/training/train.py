"""Trains one of the pair, by wall time: copy tasks alone, or questions with some copy tasks among them."""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tidegate.infra.models.data.batching import TRUTHS, Batch, batches, source
from tidegate.infra.models.training import attending, llama, priming
from tidegate.infra.models.training.optimiser import Mean, optimisers

SHAPES = {
    "target": llama.Shape(hidden=256, layers=6, inner=384, heads=4, head=64),
    "draft": llama.Shape(hidden=128, layers=6, inner=128, heads=2, head=64),
}
THREADS = 2


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
        self.judge = attending.Judge(self.model.shape.hidden)
        self.optimisers[1].add_param_group({"params": list(self.judge.parameters()), "base": arguments.adam})
        self.mean = Mean(self.model, arguments.horizon)
        self.teacher = llama.load(arguments.teacher) if arguments.teacher else None
        self.steps = self.tokens = 0
        if arguments.resume:
            self.resume(arguments.resume)
        self.trunk: Callable[[Tensor], tuple[Tensor, ...]] = self.model.tapped
        if arguments.compile:
            self.trunk = torch.compile(self.model.tapped, dynamic=arguments.compile == "dynamic")

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        if state["judge"]["linear.weight"].shape == self.judge.linear.weight.shape:
            self.judge.load_state_dict(state["judge"])
        self.mean = Mean(self.model, self.arguments.horizon)
        self.steps, self.tokens = state["steps"], state["tokens"]
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            bases = [group["base"] for group in optimiser.param_groups]
            if len(kept["param_groups"]) < len(bases):
                kept["param_groups"] += optimiser.state_dict()["param_groups"][len(kept["param_groups"]) :]
            optimiser.load_state_dict(kept)
            for weight, outcome in [*optimiser.state.items()]:
                if any(isinstance(x, Tensor) and x.ndim and x.shape != weight.shape for x in outcome.values()):
                    del optimiser.state[weight]  # the judge is asked other things than before
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

    def report(self, seconds: float) -> None:
        """What this run was, for the card."""
        some = ("tasks", "size", "muon", "adam", "flat", "copies", "judge", "guide", "seed")
        run = {name: getattr(self.arguments, name) for name in some}
        run |= {
            "distilled": self.teacher is not None,
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": int(seconds),
        }
        (self.arguments.out / "run.json").write_text(json.dumps(run) + "\n")

    def losses(self, pack: Batch) -> tuple[Tensor, ...]:
        """Of the tokens, of the teacher (where there is one), and of what `attending` asks."""
        where = pack.weights.flatten().nonzero().squeeze(1)
        weight = pack.weights.flatten()[where]
        stream, *entered = self.trunk(pack.ids)
        logits = self.model.logits(stream.flatten(0, 1)[where]).float()
        each = functional.cross_entropy(logits, pack.wanted.flatten()[where], reduction="none")
        loss = total = (each * weight).sum() / weight.sum()
        if self.teacher is not None:
            with torch.no_grad():
                outcome = self.teacher.logits(self.teacher(pack.ids).flatten(0, 1)[where]).float()
            total = 0.3 * loss + 0.7 * distilled(logits, outcome, weight)
        return total, loss, *attending.asked(self.model, self.judge, entered, pack)

    def step(self, pack: Batch, rate: float) -> tuple[float, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total, *outcome = self.losses(pack)
        _, received, echo, *judged, sentence, pointer = outcome
        arguments = self.arguments
        total = total + arguments.judge * sum(judged, received) + arguments.guide * (echo + sentence + pointer)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate
            optimiser.step()
            optimiser.zero_grad()
        self.mean.update(self.model)
        self.steps += 1
        self.tokens += pack.ids.numel()
        return tuple(float(one.detach()) for one in outcome)


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
    draw = source(r, 1.0 if arguments.tasks == "copy" else arguments.copies, arguments.hard, run.model.shape.vocabulary)
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
            means = (sum(column) / 20 for column in zip(*losses, strict=True))
            named = zip(("loss", "received", "echo", *TRUTHS, "sentence", "pointer"), means, strict=True)
            outcome = " ".join(f"{name} {mean:.4f}" for name, mean in named)
            print(f"{done:6.1%} step {run.steps} {outcome} {run.tokens / 1e6:.2f} M, {speed:.0f}/s", flush=True)
            losses = []
        if time.monotonic() - kept > 120:
            run.keep()
            kept = time.monotonic()
    run.keep()
    run.report(time.monotonic() - started)
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
        ("judge", 0.5),
        ("guide", 0.5),
    ):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, default in (("size", 8192), ("seed", 1), ("threads", THREADS), ("horizon", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
