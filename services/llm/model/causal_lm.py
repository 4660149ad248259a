"""A causal language model in ONNX with its keys and values kept between calls."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from tidegate.services.inference import OnnxSession, Provider, ProviderUnavailableError, RuntimeArray, TensorInfo
from tidegate.services.llm.errors import ContextOverflowError, ModelRefusedError
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenizerRefusedError, TokenText
from tidegate.services.llm.text.vocabularies import load_vocabulary
from tidegate.services.llm.text.vocabulary import Vocabulary

Logits = NDArray[np.float32]
_CACHE = re.compile(r"^(past|present)_?(?:key_values)?[._]?(?:(\d+)[._](key|value)|(key|value)[._](\d+))$")
_KNOWN = ("input_ids", "attention_mask", "position_ids")


class CausalLM:
    """Token ids in, logits out. Safe to use from several threads at once; a `ModelContext` belongs to one.

    Takes any decoder with past keys and values (batch, heads, past, width) in and out, with or without
    `attention_mask` and `position_ids`, with as many key heads as its inputs say. Attention is over the whole context.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pinned_bytes: int = 64 << 20,
        providers: Sequence[Provider] = ("cpu",),
        threads: int = 1,
    ) -> None:
        """Read `config.json`, `tokenizer.json`, `model.onnx`; `pinned_bytes` bounds what `pin` keeps.

        `providers`: what it is computed on, the first that can; `threads` of the CPU for one pass. Raises
        `ModelRefusedError`, `ProviderUnavailableError`.
        """
        try:
            config: dict[str, Any] = json.loads((directory / "config.json").read_text())
            self.tokens: TokenText | ChatTokenizer = load_vocabulary(directory)
            self.context: int = config["max_position_embeddings"]
            self._session = OnnxSession(directory / "model.onnx", providers=providers, threads=threads)
            self.version: str = _version(directory, self.tokens.digest)
            self.vocabulary: int = _vocabulary(self._session, self.tokens)
            self._takes = {each.name for each in self._session.inputs}
            past = _pasts(self._session.inputs)
            self._present = _presents(self._session.outputs, past)
            self._empty = {each.name: RuntimeArray.of(_empty(each, config)) for each in past.values()}
        except ProviderUnavailableError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelRefusedError(directory, str(error), getattr(error, "hint", "")) from error
        except Exception as error:  # the runtime's own errors share no base
            raise ModelRefusedError(directory, f"model.onnx: {error}") from error
        self._pinned = _Pinned(pinned_bytes)

    @property
    def own_tokens(self) -> TokenText:
        """The tokens of a model in our own format. Raises `TokenizerRefusedError` for one in any other."""
        if not isinstance(self.tokens, TokenText):
            raise TokenizerRefusedError("it needs a model with our own control tokens")
        return self.tokens

    def open(self, ids: Sequence[int] = ()) -> ModelContext:
        """A context that holds the longest pinned prefix of `ids`, but never all of `ids`: its end must be run."""
        held, kept = self._pinned.longest(tuple(ids))
        return ModelContext(self, held, kept or dict(self._empty))

    def pin(self, ids: Sequence[int]) -> None:
        """Compute `ids` once for all prompts that begin with them; the least used are let go beyond the limit."""
        if not self._pinned.has(tuple(ids)):
            context = self.open(ids)
            context.forward(ids[context.length :])
            self._pinned.put(tuple(ids), context.kept)

    def run(
        self, kept: dict[str, RuntimeArray], past: int, ids: Sequence[int]
    ) -> tuple[Logits, dict[str, RuntimeArray]]:
        """One forward pass behind `past` tokens: logits (len(ids), vocabulary) and the keys and values of all."""
        row = np.array([ids], dtype=np.int64)
        feeds: dict[str, NDArray[Any]] = {"input_ids": row}
        if "attention_mask" in self._takes:
            feeds["attention_mask"] = np.ones((1, past + len(ids)), dtype=np.int64)
        if "position_ids" in self._takes:
            feeds["position_ids"] = np.arange(past, past + len(ids), dtype=np.int64)[None]
        logits, present = self._session.run_keeping(feeds, kept, "logits", list(self._present))
        return logits[0].astype(np.float32, copy=False), dict(zip(self._present.values(), present, strict=True))


class ModelContext:
    """The tokens that a model has read: `length` of them. What they left behind is shared and never written to."""

    def __init__(self, lm: CausalLM, held: tuple[int, ...], kept: dict[str, RuntimeArray]) -> None:
        self._lm = lm
        self.ids: list[int] = list(held)
        self.kept = kept

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return len(self.ids)

    @property
    def room(self) -> int:
        """How many more fit."""
        return self._lm.context - len(self.ids)

    def forward(self, ids: Sequence[int]) -> Logits:
        """Read `ids`; row i of the logits is for what follows `ids[i]`. Raises `ContextOverflowError`."""
        if not ids:
            raise ValueError("there must be something to read")
        if len(ids) > self.room:
            raise ContextOverflowError(self.length + len(ids), self._lm.context)
        logits, self.kept = self._lm.run(self.kept, self.length, ids)
        self.ids += ids
        return logits[:, : self._lm.vocabulary]

    def rollback(self, length: int) -> None:
        """Forget all but the first `length` tokens; copies what stays, about 0.01 ms for each layer and 300 tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot go back to {length} tokens: there are {self.length}")
        if length < self.length:
            self.kept = {name: RuntimeArray.of(each.read()[:, :, :length]) for name, each in self.kept.items()}
            del self.ids[length:]


class _Pinned:
    """Prefixes by their ids, the least recently used first."""

    def __init__(self, most: int) -> None:
        self._held: LRUCache[tuple[int, ...], dict[str, RuntimeArray]] = LRUCache(most, getsizeof=_count_bytes)
        self._lock = threading.Lock()

    def has(self, ids: tuple[int, ...]) -> bool:
        with self._lock:
            return ids in self._held

    def longest(self, ids: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, RuntimeArray] | None]:
        with self._lock:
            fit = [held for held in self._held if len(held) < len(ids) and held == ids[: len(held)]]
            if not fit:
                return (), None
            best = max(fit, key=len)
            return best, dict(self._held[best])

    def put(self, ids: tuple[int, ...], kept: dict[str, RuntimeArray]) -> None:
        with self._lock, suppress(ValueError):  # what is larger than the cache is not kept
            if ids not in self._held:
                self._held[ids] = kept


def _count_bytes(kept: dict[str, RuntimeArray]) -> int:
    return sum(each.read().nbytes for each in kept.values())


def _key(name: str, kind: str) -> tuple[int, str] | None:
    """Layer and `key` or `value` of an input or output that is named as such; `kind` is `past` or `present`."""
    match = _CACHE.match(name)
    if match is None or match[1] != kind:
        return None
    return int(match[2] or match[5]), match[3] or match[4]


def _pasts(inputs: Sequence[TensorInfo]) -> dict[tuple[int, str], TensorInfo]:
    """The inputs for past keys and values by layer and kind; all others must be known."""
    found = {key: each for each in inputs if (key := _key(each.name, "past")) is not None}
    others = {each.name for each in inputs} - {each.name for each in found.values()}
    if strange := sorted(others.difference(_KNOWN)):
        raise ValueError(f"model.onnx wants {strange}")
    if "input_ids" not in others:
        raise ValueError("model.onnx wants no input_ids")
    if not found:
        raise ValueError("model.onnx takes no past keys and values")
    return found


def _presents(outputs: Sequence[TensorInfo], past: dict[tuple[int, str], TensorInfo]) -> dict[str, str]:
    """Which output becomes which input."""
    found = {key: each.name for each in outputs if (key := _key(each.name, "present")) is not None}
    if found.keys() != past.keys():
        raise ValueError("model.onnx does not give back the keys and values that it takes")
    return {name: past[key].name for key, name in found.items()}


def _vocabulary(session: OnnxSession, tokens: Vocabulary) -> int:
    logits = next((each for each in session.outputs if each.name == "logits"), None)
    if logits is None:
        raise ValueError("model.onnx has no output `logits`")
    width = logits.shape[-1] or tokens.size
    if width < tokens.size:
        raise ValueError(f"{width} logits for a vocabulary of {tokens.size}")
    return tokens.size


def _version(directory: Path, tokenizer: str) -> str:
    """Twelve digits that change with the graph, its weights where they stand beside it, and the tokenizer."""
    digest = hashlib.sha256()
    for name in ("model.onnx", "model.onnx.data"):
        if (directory / name).is_file():
            with (directory / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(digest.digest() + tokenizer.encode()).hexdigest()[:12]


def _empty(described: TensorInfo, config: dict[str, Any]) -> NDArray[Any]:
    """Keys or values of no token; sizes that the graph leaves free come from the configuration."""
    heads = config.get("num_attention_heads", 0)
    stated = (config.get("num_key_value_heads", heads), config.get("head_dim"))
    width = stated[1] or (config.get("hidden_size", 0) // heads if heads else 0)
    shape = described.shape
    if len(shape) != 4 or described.type is None or not (shape[1] or stated[0]) or not (shape[3] or width):
        raise ValueError(f"{described.name} is not (batch, heads, past, width)")
    return np.zeros((1, shape[1] or stated[0], 0, shape[3] or width), dtype=described.type)
