"""How much of what texts say is extracted right without a model, by kind of field and language:
`python -m loadtests.bench.answers_extraction DATA`. DATA is JSON Lines of `{"text", "language", "schema", "truth"}`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from tidegate.schemas import Answer
from tidegate.services.knowledge.extraction.extraction import extract, paths_of
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.extraction.filler import leaves_of
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.schema import Schema

NAME = "answers_extraction"
FILE = Path("extraction/dev.jsonl")
MODELS = Path(".models")


class JudgedField(msgspec.Struct, frozen=True):
    """One field: its kind, whether its value is the true one (for what the text does not say: none)."""

    path: str
    kind: str
    is_right: bool
    found: Any
    true: Any
    confidence: float


class JudgedText(msgspec.Struct, frozen=True):
    """One text: its fields, whether it was answered, and the milliseconds that it took."""

    id: str
    language: str
    fields: tuple[JudgedField, ...]
    is_answered: bool
    took_ms: float

    @property
    def is_whole(self) -> bool:
        """Whether every value is right."""
        return all(field.is_right for field in self.fields)


def judge(record: dict[str, Any], answer: Answer, took_ms: float) -> JudgedText:
    """Compare every leaf and every array with the truth; text to the letter, numbers by value."""
    schema = Schema(json.dumps(record["schema"]))
    found = {field.path: field for field in answer.fields}
    kinds = {each.field.path: each.family for each in leaves_of(schema.field)}
    judged = []
    for path in paths_of(schema.field):
        true, field = value_at(record["truth"], path), found.get(path)
        value = field.value if field is not None else None
        confidence = field.confidence if field is not None else 0.0
        judged.append(JudgedField(path, kinds.get(path, "array"), same(value, true), value, true, confidence))
    is_answered = any(check.name == "schema" and check.passed for check in answer.checks)
    return JudgedText(str(record.get("id", "")), record["language"], tuple(judged), is_answered, took_ms)


def same(found: Any, true: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return isinstance(found, bool) == isinstance(true, bool) and bool(found == true)


def value_at(truth: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for name in filter(None, path.split(".")):
        truth = truth.get(name) if isinstance(truth, dict) else None
    return truth


def measure_texts(records: Iterable[dict[str, Any]], fill: Callable[[dict[str, Any]], Answer]) -> list[JudgedText]:
    """Fill the schema of every text."""
    judged = []
    for record in records:
        began_s = time.perf_counter()
        answer = fill(record)
        judged.append(judge(record, answer, (time.perf_counter() - began_s) * 1e3))
    return judged


def ours(record: dict[str, Any], reader: FieldReader | None = None) -> Answer:
    """The product's extraction, with the reader of fields as at a site, or by the ranker alone."""
    return extract(record["text"], json.dumps(record["schema"]), record["language"], reader)


def first_of_kind(record: dict[str, Any]) -> Answer:
    """The peer: the first value of a field's kind that its schema takes, whatever stands beside it."""
    schema = Schema(json.dumps(record["schema"]))
    values = TextValues(record["text"], record["language"])
    fields = []
    for asked in leaves_of(schema.field):
        first = next(iter(values.candidates(asked, schema)), None)
        fields.append(msgspec.structs.replace(_EMPTY, path=asked.field.path, value=first.value if first else None))
    return Answer(text="", format="json", fields=tuple(fields))


_EMPTY = extract("", '{"properties": {"x": {"type": "string"}}}', "en").fields[0]


def shares(judged: Sequence[JudgedText]) -> dict[str, tuple[float, ...]]:
    """Per cent: of fields right, of texts whole right, of texts answered right and answered with a wrong value."""
    count, fields = len(judged), [field for each in judged for field in each.fields]
    return {
        "fields_right": (100 * sum(field.is_right for field in fields) / len(fields),),
        "texts_whole": (100 * sum(each.is_whole for each in judged) / count,),
        "texts_answered_right": (100 * sum(each.is_whole and each.is_answered for each in judged) / count,),
        "texts_answered_wrong": (100 * sum(not each.is_whole and each.is_answered for each in judged) / count,),
        "text_ms": tuple(each.took_ms for each in judged),
    }


async def blocks(data: Path, repeats: int) -> AsyncIterator[Measurement]:
    """Per cent of the fields right, ours and the peer's; the same at every block but for the times."""
    records = read_records(data)
    own = partial(ours, reader=FieldReader.load(MODELS))
    for _ in range(repeats):
        for side, fill in (("ours", own), ("peer", first_of_kind)):
            figures = shares(measure_texts(records, fill))
            yield Measurement(side, figures["fields_right"][0], figures)  # type: ignore[arg-type]


def entry(data: Path) -> Entry:
    """The line of the bench over the texts of one file."""
    return Entry(
        name=NAME,
        unit="% of fields right",
        peer_name="the first value of the field's kind",
        target=Target("≥", 1.5),
        blocks=partial(blocks, data),
        bars=(
            Bar(samples="fields_right", quantile=0.0, target=Target("≥", 70), unit="%"),
            Bar(samples="texts_whole", quantile=0.0, target=Target("≥", 40), unit="%"),
            Bar(samples="texts_answered_right", quantile=0.0, unit="%"),
            Bar(samples="texts_answered_wrong", quantile=1.0, target=Target("≤", 3), unit="%"),
            Bar(samples="text_ms", quantile=0.5),
            Bar(samples="text_ms", quantile=0.95),
        ),
    )


def read_records(path: Path) -> list[dict[str, Any]]:
    """The texts of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def table_of(judged: Sequence[JudgedText]) -> str:
    """Fields right by kind and by language, and the shares of texts."""
    groups: dict[str, list[bool]] = {}
    for each in judged:
        for field in each.fields:
            groups.setdefault(field.kind, []).append(field.is_right)
            groups.setdefault(f"language {each.language}", []).append(field.is_right)
    lines = [
        f"{name:<14}{sum(right):>5} of {len(right):<5}{sum(right) / len(right):>7.1%}"
        for name, right in sorted(groups.items())
    ]
    figures = {name: values for name, values in shares(judged).items() if name != "text_ms"}
    return "\n".join((*lines, *(f"{name:<24}{values[0]:>6.1f} %" for name, values in figures.items())))


def main() -> int:
    """0 when at most 3 % of the texts are answered with a wrong value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--failures", action="store_true", help="print every field that is not right")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--ranker-alone", action="store_true", help="without the reader of fields")
    given = parser.parse_args()
    reader = None if given.ranker_alone else FieldReader.load(given.models)
    judged = measure_texts(read_records(given.data), partial(ours, reader=reader))
    for each in judged if given.failures else ():
        for field in each.fields:
            if not field.is_right:
                print(f"{each.id} {field.path}: {field.found!r}, true {field.true!r}, {field.confidence:.2f}")
    print(table_of(judged))
    return 0 if shares(judged)["texts_answered_wrong"][0] <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
