"""What the graphs are shown before they are quantised: a question and the head of its document, of every file of ours.

Next: balance.py, which takes from them how large each channel gets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from tidegate.infra.models.data.qa import OWN
from tidegate.infra.models.export.session import open_session

LETTERS = 600
"""So much of a document is shown: two or three hundred tokens, as a window of the reader has."""
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


def sample_files() -> list[Path]:
    """The files that the samples are from, in a fixed order."""
    return sorted(OWN.glob("*.jsonl"))


def pairs(encode: Callable[[str], Ids]) -> Iterator[Pair]:
    """The first question of every file, and its document as a passage."""
    for path in sample_files():
        with path.open(encoding="utf-8") as lines:
            document = json.loads(next(lines))
        question = document["questions"][0]["text"]
        passage = f"passage: {document['title']}: {document['text'][:LETTERS]}"
        yield Pair(encode(f"query: {question}"), encode(passage))


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
