"""Trains a tenant's adapter for the draft: rank 3 on queries and values, less than a hundredth of the parameters.

The demonstration tenant, `signpost`, has a screen that shows the cited passages themselves, so its answers are to be
the marks alone: `[2]`, or `[2] [5]`, or `<|none|>`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import generator, guiding
from tidegate.infra.models.data.batching import Example, batches
from tidegate.infra.models.data.prompts import EOS, MARKS, NONE, Prompts
from tidegate.infra.models.evaluation import evaluate
from tidegate.infra.models.training import llama
from tidegate.infra.models.training.lora import PREFIX
from tidegate.infra.models.training.train import THREADS

RANK, ALPHA = 3, 12
SPACE = Prompts(TOKENIZER).text(" ")[0]
PARTS = ("q_proj", "v_proj")


class Adapted(nn.Module):
    """A frozen linear map with a low-rank addition, which starts as nothing."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(RANK, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    @property
    def weight(self) -> Tensor:
        """The sum, as `llama.Attention` reads it."""
        return self.base.weight + ALPHA / RANK * self.up @ self.down


def adapted(model: llama.Llama) -> dict[str, Adapted]:
    """Freeze the model and put an adapter on every query and value; by the name of the matrix."""
    model.requires_grad_(False)
    found = {}
    for number, layer in enumerate(model.model.layers):
        for part in PARTS:
            found[f"model.layers.{number}.self_attn.{part}"] = Adapted(getattr(layer.self_attn, part))
            setattr(layer.self_attn, part, found[f"model.layers.{number}.self_attn.{part}"])
    return found


def habit(sample: generator.Sample) -> list[int]:
    """What the tenant wants to be said: the marks, with a space between them."""
    ids: list[int] = []
    for number, _ in sample.parts:
        ids += [SPACE] if ids else []
        ids.append(MARKS[number - 1])
    return [*(ids or [NONE]), EOS]


def keep(found: dict[str, Adapted], out: Path) -> None:
    """Files as PEFT names them, float16."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {}
    for name, adapter in found.items():
        weights[f"{PREFIX}{name}.lora_A.weight"] = adapter.down.detach().half().contiguous()
        weights[f"{PREFIX}{name}.lora_B.weight"] = adapter.up.detach().half().contiguous()
    save_file(weights, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "draft",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": list(PARTS),
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def exact(model: llama.Llama, builder: Prompts, count: int) -> float:
    """The share of held-out questions that are answered as the tenant wants it."""
    samples = generator.heldout(count, seed=31)
    output = evaluate.answers(model, [builder.question(s.question, s.passages) for s in samples])
    return sum(ids == habit(s)[:-1] for s, ids in zip(samples, output, strict=True)) / count


def train(model: llama.Llama, builder: Prompts, trained: Sequence[nn.Parameter], seconds: float) -> int:
    """Train what is given, and nothing else, by wall time; how many steps that were."""
    r = random.Random(1)
    training = generator.Training()

    def draw() -> Example:
        while True:
            sample = training.sample(r)
            prompt = builder.question(sample.question, sample.passages)
            if len(prompt) < generator.LONGEST:
                return prompt, habit(sample), guiding.Guide()

    optimiser = torch.optim.AdamW(trained, lr=4e-3, weight_decay=0.0)
    started, steps = time.monotonic(), 0
    for pack in batches(r, draw, 4096, 0.0):
        done = (time.monotonic() - started) / seconds
        if done >= 1:
            break
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - done)
        where = pack.weights.flatten().nonzero().squeeze(1)
        logits = model.logits(model(pack.ids).flatten(0, 1)[where])
        loss = functional.cross_entropy(logits, pack.wanted.flatten()[where])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
        if steps % 20 == 0:
            print(f"{done:6.1%} step {steps} loss {float(loss.detach()):.4f}", flush=True)
    with torch.no_grad():
        for weight in trained:
            weight.copy_(weight.half().float())
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--count", type=int, default=180)
    parser.add_argument("--threads", type=int, default=THREADS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    builder = Prompts(TOKENIZER)
    model = llama.load(arguments.base)
    size = sum(weight.numel() for weight in model.parameters())
    before = exact(model, builder, arguments.count)
    found = adapted(model)
    trained = [weight for adapter in found.values() for weight in (adapter.down, adapter.up)]
    steps = train(model, builder, trained, arguments.seconds)
    keep(found, arguments.out)
    count = sum(weight.numel() for weight in trained)
    figures = {
        "parameters": count,
        "share of the base": round(count / size, 5),
        "steps": steps,
        "count": arguments.count,
        "exact match without": round(before, 4),
        "exact match with": round(exact(model.eval(), builder, arguments.count), 4),
    }
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
