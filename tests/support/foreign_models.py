"""Hugging Face directories of other families with tokenizers of their own, random weights, small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.support.tiny_models import PROSE

HIDDEN, INNER, LAYERS, CONTEXT = 64, 96, 3, 512
PADDED = 7
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_theta": 500000.0, "tie_word_embeddings": False},
    "llama-scaled": {
        "model_type": "llama",
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "qwen2": {  # its files name no width of a head, and vLLM takes none from them
        "model_type": "qwen2",
        "rope_theta": 1000000.0,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": None,
    },
    "qwen3": {"model_type": "qwen3", "rope_theta": 1000000.0},
    "gemma": {"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh"},
    "gemma2": {
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "sliding_window": 16,
    },
    "gemma3": {
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "sliding_window_pattern": 3,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
    },
}
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def save_foreign(directory: Path, family: str, *, seed: int = 1) -> Path:
    """Write `config.json`, `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` and weights."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = FAMILIES[family]["model_type"]
    tokenizer, settings, ends = _tokenizers(kind)
    tokenizer.save(str(directory / "tokenizer.json"))
    size = tokenizer.get_vocab_size() + PADDED  # families pad their vocabulary
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[kind]],
        "vocab_size": size,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "eos_token_id": ends[0],
        **FAMILIES[family],
    }
    config = {name: value for name, value in config.items() if value is not None}
    save_file(_weights(config, np.random.default_rng(seed)), str(directory / "model.safetensors"), {"format": "pt"})
    files = {"config": config, "tokenizer_config": settings, "generation_config": {"eos_token_id": ends}}
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def _weights(config: dict[str, Any], dice: np.random.Generator) -> dict[str, Any]:
    kind, heads, key_heads = (config[name] for name in ("model_type", "num_attention_heads", "num_key_value_heads"))
    head = config.get("head_dim") or HIDDEN // heads

    def matrix(rows: int, columns: int, scale: float = 1.5) -> Any:
        return (dice.normal(0, scale, (rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def vector(size: int, around: float = 0.0) -> Any:
        return (around + dice.normal(0, 0.3, size)).astype(np.float32)

    norm = 0.0 if kind.startswith("gemma") else 1.0
    found = {"model.embed_tokens.weight": matrix(config["vocab_size"], HIDDEN, 4.0)}
    found["model.norm.weight"] = vector(HIDDEN, norm)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = matrix(config["vocab_size"], HIDDEN, 4.0)
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if kind in ("gemma2", "gemma3_text") else []
    for number in range(LAYERS):
        at = f"model.layers.{number}."
        for part, count in (("q", heads), ("k", key_heads), ("v", key_heads)):
            found[f"{at}self_attn.{part}_proj.weight"] = matrix(count * head, HIDDEN)
            if kind == "qwen2":
                found[f"{at}self_attn.{part}_proj.bias"] = vector(count * head)
        found[f"{at}self_attn.o_proj.weight"] = matrix(HIDDEN, heads * head)
        found[f"{at}mlp.gate_proj.weight"] = matrix(INNER, HIDDEN)
        found[f"{at}mlp.up_proj.weight"] = matrix(INNER, HIDDEN)
        found[f"{at}mlp.down_proj.weight"] = matrix(HIDDEN, INNER)
        found |= {f"{at}{name}.weight": vector(HIDDEN, norm) for name in norms}
        if kind in ("qwen3", "gemma3_text"):
            found |= {f"{at}self_attn.{part}_norm.weight": vector(head, norm) for part in "qk"}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in found:
            found[name][-PADDED:] = 0.0  # no trained model ever says a padded id
    return found


def _tokenizers(kind: str) -> tuple[Tokenizer, dict[str, Any], list[int]]:
    """A tokenizer as the family has it, its `tokenizer_config.json`, and what ends an answer."""
    if kind.startswith("gemma"):
        made, names = _sentence_pieces(), ("<bos>", "<eos>")
        template, ends = GEMMA, ["<eos>", "<end_of_turn>"]
    elif kind == "llama":
        controls = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        made, names = _byte_level(controls), ("<|begin_of_text|>", "<|eot_id|>")
        template, ends = LLAMA3, ["<|end_of_text|>", "<|eot_id|>"]
    else:
        made, names = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]), ("", "<|im_end|>")
        made.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
        template, ends = CHATML, ["<|im_end|>", "<|endoftext|>"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": template,
        "bos_token": names[0] or None,
        "eos_token": names[1],
    }
    return made, settings, [number for end in ends if (number := made.token_to_id(end)) is not None]


def _byte_level(controls: list[str]) -> Tokenizer:
    """Byte-level BPE with control tokens behind the vocabulary, as Qwen and Llama 3 have them."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        PROSE * 8, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in controls])
    return made


def _sentence_pieces() -> Tokenizer:
    """BPE with byte fallback and `▁` for spaces; control tokens, and runs of line ends, inside the vocabulary."""
    controls = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Replace(" ", "▁")
    learned.train_from_iterator(PROSE * 8, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    pieces = [*controls, *bytes_, "\n\n", *(piece for piece in model["vocab"] if piece not in controls)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in controls])
    made.add_tokens([AddedToken("\n\n", special=False, normalized=False)])
    return made
