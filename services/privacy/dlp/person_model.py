"""Finds names and addresses that no rule finds, by a small model and a filter over what it proposes.

The model is Rampart (CC BY 4.0; infra/models/weights/names/MODEL_CARD.md). Next: person_words.py.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

from tidegate.schemas import TidegateError
from tidegate.services.inference import OnnxSession, OpenedModels
from tidegate.services.languages.compounds import is_part, load_parts
from tidegate.services.model_files import read_built
from tidegate.services.privacy.dlp.finding import PersonalSpan, merge_spans
from tidegate.services.privacy.dlp.person_context import NO_NAMES, VERBS, lower_capitals, read_context
from tidegate.services.privacy.dlp.person_evidence import CERTAIN, weigh_context
from tidegate.services.privacy.dlp.person_filter import SpanFilter
from tidegate.services.privacy.dlp.person_groups import find_candidates
from tidegate.services.privacy.dlp.person_words import FloatArray, ScoredWord, average_pieces, describe, split_words

FILES = ("model.onnx", "tokenizer.json", "labels.json", "filter.safetensors")
WINDOW = 128
"""Pieces read in one run; a longer text is read in windows, which keeps time linear in its length."""
OVERLAP = 32
STEP = WINDOW - OVERLAP
SHORT = 4
"""Letters of the shortest word that may be a name in a text without capitals."""
UNSURE = (-5.0, 1.25)
"""Between these scores of a group of words, above the threshold of the filter without the model, the model is asked."""


class NameModelMissingError(TidegateError, FileNotFoundError):
    """There is no usable model for names and addresses in the settings' `models_dir`."""

    hint = "run `make models`, or switch it off with TIDEGATE_PREFILTER__NAME_MODEL=false"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no model for names in {directory}: {reason} ({self.hint})")


class UnfinishedScreeningError(TidegateError, TimeoutError):
    """A text was not read to its end in the time that screening may take: what was not read must not pass."""

    hint = "ask with a shorter text, or raise TIDEGATE_PREFILTER__NAME_BUDGET_MS"

    def __init__(self, read: int, pieces: int) -> None:
        super().__init__(f"{read} of {pieces} pieces of the text were read for names in time ({self.hint})")


class JudgedSpan(NamedTuple):
    """A group of words, its score above the filter's threshold, and that with what the words around it say."""

    span: PersonalSpan
    bare: float
    score: float


def _is_unsure(judged: JudgedSpan) -> bool:
    """Whether the model has to be asked: also where words around a group decide it, for it may be longer."""
    scores = (judged.score,) if judged.score == CERTAIN else (judged.bare, judged.score)
    return any(UNSURE[0] < score < UNSURE[1] for score in scores)


def _hides_names(text: str, words: Sequence[ScoredWord]) -> bool:
    """Whether no capital says where a name that is in no list may be and a word stands where names do, so that the
    model has to be asked."""
    if not text.islower():
        return False
    context = read_context(text, words)
    unknown = [len(word) >= SHORT and word not in NO_NAMES and word not in VERBS for word in context.plain]
    beside = [*unknown[1:], False]
    return any(
        unknown[at] and (context.introduced[at] or (at < 2 and beside[at])) and not is_part(context.spelled[at], "de")
        for at in range(len(words))
    )


class PersonModel:
    """Names and addresses in a text, in about 7 ms for a question; safe to use from several threads at once."""

    _opened: ClassVar[OpenedModels[PersonModel]] = OpenedModels()

    def __init__(self, directory: Path) -> None:
        """Read the files that the manifest names. Raises `NameModelMissingError` when one is missing or another."""
        try:
            files = read_built(directory, FILES)
            weights = safetensors.numpy.load(files.contents["filter.safetensors"])
            self._labels: list[str] = json.loads(files.contents["labels.json"])
            self._filter = SpanFilter.of(weights, "read")
            self._words = SpanFilter.of(weights, "words")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NameModelMissingError(directory, str(error)) from error
        self.version = files.version
        self._tokenizer = Tokenizer.from_buffer(files.contents["tokenizer.json"])
        self._first, self._last = self._tokenizer.encode("").ids
        self._session = OnnxSession(files.graphs["model.onnx"])
        self.columns = cache(self._columns_of)
        self.labels = len(self._labels)
        load_parts("de")  # 40 ms, which no question shall wait for

    @classmethod
    def load(cls, models_dir: Path) -> PersonModel:
        """The model in `models_dir/ner`, once for a process. Raises `NameModelMissingError`."""
        return cls._opened.open(models_dir / "ner", cls)

    def find(self, text: str, until_s: float = math.inf) -> list[PersonalSpan]:
        """Spans of the kinds NAME and ADDRESS, whole words each.

        Lists of names and neighbouring words are asked first; the model reads the text where they leave a doubt.
        Raises `UnfinishedScreeningError` where the monotonic clock passes `until_s` before the text is read to its end.
        """
        text = lower_capitals(text)
        words = split_words(text, self.labels)
        judged = list(self._judge(text, words, self._words))
        if any(map(_is_unsure, judged)) or _hides_names(text, words):
            sure = [each for each in judged if each.score >= UNSURE[1]]
            judged = [*sure, *self._judge(text, self.read(text, until_s), self._filter)]
        return merge_spans(each.span for each in judged if each.score >= 0)

    def _judge(self, text: str, words: list[ScoredWord], judge: SpanFilter) -> Iterator[JudgedSpan]:
        """Each group of words with its scores."""
        context = read_context(text, words)
        for candidate in find_candidates(text, words, self.columns, context):
            span = PersonalSpan(candidate.kind, words[candidate.first].start, words[candidate.last].end)
            score = judge.score(*describe(text, words, candidate, self.columns)) - judge.threshold
            yield JudgedSpan(span, score, score + weigh_context(text, words, candidate, context))

    def read(self, text: str, until_s: float = math.inf) -> list[ScoredWord]:
        """The words of the text with their probabilities by label. Raises `UnfinishedScreeningError`."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        if not ids:
            return []
        shares = []
        for start in range(0, len(ids), STEP):
            if time.monotonic() > until_s:
                raise UnfinishedScreeningError(start, len(ids))
            shares.append(self._shares(ids, start))
        return average_pieces(text, offsets, np.concatenate(shares))

    def _shares(self, ids: Sequence[int], start: int) -> FloatArray:
        """The probabilities of the pieces from `start` to where the next window's begin; each sees both sides."""
        begin = start - OVERLAP // 2 if start else 0
        framed = [self._first, *ids[begin : begin + WINDOW], self._last]
        row = np.array([framed], dtype=np.int64)
        feeds = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        logits = self._session.run(feeds)[0][0, 1:-1].astype(np.float32)
        kept = logits[start - begin : start - begin + STEP]
        exact = np.exp(kept - kept.max(axis=1, keepdims=True))
        shares: FloatArray = exact / exact.sum(axis=1, keepdims=True)
        return shares

    def _columns_of(self, label: str) -> tuple[int, ...]:
        """The columns of a label: its first word's and its following words'."""
        return tuple(number for number, name in enumerate(self._labels) if name.partition("-")[2] == label)
