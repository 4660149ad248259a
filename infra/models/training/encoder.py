"""The upper layers of multilingual-e5-small in torch, and the states below them, computed once and kept.

Next: contrastive.py, reader.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.export.multilingual import WIDTH

HEADS = 12
HIDDEN = -1e4
"""The attention score of what is padding; every row of a batch has a token."""
_LINEAR = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "inner": "intermediate.dense",
    "outer": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}

Weights = Mapping[str, NDArray[Any]]


class Layer(nn.Module):
    """One post-norm encoder layer, with the names that BERT gives its weights."""

    def __init__(self, weights: Weights, number: int) -> None:
        super().__init__()
        self.prefix = f"encoder.layer.{number}"
        for short, name in _LINEAR.items():
            matrix = torch.tensor(weights[f"{self.prefix}.{name}.weight"])
            linear = nn.Linear(matrix.shape[1], matrix.shape[0])
            linear.weight.data = matrix
            linear.bias.data = torch.tensor(weights[f"{self.prefix}.{name}.bias"])
            setattr(self, short, linear)
        for short, name in _NORMS.items():
            norm = nn.LayerNorm(WIDTH, eps=1e-12)
            norm.weight.data = torch.tensor(weights[f"{self.prefix}.{name}.weight"])
            norm.bias.data = torch.tensor(weights[f"{self.prefix}.{name}.bias"])
            setattr(self, short, norm)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`mask` is true at tokens, (batch, 1, 1, tokens)."""
        batch, tokens, width = x.shape
        split = [
            linear(x).view(batch, tokens, HEADS, -1).transpose(1, 2) for linear in (self.query, self.key, self.value)
        ]
        # Written out: with torch's own attention a backward pass in bfloat16 takes half as long again on a processor.
        query, key, value = split
        scores = (query * (width // HEADS) ** -0.5 @ key.transpose(2, 3)).masked_fill(~mask, HIDDEN)
        mixed = (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).reshape(batch, tokens, width)
        x = self.attention_norm(self.attended(mixed) + x)
        found: Tensor = self.output_norm(self.outer(functional.gelu(self.inner(x))) + x)
        return found

    def weights(self) -> dict[str, NDArray[Any]]:
        """Its weights under BERT's names."""
        return {
            f"{self.prefix}.{name}.{part}": getattr(getattr(self, short), part).detach().numpy()
            for short, name in (_LINEAR | _NORMS).items()
            for part in ("weight", "bias")
        }


def stack(states: Sequence[NDArray[np.float16]]) -> tuple[Tensor, Tensor]:
    """One padded batch and its mask, true at tokens."""
    lengths = torch.tensor([len(each) for each in states])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    batch = np.zeros((*mask.shape, states[0].shape[-1]), dtype=np.float32)
    for row, each in zip(batch, states, strict=True):
        row[: len(each)] = each
    return torch.from_numpy(batch), mask
