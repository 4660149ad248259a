"""Takes the least used inner units out of every layer, so that the model is smaller and still an ordinary Llama.

A unit's use is its mean absolute activation on training prompts times the length of what it writes. Recover afterwards
with `train.py --start PRUNED`, then compare.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from pathlib import Path

import torch
from torch import Tensor

from tidegate.infra.models.data import generator
from tidegate.infra.models.training import llama, train


def used(model: llama.Llama, rows: int) -> list[Tensor]:
    """The use of each inner unit, (inner,) for each layer."""
    totals = [torch.zeros(model.shape.inner) for _ in model.model.layers]

    def watch(number: int) -> None:
        def seen(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            totals[number] += inputs[0].abs().mean((0, 1))

        model.model.layers[number].mlp.down_proj.register_forward_pre_hook(seen)

    for number in range(len(totals)):
        watch(number)
    r = random.Random(9)
    training = generator.Training()
    with torch.no_grad():
        for _ in range(rows):
            prompt, answer = training.example(r)
            model(torch.tensor([prompt + answer]))
    writes = [layer.mlp.down_proj.weight.norm(dim=0) for layer in model.model.layers]
    return [total * write for total, write in zip(totals, writes, strict=True)]


@torch.no_grad()
def pruned(model: llama.Llama, inner: int, rows: int = 60) -> llama.Llama:
    """A new model with `inner` units in each layer, those that are used most."""
    smaller = llama.Llama(dataclasses.replace(model.shape, inner=inner))
    weights = dict(model.state_dict())
    for number, use in enumerate(used(model, rows)):
        kept = use.topk(inner).indices.sort().values
        at = f"model.layers.{number}.mlp"
        for name in ("gate_proj", "up_proj"):
            weights[f"{at}.{name}.weight"] = weights[f"{at}.{name}.weight"][kept]
        weights[f"{at}.down_proj.weight"] = weights[f"{at}.down_proj.weight"][:, kept]
    smaller.load_state_dict(weights)
    return smaller


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inner", type=int, required=True, help="how many units stay; a multiple of 32")
    arguments = parser.parse_args()
    torch.set_num_threads(train.THREADS)
    llama.save(pruned(llama.load(arguments.directory), arguments.inner), arguments.out)


if __name__ == "__main__":
    main()
