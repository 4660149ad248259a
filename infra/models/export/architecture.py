"""What a decoder of the Llama family is made of, read from the `config.json` of its directory.

Llama, Mistral, SmolLM (2, 3), Qwen (2, 2.5, 3) and Gemma (1, 2, 3) differ in biases, norms, activations, windows and
rotary positions alone. Next: `causal_lm` writes them down for ONNX Runtime, `reference` computes them with numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.schemas import TidegateError

Array = np.ndarray[Any, Any]
GEMMAS = ("gemma", "gemma2", "gemma3", "gemma3_text")
FAMILIES = ("llama", "mistral", "smollm3", "qwen2", "qwen3", *GEMMAS)
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}


class ArchitectureRefusedError(TidegateError, ValueError):
    """A directory holds a model that cannot be written down, for the reason in the message."""

    hint = "use a Llama, Mistral, SmolLM, Qwen 2 to 3 or Gemma model in unquantised safetensors, or serve it by vLLM"


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al., 2021): radians a position of each pair of dimensions, and a factor of both turns."""

    rates: Array
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """One layer: its rotary positions (None: none), and how many positions back it looks (0: all)."""

    rotary: Rotary | None
    window: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes and the ways of one model. `norm_offset` is added to the weights of norms."""

    layers: tuple[LayerKind, ...]
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    epsilon: float
    activation: str
    attention_scale: float
    embedding_scale: float
    norm_offset: float
    attention_cap: float
    logit_cap: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Architecture:
        """Read a `config.json`. Raises `ArchitectureRefusedError`."""
        config = flattened(config)
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise ArchitectureRefusedError(f"the model is a {family}")
        if config.get("quantization_config"):
            raise ArchitectureRefusedError("the weights are quantised already")
        is_gemma, heads = family in GEMMAS, int(config["num_attention_heads"])
        head = int(config.get("head_dim") or config["hidden_size"] // heads)
        activation = str(config.get("hidden_activation") or config.get("hidden_act") or "silu")
        if is_gemma and activation == "gelu":
            activation = "gelu_pytorch_tanh"  # early Gemma files name the one and were trained with the other
        if activation not in ACTIVATIONS:
            raise ArchitectureRefusedError(f"the activation is {activation}")
        return cls(
            layers=_layers(config, family, head),
            hidden=int(config["hidden_size"]),
            inner=int(config["intermediate_size"]),
            heads=heads,
            key_heads=int(config.get("num_key_value_heads") or heads),
            head=head,
            vocabulary=int(config["vocab_size"]),
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            activation=ACTIVATIONS[activation],
            attention_scale=float(config.get("query_pre_attn_scalar") or head) ** -0.5,
            embedding_scale=float(config["hidden_size"]) ** 0.5 if is_gemma else 1.0,
            norm_offset=1.0 if is_gemma else 0.0,
            attention_cap=float(config.get("attn_logit_softcapping") or 0.0) if family == "gemma2" else 0.0,
            logit_cap=float(config.get("final_logit_softcapping") or 0.0) if is_gemma else 0.0,
        )


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the language model alone, where the directory holds one that also sees."""
    return {**config, **(config.get("text_config") or {})}


def _layers(config: Mapping[str, Any], family: str, head: int) -> tuple[LayerKind, ...]:
    count = int(config["num_hidden_layers"])
    window = int(config.get("sliding_window") or 0)
    if family in ("qwen2", "qwen3") and not config.get("use_sliding_window", False):
        window = 0
    slides = [kind == "sliding_attention" for kind in config.get("layer_types") or _layer_types(config, family, count)]
    turns = config.get("no_rope_layers") or [1] * count
    everywhere = _rotary(config, head, _rope(config, "full_attention"))
    local = _rotary(config, head, _rope(config, "sliding_attention")) if family.startswith("gemma3") else everywhere
    return tuple(
        LayerKind(
            rotary=(local if slides[number] else everywhere) if turns[number] else None,
            window=window if slides[number] else 0,
        )
        for number in range(count)
    )


def _layer_types(config: Mapping[str, Any], family: str, count: int) -> list[str]:
    """Where the file does not list them: what each family does by itself."""
    if family.startswith("gemma3"):
        period = int(config.get("sliding_window_pattern") or 6)
        return ["full_attention" if (number + 1) % period == 0 else "sliding_attention" for number in range(count)]
    if family == "gemma2":
        return ["full_attention" if number % 2 else "sliding_attention" for number in range(count)]
    first = int(config.get("max_window_layers") or 0) if family in ("qwen2", "qwen3") else 0
    slides = family == "mistral" or (family in ("qwen2", "qwen3") and config.get("use_sliding_window"))
    return ["sliding_attention" if slides and number >= first else "full_attention" for number in range(count)]


def _rope(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`rope_theta` and the scaling of one kind of layer, in the old layout of the file or in the new one."""
    new = config.get("rope_parameters") or {}
    if kind in new:
        return dict(new[kind])
    if new and "rope_type" in new:
        return dict(new)
    if kind == "sliding_attention":
        return {"rope_theta": config.get("rope_local_base_freq", 10_000.0)}
    return {"rope_theta": config.get("rope_theta", 10_000.0), **(config.get("rope_scaling") or {})}


def _rotary(config: Mapping[str, Any], head: int, rope: Mapping[str, Any]) -> Rotary:
    base = float(rope.get("rope_theta", 10_000.0))
    rates = np.float32(base) ** (-np.arange(0, head, 2, dtype=np.float32) / head)
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    if kind in ("default", "dynamic"):  # dynamic changes nothing within the length that was trained
        return Rotary(rates)
    factor = float(rope["factor"])
    if kind == "linear":
        return Rotary((rates / factor).astype(np.float32))
    length = float(rope.get("original_max_position_embeddings") or config["max_position_embeddings"])
    if kind == "llama3":
        low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
        share = np.clip((length * rates / (2 * np.pi) - low) / (high - low), 0.0, 1.0)
        return Rotary(((1 - share) * rates / factor + share * rates).astype(np.float32))
    if kind == "yarn":
        return _yarn(rates, rope, base, length)
    raise ArchitectureRefusedError(f"its rotary positions are scaled by {kind}")


def _yarn(rates: Array, rope: Mapping[str, Any], base: float, length: float) -> Rotary:
    """Peng et al., "YaRN", 2023, section 3.2: slow turns are interpolated, fast ones kept."""
    half, factor = len(rates), float(rope["factor"])

    def dimension(turns: float) -> float:
        return float(half * np.log(length / (turns * 2 * np.pi)) / np.log(base))

    low = max(np.floor(dimension(float(rope.get("beta_fast") or 32.0))), 0.0)
    high = min(np.ceil(dimension(float(rope.get("beta_slow") or 1.0))), 2.0 * half - 1.0)
    kept = 1.0 - np.clip((np.arange(half) - low) / max(high - low, 1e-3), 0.0, 1.0)
    scale = float(rope.get("attention_factor") or (0.1 * np.log(factor) + 1.0 if factor > 1 else 1.0))
    return Rotary((rates / factor * (1.0 - kept) + rates * kept).astype(np.float32), scale)
