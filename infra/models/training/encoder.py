"""The upper layers of multilingual-e5-small in torch, and the states below them, computed once and kept.

Next: contrastive.py, reader.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models.export.multilingual import WIDTH, open_session

HEADS = 12
LONGEST = 128
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
        mixed = (
            functional.scaled_dot_product_attention(*split, attn_mask=mask)
            .transpose(1, 2)
            .reshape(batch, tokens, width)
        )
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


class LowerStates:
    """The states of texts after the frozen layers, by the int8 graph that is shipped; each text is computed once."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._session = open_session(str(directory / "lower.onnx"))
        self._known: dict[tuple[int, ...], NDArray[np.float16]] = {}

    def ids(self, text: str, longest: int = LONGEST) -> tuple[int, ...]:
        """The token ids of a text with the two that frame it, cut at `longest`."""
        found = self.tokenizer.encode(text).ids
        return tuple(found if len(found) <= longest else [*found[: longest - 1], found[-1]])

    def of(self, ids: tuple[int, ...]) -> NDArray[np.float16]:
        """(tokens, width)."""
        if ids not in self._known:
            row = np.array([ids], dtype=np.int64)
            states = self._session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0]
            self._known[ids] = states[0].astype(np.float16)
        return self._known[ids]

    def save(self, path: Path) -> None:
        """Keep on disk what was computed, for the next run over the same lower half."""
        lengths = np.array([len(each) for each in self._known])
        ids = np.array([token for each in self._known for token in each], dtype=np.int32)
        states = np.concatenate(list(self._known.values())) if self._known else np.zeros((0, WIDTH), np.float16)
        draft = path.with_name(path.name + ".new.npz")
        np.savez(draft, lengths=lengths, ids=ids, states=states)
        draft.replace(path)

    def restore(self, path: Path) -> None:
        """Take up what `save` kept, where there is any."""
        if not path.exists():
            return
        kept = np.load(path)
        ends = np.cumsum(kept["lengths"])
        ids, states = kept["ids"], kept["states"]
        for start, end in zip(ends - kept["lengths"], ends, strict=True):
            self._known[tuple(ids[start:end].tolist())] = states[start:end]


def stack(states: Sequence[NDArray[np.float16]]) -> tuple[Tensor, Tensor]:
    """One padded batch and its mask, true at tokens."""
    lengths = torch.tensor([len(each) for each in states])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    batch = np.zeros((*mask.shape, states[0].shape[-1]), dtype=np.float32)
    for row, each in zip(batch, states, strict=True):
        row[: len(each)] = each
    return torch.from_numpy(batch), mask
