"""Exact match on the held-out packs, field accuracy on held-out texts, how much of the target the draft foresees."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import generator
from tidegate.infra.models.data.prompts import EOS, Prompts
from tidegate.infra.models.training import llama

LIMIT = 160


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids padded on the left, and which of them are real; both (rows, tokens)."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    real = torch.zeros(len(prompts), width + LIMIT, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        real[row, width - len(prompt) :] = 1
    return ids, real


@torch.inference_mode()
def greedy(model: llama.Llama, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """What the model says to each prompt, without `<|eos|>`; at most 160 tokens."""
    ids, real = padded(prompts)
    width = ids.shape[1]
    positions = (real.cumsum(1) - 1).clamp(min=0)
    cache = llama.Cache(real)
    step, position = ids, positions[:, :width]
    output: list[Tensor] = []
    done = torch.zeros(len(prompts), dtype=torch.bool)
    while len(output) < LIMIT and not bool(done.all()):
        token = model.logits(model(step, position, cache)[:, -1]).argmax(-1)
        output.append(token)
        done |= token == EOS
        step, position = token[:, None], positions[:, width + len(output) - 1, None]
    rows = torch.stack(output, 1).tolist()
    return [row[: row.index(EOS)] if EOS in row else row for row in rows]


def answers(model: llama.Llama, prompts: Sequence[Sequence[int]], size: int = 40) -> list[list[int]]:
    """`greedy` in batches of about one length, in the order of `prompts`."""
    order = sorted(range(len(prompts)), key=lambda position: len(prompts[position]))
    found: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        for position, output in zip(indices, greedy(model, [prompts[p] for p in indices]), strict=True):
            found[position] = output
    return found


def questions(
    model: llama.Llama, builder: Prompts, samples: Sequence[generator.Sample], shown: int = 0
) -> dict[str, Any]:
    """The share of answers that are right to the last character, by kind, and how those that are not go wrong."""
    output = answers(model, [builder.question(s.question, s.passages) for s in samples])
    right: dict[str, list[int]] = defaultdict(list)
    wrong: dict[str, int] = defaultdict(int)
    for sample, ids in zip(samples, output, strict=True):
        exact = ids == builder.answer(sample.parts)[:-1]
        right[sample.kind].append(exact)
        if not exact:
            text = builder.decoded(ids)
            marks = [ids[0]] == builder.answer(sample.parts)[:1]
            wrong["right first mark, wrong text" if marks else "wrong first mark"] += 1
            if shown:
                shown -= 1
                print(f"{sample}\n   SAID {text}", flush=True)
    shares = {kind: round(sum(rows) / len(rows), 4) for kind, rows in right.items()}
    return {"all": round(sum(map(sum, right.values())) / len(samples), 4), **shares, "wrong": dict(wrong)}


def extraction(model: llama.Llama, builder: Prompts, records: Sequence[Any], shown: int = 0) -> dict[str, float]:
    """The share of fields that are right and of objects that are right as a whole, decoding without constraint."""
    output = answers(model, [builder.extraction(record.schema, record.text) for record in records])
    fields = right = whole = valid = 0
    for record, ids in zip(records, output, strict=True):
        try:
            found = json.loads(builder.decoded(ids))
            valid += isinstance(found, dict)
        except ValueError:
            found = {}
        found = found if isinstance(found, dict) else {}
        good = [key in found and found[key] == value for key, value in record.truth.items()]
        fields, right, whole = fields + len(good), right + sum(good), whole + all(good)
        if shown and not all(good):
            shown -= 1
            print(record, "SAID", builder.decoded(ids), flush=True)
    total = len(records)
    return {"fields": round(right / fields, 4), "objects": round(whole / total, 4), "valid": round(valid / total, 4)}


@torch.inference_mode()
def foreseen(target: llama.Llama, draft: llama.Llama, prompts: Sequence[Sequence[int]]) -> dict[str, float]:
    """Of the target's greedy tokens, the share the draft would say given the true prefix, and mean accepted runs.

    A run for k counts how many of k tokens proposed in a row are the target's, from every place of every answer.
    """
    hits: list[list[bool]] = []
    for prompt, output in zip(prompts, answers(target, prompts), strict=True):
        ids = torch.tensor([[*prompt, *output, EOS]])
        guessed = draft.logits(draft(ids[:, :-1]))[0].argmax(-1)[len(prompt) - 1 :]
        hits.append((guessed == ids[0, len(prompt) :]).tolist())
    result = {"accepted": round(sum(map(sum, hits)) / sum(map(len, hits)), 4)}
    for k in (4, 8, 16):
        runs = []
        for row in hits:
            for start in range(max(1, len(row) - k + 1)):
                window = row[start : start + k]
                runs.append(window.index(False) if False in window else len(window))
        result[f"run_{k}"] = round(sum(runs) / len(runs), 2)
    return result


def foresight(target: llama.Llama, draft: llama.Llama, builder: Prompts, count: int) -> dict[str, dict[str, float]]:
    """`foreseen` for each kind of question and for extraction."""
    samples = generator.heldout(count)
    found = {}
    for kind in generator.KINDS:
        asked = [builder.question(s.question, s.passages) for s in samples if s.kind == kind]
        found[kind] = foreseen(target, draft, asked)
    records = generator.heldout_records(count // len(generator.KINDS))
    found["extraction"] = foreseen(target, draft, [builder.extraction(x.schema, x.text) for x in records])
    return found


def report(directory: Path, count: int, records: int, shown: int, target: Path | None) -> dict[str, Any]:
    """Everything that the card states of the model in `directory`; as a draft, too, where there is a target."""
    builder = Prompts(TOKENIZER)
    model = llama.load(directory)
    figures: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "questions": {**questions(model, builder, generator.heldout(count), shown), "count": count},
        "extraction": {**extraction(model, builder, generator.heldout_records(records), shown), "count": records},
    }
    if target:
        figures["foreseen"] = foresight(llama.load(target), model, builder, min(count, 180))
    return figures


def variant(name: str, directory: str, count: int) -> dict[str, Any]:
    """One line of the table that sets a model beside others."""
    model = llama.load(Path(directory))
    found = questions(model, Prompts(TOKENIZER), generator.heldout(count))
    size = sum(weight.numel() for weight in model.parameters())
    return {"variant": name, "parameters": f"{size:,}", "exact match": f"{100 * found['all']:.1f} %", "count": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=480)
    parser.add_argument("--records", type=int, default=240)
    parser.add_argument("--shown", type=int, default=0, help="print this many wrong answers")
    parser.add_argument("--target", type=Path, help="measure the model as the draft of this one, too")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="the run.json of each training run")
    parser.add_argument("--variants", nargs="*", default=[], help="name=directory of each other model to set beside it")
    parser.add_argument("--keep", action="store_true", help="write figures.json beside the weights")
    parser.add_argument("--threads", type=int, default=2)
    some = parser.parse_args()
    torch.set_num_threads(some.threads)
    figures = report(some.directory, some.count, some.records, some.shown, some.target)
    pairs = [named.split("=", 1) for named in some.variants]
    figures["variants"] = [variant(name, directory, some.count) for name, directory in pairs]
    print(json.dumps(figures, indent=1))
    if some.keep:
        figures["runs"] = [json.loads(run.read_text()) for run in some.runs]
        (some.directory / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
