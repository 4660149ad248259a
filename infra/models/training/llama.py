"""A small Llama in plain torch whose parameter names and arithmetic are those of Hugging Face's LlamaForCausalLM."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a model. `hidden` is the width of the stream; a head is `hidden // heads` wide unless stated."""

    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 4
    inner: int = 704
    heads: int = 4
    head: int = 64
    theta: float = 10000.0
    epsilon: float = 1e-5

    def config(self) -> dict[str, Any]:
        """The `config.json` of a Hugging Face directory."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "head_dim": self.head,
            "hidden_act": "silu",
            "max_position_embeddings": 1024,
            "rope_theta": self.theta,
            "rope_scaling": None,
            "rms_norm_eps": self.epsilon,
            "initializer_range": 0.02,
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "pretraining_tp": 1,
            "tie_word_embeddings": True,
            "use_cache": True,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "float32",
        }

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """The sizes that a `config.json` states."""
        return cls(
            config["vocab_size"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["intermediate_size"],
            config["num_attention_heads"],
            config["head_dim"],
            config["rope_theta"],
            config["rms_norm_eps"],
        )


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, the half-rotation form: x is (batch, heads, tokens, head)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def linear(wide: int, narrow: int) -> nn.Linear:
    return nn.Linear(wide, narrow, bias=False)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head = shape.heads, shape.head
        across = shape.heads * shape.head
        self.q_proj = linear(shape.hidden, across)
        self.k_proj = linear(shape.hidden, across)
        self.v_proj = linear(shape.hidden, across)
        self.o_proj = linear(across, shape.hidden)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, self.head).transpose(1, 2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Cache | None) -> Tensor:
        joint = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
        query, key, value = functional.linear(x, joint).chunk(3, dim=-1)
        query, key, value = self.split(query), self.split(key), self.split(value)
        query, key = rotated(query, cos, sin).to(value.dtype), rotated(key, cos, sin).to(value.dtype)
        if past is None:  # spelled out: on these lengths faster than the fused kernel, above all backwards
            later = torch.full((x.shape[1], x.shape[1]), -1e4).triu(1)
            found = (query @ key.mT).float() / self.head**0.5 + later
            mixed = found.softmax(-1).to(value.dtype) @ value
        else:
            key, value, mask = past.extended(self, key, value)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = linear(shape.hidden, shape.inner)
        self.up_proj = linear(shape.hidden, shape.inner)
        self.down_proj = linear(shape.inner, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        joint = torch.cat((self.gate_proj.weight, self.up_proj.weight))
        gate, up = functional.linear(x, joint).chunk(2, dim=-1)
        return self.down_proj(functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.epsilon)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Cache | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Cache:
    """Keys and values of a batch of prompts padded on the left; `real` is (batch, tokens), 0 at the padding."""

    def __init__(self, real: Tensor) -> None:
        self.real = real
        self.kept: dict[Attention, tuple[Tensor, Tensor]] = {}

    def extended(self, layer: Attention, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The keys and values so far with the new ones behind, and which of them each new token may see."""
        new = key.shape[2]
        if layer in self.kept:
            old_key, old_value = self.kept[layer]
            key, value = torch.cat((old_key, key), 2), torch.cat((old_value, value), 2)
        self.kept[layer] = key, value
        total = key.shape[2]
        causal = torch.ones(new, total, dtype=torch.bool).tril(total - new)
        mask = causal & self.real[:, None, None, :total].bool()
        return key, value, mask | torch.eye(total, dtype=torch.bool)[total - new :]


class Trunk(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.epsilon)


class Llama(nn.Module):
    """(batch, tokens) int64 to the stream before the vocabulary, (batch, tokens, hidden) float32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        rates = shape.theta ** (-torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head)
        angles = torch.outer(torch.arange(1024, dtype=torch.float32), rates).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                zero = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.zeros_(parameter) if zero else nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, positions: Tensor | None = None, past: Cache | None = None) -> Tensor:
        """The stream after the last norm; `positions` (batch, tokens) where they do not start at 0."""
        return self.tapped(ids, positions, past)[0]

    def tapped(self, ids: Tensor, positions: Tensor | None = None, past: Cache | None = None) -> tuple[Tensor, ...]:
        """`forward`, and the stream as it enters each layer."""
        if positions is None:
            cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        else:
            cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = self.model.embed_tokens(ids)
        entered = []
        for layer in self.model.layers:
            entered.append(x)
            x = layer(x, cos, sin, past)
        return self.model.norm(x), *entered

    def logits(self, stream: Tensor) -> Tensor:
        return functional.linear(stream, self.model.embed_tokens.weight)


def save(model: Llama, directory: Path, half: bool = False) -> None:
    """Write `config.json` and `model.safetensors`, each in one step; `half` stores float16."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: (w.half() if half else w.float()).contiguous() for name, w in model.state_dict().items()}
    scratch = directory / ".model.safetensors"
    save_file(weights, scratch, metadata={"format": "pt"})
    scratch.chmod(0o644)
    scratch.rename(directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(model.shape.config(), indent=1) + "\n")


def load(directory: Path) -> Llama:
    """The model in a Hugging Face directory, as float32."""
    model = Llama(Shape.of(json.loads((directory / "config.json").read_text())))
    model.load_state_dict({name: w.float() for name, w in load_file(directory / "model.safetensors").items()})
    model.eval()
    return model
