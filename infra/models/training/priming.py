"""Starts a model with the circuit that the task needs, so that training refines it and need not stumble upon it.

The stream is divided into subspaces: `A`, in which tokens are read; `B1` and `B2`, where layer 0 writes the tokens one
and two back; `R`, where it is written which passage (the latest mark) a token is in; and single directions. One layer
tells whether a token stands in the question (`M`), the next takes the mean of `M` over the passage (`S`), a later one
cites, at `<|answer|>`, where `S` is high; several copy: they look for the place that follows the same two tokens in the
cited passage. Everything stays trainable; only the start differs. Without it copying takes millions of tokens to
appear, and finding the passage did not appear in the time there was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tidegate.infra.models.data.prompts import ANSWER, MARKS, QUESTION
from tidegate.infra.models.training import llama

CONSTANT, OPENER = 0.08, 0.16
FAST = range(11)
MIDDLE = range(10, 21)
SLOW = range(17, 31)
STILL = 31


class Primer:
    """Writes heads into a fresh model, whose heads must be 64 wide."""

    def __init__(self, model: llama.Llama) -> None:
        self.model, self.shape = model, model.shape
        quarter, width = self.shape.hidden // 4, self.shape.hidden
        count = 3 * quarter + quarter // 2 + 2
        basis = torch.linalg.qr(torch.randn(width - 2, count))[0].T
        every = torch.cat((torch.zeros(count, 2), basis), 1)
        self.a, self.b1, self.b2, self.r, rest = every.split([quarter, quarter, quarter, quarter // 2, 2])
        self.m, self.s = rest
        words = model.model.embed_tokens.weight
        written = every[quarter:]
        words -= 0.8 * (words @ written.T) @ written
        words[:, 0], words[:, 1] = CONSTANT, 0.0
        words[[QUESTION, *MARKS], 1] = OPENER
        code = self.a[: len(self.r)] @ words[QUESTION]
        self.asked = (code / code.norm()) @ self.r
        outcome = self.a @ words[ANSWER]
        self.answering = (outcome / outcome.norm()) @ self.a
        self.first = torch.eye(width)[0]

    def head(self, layer: int, number: int, read: Tensor, write: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Set what a head reads and where it writes that; its query and key, emptied, to be filled."""
        attention, size = self.model.model.layers[layer].self_attn, self.shape.head
        rows = slice(number * size, (number + 1) * size)
        attention.v_proj.weight[rows] *= 0.1
        attention.v_proj.weight[rows][: len(read)] = read
        attention.o_proj.weight[:, rows][:, : len(write)] = scale * write.T
        query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]
        query.mul_(0.1)
        key.mul_(0.1)
        return query, key

    def back(self, layer: int, number: int, distance: int, write: Tensor) -> None:
        """Looks `distance` tokens back: a matter of phases on the fast rotations."""
        query, key = self.head(layer, number, self.a, write, 0.04)
        half = self.shape.head // 2
        rates = self.shape.theta ** (-torch.arange(half) / half)[: len(FAST)]
        query[list(FAST), 0] = 1.8 * torch.cos(distance * rates)
        query[[half + position for position in FAST], 0] = -1.8 * torch.sin(distance * rates)
        key[list(FAST), 0] = 1.8

    def region(self, layer: int, number: int) -> None:
        """Looks at the latest mark, or at `<|question|>`: what opens, nearness on the middle rotations."""
        query, key = self.head(layer, number, self.a[: len(self.r)], self.r, 0.06)
        query[list(MIDDLE), 0] = 1.0
        key[list(MIDDLE), 1] = 0.7

    def pairs(self, query: Tensor, key: Tensor, *matched: tuple[Tensor, Tensor, int, float]) -> None:
        """The score grows where what the query reads is what the key reads; `count` slow places for each."""
        positions = [*SLOW, *(self.shape.head // 2 + position for position in SLOW)]
        for asked, held, count, scale in matched:
            here, positions = positions[:count], positions[count:]
            query[here] = scale * asked[:count]
            key[here] = scale * held[:count]

    def echo(self, layer: int, number: int) -> None:
        """Whether the token stands in the question."""
        query, key = self.head(layer, number, 0.125 * self.asked[None], self.m[None], 0.15)
        self.pairs(query, key, (self.a, self.a, 28, 3.5))
        query[STILL], key[STILL] = 1.5 * self.first, 1.5 * self.asked

    def copy(self, layer: int, number: int, shift: int) -> None:
        """What follows the same two tokens in the same passage."""
        query, key = self.head(layer, number, self.a, self.a, 0.15)
        a, b1, b2, r = (part.roll(shift, 0) for part in (self.a, self.b1, self.b2, self.r))
        self.pairs(query, key, (a, b1, 10, 3.3), (b1, b2, 8, 2.2), (r, r, 10, 1.8))

    def average(self, layer: int, number: int) -> None:
        """The mean of `M` over the passage so far."""
        query, key = self.head(layer, number, 0.25 * self.m[None], self.s[None], 0.2)
        self.pairs(query, key, (self.r, self.r, 16, 1.8))

    def cite(self, layer: int, number: int, found: Tensor) -> None:
        """At `<|answer|>`: the mark of the passage where `found` is high, the question left out."""
        query, key = self.head(layer, number, self.r, self.a[: len(self.r)], 0.1)
        query[STILL], key[STILL] = 1.6 * self.answering, 1.6 * found - 1.0 * self.asked


# Which head of which layer does what; the last head of the last layers is told where to look (`attending.py`).
WIDE = (
    ("back", 0, 0, 1, "b1"),
    ("back", 0, 1, 2, "b2"),
    ("region", 0, 2),
    ("echo", 1, 0),
    ("copy", 1, 1, 0),
    ("copy", 1, 2, 7),
    ("average", 2, 0),
    ("cite", 2, 1, "m"),
    ("copy", 2, 2, 3),
    ("average", 3, 0),
    ("cite", 4, 3, "s"),
    ("cite", 4, 0, "m"),
    ("copy", 5, 3, 0),
)
NARROW = (
    ("back", 0, 0, 1, "b1"),
    ("back", 0, 1, 2, "b2"),
    ("region", 1, 0),
    ("echo", 2, 0),
    ("copy", 2, 1, 0),
    ("average", 3, 0),
    ("copy", 3, 1, 7),
    ("cite", 4, 1, "s"),
    ("cite", 4, 0, "m"),
    ("copy", 5, 1, 3),
)


@torch.no_grad()
def prime(model: llama.Llama) -> None:
    """Write the circuit into a fresh model of six layers."""
    primer = Primer(model)
    model.model.norm.weight.fill_(5.0 if model.shape.hidden > 128 else 8.0)  # or it takes long to dare say anything
    for name, layer, number, *rest in WIDE if model.shape.heads > 2 else NARROW:
        getattr(primer, name)(layer, number, *(getattr(primer, x) if isinstance(x, str) else x for x in rest))
