"""The field reader's upper half in torch: fields and a window of a text read together. Next: field_reader.py,
export/extraction_graph.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.export.extraction_graph import HIDDEN, SHARED
from tidegate.infra.models.export.multilingual import UPPER, WIDTH
from tidegate.infra.models.training.encoder import Layer, Weights

BELIEF = 2.0
"""The logit of absence before anything is learned: of many values few are meant."""
_HEADS = {"span": (HIDDEN + SHARED, 3 * WIDTH), "asked": (HIDDEN + SHARED, WIDTH), "score": (1, HIDDEN)}
_HEADS["absent"] = (1, WIDTH)


class FieldNet(nn.Module):
    """Upper layers that begin as the reader's, a logit for each pair of field and value, and one for each absence."""

    def __init__(self, weights: Weights) -> None:
        """`weights`: those of a net, or of layers only; heads that are not among them begin at random."""
        super().__init__()
        self.layers = nn.ModuleList([Layer(weights, number) for number in UPPER])
        self.parts = nn.Parameter(torch.tensor(weights["parts"]))
        for name, (rows, columns) in _HEADS.items():
            head = nn.Linear(columns, rows)
            if name == "absent":
                nn.init.constant_(head.bias, BELIEF)
            if weights.get(f"{name}.weight", np.zeros(0)).shape == (rows, columns):
                head.weight.data = torch.tensor(weights[f"{name}.weight"])
                head.bias.data = torch.tensor(weights[f"{name}.bias"])
            setattr(self, name, head)

    def forward(self, read: Mapping[str, NDArray[Any]], seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (pairs) and (fields) of what the graph takes; `seen` is true at the tokens that are attended to."""
        given = {name: torch.from_numpy(value) for name, value in read.items()}
        x = given["states"] + self.parts[given["parts"]]
        mask = torch.ones(x.shape[1], dtype=torch.bool) if seen is None else seen
        for layer in self.layers:
            x = layer(x, mask[None, None, None, :])
        x = x[0]
        ends = [x[given["starts"]], x[given["ends"]], given["pooling"] @ x]
        asking = given["asking"] @ x
        spans, asked = self.span(torch.cat(ends, dim=1))[given["pair_spans"]], self.asked(asking)[given["pair_fields"]]
        mixed = functional.gelu(spans[:, :HIDDEN] + asked[:, :HIDDEN])
        shared = (spans[:, HIDDEN:] * asked[:, HIDDEN:]).sum(1) / SHARED**0.5
        return self.score(mixed)[:, 0] + shared, self.absent(asking)[:, 0]

    def weights(self) -> dict[str, NDArray[Any]]:
        """All of it under the names that the graph knows."""
        found: dict[str, NDArray[Any]] = {"parts": self.parts.detach().numpy()}
        for layer in self.layers:
            found |= layer.weights()
        for name in _HEADS:
            head = getattr(self, name)
            found |= {f"{name}.{part}": getattr(head, part).detach().numpy() for part in ("weight", "bias")}
        return found
