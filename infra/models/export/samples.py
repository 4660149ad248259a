"""What the graphs are shown before they are quantised: questions, each with the head of a document that answers it.

They are those of `samples.json`: the first of each file in `data/questions`, in a file that is in the wheel.
Next: balance.py, which takes from them how large each channel gets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from tidegate.infra.models.export.session import open_session

SAMPLES = Path(__file__).with_name("samples.json")
Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]
Ids = Sequence[int]


class Pair(NamedTuple):
    """The token ids of a question, and those of a passage."""

    question: Ids
    passage: Ids


class Samples(NamedTuple):
    """What each kind of graph is fed: ids of `texts`, their states, and pairs to read and to extract from."""

    texts: list[Feeds]
    lower: list[Feeds]
    upper: list[Feeds]
    read: list[Feeds]
    extract: list[Feeds]


def read_pairs(encode: Callable[[str], Ids]) -> Iterator[Pair]:
    """The token ids of every sample, as a question and as a passage of some hundred tokens are embedded."""
    for sample in json.loads(SAMPLES.read_text(encoding="utf-8")):
        yield Pair(encode(f"query: {sample['question']}"), encode(f"passage: {sample['passage']}"))


def make_samples(found: Sequence[Pair], lower: onnx.ModelProto, middle: onnx.ModelProto) -> Samples:
    """What the graphs above take, as the exact `lower` and `middle` make it of the pairs."""
    runs = (open_session(lower.SerializeToString()), open_session(middle.SerializeToString()))
    made = Samples([], [], [], [], [])
    for pair in found:
        states = []
        for ids in pair:
            row = np.array([ids], dtype=np.int64)
            mask = np.ones_like(row)
            made.texts.append({"input_ids": row, "attention_mask": mask})
            made.lower.append({"states": runs[0].run(None, made.texts[-1])[0], "attention_mask": mask})
            made.upper.append({"states": runs[1].run(None, made.lower[-1])[0], "attention_mask": mask})
            states.append((made.lower[-1]["states"], made.upper[-1]["states"]))
        (low_question, question), (low_passage, passage) = states
        made.read.append(_reading(low_question, low_passage))
        made.extract.append(_extracting(question, passage))
    return made


def _joined(question: Array, passage: Array) -> Feeds:
    states = np.concatenate([question, passage], axis=1)
    parts = np.zeros(states.shape[:2], np.int64)
    parts[:, question.shape[1] :] = 1
    return {"states": states, "parts": parts}


def _reading(question: Array, passage: Array) -> Feeds:
    """The passage as one unit."""
    feeds = _joined(question, passage)
    pooling = feeds["parts"].astype(np.float32) / passage.shape[1]
    mask = np.ones_like(feeds["parts"])
    return {**feeds, "attention_mask": mask, "pooling": pooling, "rows": np.zeros(1, np.int64)}


def _extracting(question: Array, passage: Array) -> Feeds:
    """The question as one field, the whole passage as its one value."""
    feeds = _joined(question, passage)
    parts = feeds["parts"].astype(np.float32)
    begin, end = (np.array([at], np.int64) for at in (question.shape[1], parts.shape[1] - 1))
    first = np.zeros(1, np.int64)
    spans = {"starts": begin, "ends": end, "pooling": parts / passage.shape[1]}
    return {**feeds, **spans, "asking": (1 - parts) / question.shape[1], "pair_spans": first, "pair_fields": first}
