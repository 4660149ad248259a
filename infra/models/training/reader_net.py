"""The reader's layers in torch: question and window read together. Next: reader.py, export/reader_graph.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.data.reading import Pair
from tidegate.infra.models.evaluation.states import FrozenStates
from tidegate.infra.models.export.multilingual import READING, WIDTH
from tidegate.infra.models.training.encoder import Layer, Weights, stack

BELIEF = -2.0
"""The logit of a unit before anything is learned: most do not answer."""
_HEADS = {"mix": (WIDTH, 4 * WIDTH), "answer": (1, WIDTH), "span": (2, WIDTH)}


class Batch(msgspec.Struct):
    """What the graph takes, for some pairs; `pooling` and `rows` have an entry for each piece."""

    states: Tensor
    parts: Tensor
    mask: Tensor
    pooling: Tensor
    rows: Tensor


class ReaderNet(nn.Module):
    """Layers that begin as those of the embedding, a score for each unit, a start and an end for each token.

    Where `weights` has heads they go on from there.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(weights, number) for number in READING])
        self.parts = nn.Parameter(torch.zeros(2, WIDTH))
        self.register_buffer("centre", torch.tensor(weights["centre"]))
        for name, (rows, columns) in _HEADS.items():
            setattr(self, name, nn.Linear(columns, rows))
        nn.init.constant_(self.answer.bias, BELIEF)
        heads = [name for name in weights if name.split(".")[0] in ("parts", *_HEADS)]
        self.load_state_dict({name: torch.tensor(weights[name]) for name in heads}, strict=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (units), and (batch, tokens, 2) of start and end."""
        x = batch.states + self.parts[batch.parts]
        for layer in self.layers:
            x = layer(x, batch.mask[:, None, None, :])
        asked = (batch.mask & (batch.parts == 0)).to(x.dtype)
        asked = torch.bmm((asked / asked.sum(1, keepdim=True))[:, None], x)[:, 0][batch.rows]
        unit = torch.bmm(batch.pooling[:, None], x[batch.rows])[:, 0]
        unit, asked = (functional.layer_norm(each - self.centre, (WIDTH,)) for each in (unit, asked))
        features = torch.cat([unit, x[batch.rows, 0], unit * asked, (unit - asked).abs()], dim=1)
        answers: Tensor = self.answer(torch.tanh(self.mix(features)))[:, 0]
        return answers, self.span(x)

    def weights(self) -> dict[str, NDArray[Any]]:
        """All of it under the names that the graph knows."""
        found = {"parts": self.parts.detach().numpy(), "centre": self.centre.numpy()}
        for layer in self.layers:
            found |= layer.weights()
        for name in _HEADS:
            head = getattr(self, name)
            found |= {f"{name}.{part}": getattr(head, part).detach().numpy() for part in ("weight", "bias")}
        return found


def make_batch(pairs: Sequence[Pair], states: FrozenStates) -> Batch:
    """The states of each question followed by those of its window."""
    rows = [torch.cat([torch.from_numpy(states.of(ids)) for ids in (pair.question, pair.window.ids)]) for pair in pairs]
    stacked, mask = stack([row.numpy() for row in rows])
    asked = torch.tensor([len(pair.question) for pair in pairs])
    parts = (mask & (torch.arange(mask.shape[1])[None] >= asked[:, None])).long()
    pieces = [(number, piece) for number, pair in enumerate(pairs) for piece in pair.window.pieces]
    pooling = torch.zeros(len(pieces), mask.shape[1])
    for at, (number, piece) in enumerate(pieces):
        first = len(pairs[number].question) + piece.start
        pooling[at, first : first + piece.end - piece.start] = 1.0 / (piece.end - piece.start)
    return Batch(stacked, parts, mask, pooling, torch.tensor([number for number, _ in pieces]))
