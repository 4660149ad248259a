"""What the reader of fields learns from: texts with the fields that were asked of them, and paragraphs with questions.

A question is learned from as a field is: its answer is one of the runs of words of its paragraph, or is not said there.
Next: training/field_reader.py."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.infra.models.data.qa import TRAIN, own_files
from tidegate.services.knowledge.extraction.field_reader import prompt_of, spans_of, values_of
from tidegate.services.knowledge.extraction.field_windows import AskedField, Characters, TextWindow, cut_text
from tidegate.services.knowledge.extraction.filler import leaves_of
from tidegate.services.knowledge.extraction.find import TextValues, same_value
from tidegate.services.knowledge.extraction.lists import lists_of
from tidegate.services.knowledge.extraction.ranker import FieldRows, describe, group_of
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.knowledge.reader.windows import Encode, encode_question

LANGUAGES = ("en", "de", "es")
"""Those of XQuAD's languages that are ours too."""
ARTICLES = 30
"""Of XQuAD's articles those that are learned from; choices are made on the others."""
CROSSED = 0.3
"""The share of a paragraph's questions that are asked in another language than its own."""
STRANGERS = 2
"""Questions of other paragraphs that are asked of one of XQuAD's, and near misses that are asked of one of ours."""
SQUAD, XQUAD = "squad2/train.json", "xquad/{language}.json"
LIST = "list"
MOST_WORDS, MOST_SPANS = 6, 160
_NO_ANSWER: dict[str, Any] = {"answer_start": 0, "text": ""}
_WORD = re.compile(r"[^\W_]+(?:[-'’.,][^\W_]+)*")


class AskedOfText(msgspec.Struct, frozen=True):
    """A field, its bare form, where the values stand that it may take, and which of what is scored is right."""

    path: str
    family: str
    asked: AskedField
    bare: AskedField
    spans: tuple[Characters, ...]
    right: tuple[bool, ...]
    is_absent: bool
    is_list: bool = False

    @property
    def is_known(self) -> bool:
        """Whether something that can be learned from is right."""
        return self.is_absent or any(self.right)


class AskedText(msgspec.Struct, frozen=True):
    """A text, by its number, with all that is asked of it."""

    number: int
    windows: tuple[TextWindow, ...]
    fields: tuple[AskedOfText, ...]


def read_texts(paths: Sequence[Path], encode: Encode) -> Iterator[AskedText]:
    """The texts of JSON Lines of `{"text", "language", "schema", "truth"}`, with their fields but for arrays of
    objects; lists come last."""
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        record = json.loads(line)
        schema = Schema(json.dumps(record["schema"]))
        values, view = TextValues(record["text"], record["language"]), TextView(record["text"])
        siblings = leaves_of(schema.field)
        fields = [_asked(describe(each, siblings, schema, values, view), record["truth"], encode) for each in siblings]
        lists = [describe(each, [], schema, values, view) for each in lists_of(schema.field)]
        fields += [_asked(each, record["truth"], encode, is_list=True) for each in lists]
        yield AskedText(number, tuple(cut_text(record["text"], encode)), tuple(fields))


def _asked(described: FieldRows, truth: Any, encode: Encode, *, is_list: bool = False) -> AskedOfText:
    field = described.asked.field
    true = value_at(truth, field.path)
    asked, bare = (prompt_of(described, encode, is_bare=is_bare) for is_bare in (False, True))
    wanted = (true or []) if is_list else [] if true is None else [true]
    right = tuple(any(same_value(each, one) for one in wanted) for each in values_of(described))
    family = LIST if is_list else group_of(described.asked.family)
    return AskedOfText(field.path, family, asked, bare, tuple(spans_of(described)), right, not wanted, is_list)


def value_at(truth: Any, path: str) -> Any:
    """The value at a dotted path, the whole for an empty one; None where there is none."""
    for name in filter(None, path.split(".")):
        truth = truth.get(name) if isinstance(truth, dict) else None
    return truth


def read_questions(directory: Path, encode: Encode, seed: int) -> Iterator[AskedText]:
    """Our own documents and the paragraphs of SQuAD 2.0 and XQuAD, each with questions that runs of words answer."""
    rng = random.Random(seed)
    paragraphs = [_own_paragraph(json.loads(line)) for path in own_files(directory, TRAIN)
        for line in path.read_text("utf-8").splitlines()]  # fmt: skip
    paragraphs += _paragraphs(directory / SQUAD)
    translated = {code: _paragraphs(directory / XQUAD.format(language=code), ARTICLES) for code in LANGUAGES}
    asked = {code: {each["id"]: each["question"] for one in own for each in one["qas"]}
        for code, own in translated.items()}  # fmt: skip
    for code, own in translated.items():
        for one in own:
            questions = [{**each, "question": asked[_other(code, rng)][each["id"]]} for each in one["qas"]]
            other = rng.choice([each for each in own if each is not one])["qas"]
            strangers = [{**each, "is_impossible": True} for each in rng.sample(other, min(STRANGERS, len(other)))]
            paragraphs.append({**one, "qas": questions + strangers})
    for number, paragraph in enumerate(paragraphs):
        if paragraph["qas"]:
            yield _asked_paragraph(number, paragraph, encode, rng)


def _other(language: str, rng: random.Random) -> str:
    return rng.choice(LANGUAGES) if rng.random() < CROSSED else language


def _paragraphs(path: Path, articles: int | None = None) -> list[dict[str, Any]]:
    data = json.loads(path.read_text("utf-8"))["data"][:articles]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def _own_paragraph(record: dict[str, Any]) -> dict[str, Any]:
    """A document of ours in SQuAD's form: the questions whose short answer its evidence has to the letter, and near
    misses."""
    questions, misses = [], []
    for asked in record["questions"]:
        answer = asked.get("answer", "").strip().rstrip(".")
        named = {"id": asked["text"], "question": asked["text"]}
        evidence = next((each for each in asked["evidence"] if answer and answer in each), "")
        start = record["text"].find(evidence) + evidence.find(answer)
        if evidence and len(answer.split()) <= MOST_WORDS and record["text"][start:].startswith(answer):
            questions.append({**named, "answers": [{"text": answer, "answer_start": start}]})
        elif asked["kind"] == "impossible_near":
            misses.append({**named, "is_impossible": True})
    return {"context": record["text"], "qas": questions + misses[:STRANGERS] if questions else []}


def _asked_paragraph(number: int, paragraph: dict[str, Any], encode: Encode, rng: random.Random) -> AskedText:
    text: str = paragraph["context"]
    answers = [_NO_ANSWER if each.get("is_impossible") else each["answers"][0] for each in paragraph["qas"]]
    answered = [(each["answer_start"], each["answer_start"] + len(each["text"])) for each in answers]
    spans = _spans(text, {(start, end) for start, end in answered if end > start}, rng)
    fields = []
    for each, answer in zip(paragraph["qas"], answered, strict=True):
        question = AskedField(encode_question(each["question"], encode))
        right = tuple(span == answer for span in spans)
        fields.append(AskedOfText(each["id"], "question", question, question, spans, right, not any(right)))
    return AskedText(number, tuple(cut_text(text, encode)), tuple(fields))


def _spans(text: str, right: set[Characters], rng: random.Random) -> tuple[Characters, ...]:
    """The answers, what shares an end with one of them, and some of the other runs of words."""
    words = [match.span() for match in _WORD.finditer(text)]
    runs = {
        (words[first][0], words[last][1])
        for first in range(len(words))
        for last in range(first, min(len(words), first + MOST_WORDS))
    }
    starts, ends = {start for start, _ in right}, {end for _, end in right}
    near = {run for run in runs if run[0] in starts or run[1] in ends}
    others = sorted(runs - near - right)
    return tuple(sorted({*right, *near, *rng.sample(others, min(MOST_SPANS, len(others)))}))
