"""Fills a JSON schema from a text: by the reader, and by the model for what that does not find and must be there."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec

from tidegate.schemas import Answer, Check, Speculation
from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.extraction import (
    MOST_CHARS,
    answer_of,
    extract,
    fill_fields,
    language_of,
)
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.extraction.filler import FilledField, leaves_of
from tidegate.services.knowledge.extraction.find import TextValues, same_value
from tidegate.services.knowledge.extraction.numbered import fill_numbered
from tidegate.services.knowledge.extraction.schema import Schema, UnsupportedSchemaError
from tidegate.services.knowledge.extraction.terms import FieldQuery
from tidegate.services.llm.constraints.json_grammar import SchemaRefusedError
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.llm.text.prompts import describe_fields

MODEL_AT_MOST = 0.6
_CHOICES_MOST = 200


class _ModelQuery(msgspec.Struct, frozen=True):
    """What the model is asked: the fields with the values of the text that they may take."""

    choices: dict[str, list[ValueCandidate]]
    schema: dict[str, Any]
    described: str


def fill_schema(
    model: SiteModel, text: str, schema_text: str, language: str = "", reader: FieldReader | None = None
) -> Answer:
    """The JSON value that the text fills the schema with; see `extraction.extract`.

    A field that the reader does not find and that must be there is asked of the model, which may only choose among the
    values of that kind which stand in the text: what it chooses has its evidence there, and is checked as what the
    reader finds is. Where the text has no such value the field stays missing. The check `model` has the geometric mean
    of the likelihoods of the model's choices as its score, and what it chose a confidence of at most 0.6. Where the
    grammar cannot keep to the schema the reader's answer stays, with a failed check `grammar` (`grammar_<keyword>`
    where a keyword is to blame).
    """
    return fill_numbered(partial(_fill, model, language=language, reader=reader), text, schema_text)


def _fill(model: SiteModel, text: str, schema_text: str, *, language: str, reader: FieldReader | None) -> Answer:
    try:
        schema = Schema(schema_text)
        schema.check_work(text[:MOST_CHARS])
    except UnsupportedSchemaError:
        return extract(text, schema_text, language, reader)
    text, language = text[:MOST_CHARS], language_of(text, language)
    filled = fill_fields(schema, text, language, reader)
    answer = answer_of(schema, text, filled)
    missing = {field.path for field in answer.fields if field.problem == "missing"}
    asked = _ask(schema, text, language, missing, filled)
    if not asked.choices:
        return answer
    try:
        made = model.extract_json(text, asked.schema, asked.described)
    except SchemaRefusedError as error:
        refused = Check(f"grammar_{error.keyword}" if error.keyword else "grammar", False, 0.0)
        return msgspec.structs.replace(answer, checks=(*answer.checks, refused))
    chosen = _chosen(asked, json.loads(made.text), filled, min(MODEL_AT_MOST, made.likelihood))
    return _with_speculation(answer_of(schema, text, chosen, Check("model", True, made.likelihood)), made.speculation)


def _with_speculation(answer: Answer, speculation: Speculation) -> Answer:
    return msgspec.structs.replace(answer, speculation=speculation)


def _ask(schema: Schema, text: str, language: str, missing: set[str], filled: list[FilledField]) -> _ModelQuery:
    """The fields that are missing and have candidates, beside what was found: that is given, so that it is known."""
    values = TextValues(text, language)
    leaves = [each for each in leaves_of(schema.field) if each.field.path in missing]
    choices = {each.field.path: found for each in leaves if (found := _candidates(each, schema, values))}
    parts: dict[str, dict[str, Any]] = {
        each.field.path: {"const": each.value}
        for each in filled
        if choices and not each.is_absent and each.field.kind != "array"
    }
    parts |= {path: {"enum": [each.value for each in found]} for path, found in choices.items()}
    described = {each.field.path: each.field.part for each in filled if each.field.path in parts}
    narrowed = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    return _ModelQuery(choices, narrowed, describe_fields(described))


def _candidates(asked: FieldQuery, schema: Schema, values: TextValues) -> list[ValueCandidate]:
    """Each value once; none for a yes or no and for options, which stand in the schema and not in the text."""
    if asked.family in ("boolean", "enum"):
        return []
    once = {json.dumps(each.value): each for each in reversed(values.candidates(asked, schema))}
    return [*reversed(once.values())][:_CHOICES_MOST]


def _chosen(
    asked: _ModelQuery, value: dict[str, Any], filled: list[FilledField], confidence: float
) -> list[FilledField]:
    """The fields with what the model chose for those that were missing, and the characters that say it."""
    fields = []
    for each in filled:
        options = asked.choices.get(each.field.path, [])
        found = next((one for one in options if same_value(one.value, value.get(each.field.path))), None)
        fields.append(
            each if found is None else FilledField(each.field, found.value, found.start, found.end, confidence)
        )
    return fields
