"""What is asked of the inside of a model while it is trained: what its stream knows, and where its heads look.

Stated by `guiding.py`, put only in training, no part of the model that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.data.batching import TRUTHS, Batch
from tidegate.infra.models.data.prompts import PASSAGE, TEXT
from tidegate.infra.models.training import llama

OPENERS = (PASSAGE, TEXT)


@dataclass(frozen=True)
class Seats:
    """Which layer's entering stream is asked, and which head is told where to look; a head is (layer, number)."""

    echo: tuple[int, int]
    judged: int
    sentence: tuple[int, int]
    pointer: tuple[int, int]

    @classmethod
    def of(cls, shape: llama.Shape) -> Seats:
        """The last layer points at the next token, the one before it at the sentence quoted, as `priming.py` has it."""
        last, number = shape.layers - 1, shape.heads - 1
        return cls((2 if shape.heads == 2 else 1, 0), last - 1, (last - 1, number), (last, number))


def scores(model: llama.Llama, entering: Tensor, head: tuple[int, int]) -> Tensor:
    """The attention scores of one head, (rows, tokens, tokens), the later ones not left out."""
    layer, size = model.model.layers[head[0]], model.shape.head
    rows = slice(head[1] * size, (head[1] + 1) * size)
    x = layer.input_layernorm(entering)
    cos, sin = model.cos[: x.shape[1]], model.sin[: x.shape[1]]
    query = llama.rotated(functional.linear(x, layer.self_attn.q_proj.weight[rows]), cos, sin)
    key = llama.rotated(functional.linear(x, layer.self_attn.k_proj.weight[rows]), cos, sin)
    return (query @ key.mT).float() / size**0.5


def attention_loss(model: llama.Llama, entering: Tensor, head: tuple[int, int], pairs: Tensor) -> Tensor:
    """How little a head looks where it should: mean negative log attention over the pairs, in nats."""
    if not len(pairs):
        return entering.sum() * 0
    row, asks, looks = pairs.unbind(1)
    found = scores(model, entering, head)[row, asks]
    later = torch.arange(found.shape[1]) > asks[:, None]
    return functional.cross_entropy(found.masked_fill(later, -1e4), looks)


def unheard(model: llama.Llama, entering: Tensor, head: tuple[int, int], pack: Batch) -> Tensor:
    """`attention_loss`, of each token of the passages: it should look at itself in the question, or else at
    `<|bos|>`.
    """
    row, position, present = pack.echoes.unbind(1)
    if not len(row):
        return entering.sum() * 0
    ids = pack.ids
    asked = torch.isin(ids, torch.tensor(OPENERS)).cumsum(1) == 0
    asked[:, :2] = False
    alike = (ids[row] == ids[row, position][:, None]) & asked[row]
    alike[:, 0] = present == 0
    found = scores(model, entering, head)[row, position]
    later = torch.arange(found.shape[1]) > position[:, None]
    every = found.masked_fill(later, -1e4).logsumexp(1)
    return (every - found.masked_fill(~alike, -1e4).logsumexp(1)).mean()


class Judge(nn.Module):
    """Reads from the stream whether a token was asked for, and of the sentence that just ended all `TRUTHS`."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 1 + len(TRUTHS))

    def forward(self, entering: Tensor, truths: Tensor, output: int) -> Tensor:
        """Mean binary cross-entropy over the truths, (n, 3): row, place, 0 or 1."""
        if not len(truths):
            return entering.sum() * 0
        row, position, truth = truths.unbind(1)
        outcome = self.linear(functional.rms_norm(entering[row, position], entering.shape[-1:]))[:, output]
        return functional.binary_cross_entropy_with_logits(outcome.float(), truth.float())


def asked(model: llama.Llama, judge: Judge, entered: list[Tensor], pack: Batch) -> tuple[Tensor, ...]:
    """The losses of what was heard, where it was asked, what was judged, where sentence and next token are."""
    seats = Seats.of(model.shape)
    judged = (judge(entered[seats.judged], pack.truths[name], position) for position, name in enumerate(TRUTHS, 1))
    return (
        judge(entered[seats.echo[0] + 1], pack.echoes, 0),
        unheard(model, entered[seats.echo[0]], seats.echo, pack),
        *judged,
        attention_loss(model, entered[seats.sentence[0]], seats.sentence, pack.sentences),
        attention_loss(model, entered[seats.pointer[0]], seats.pointer, pack.sources),
    )
