"""Two readings of one text: what the reader found, and what a model wrote.

Promises that nothing is taken from a model that the text does not say. Next: extraction.py."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec

from tidegate.schemas import Answer, Check
from tidegate.services.knowledge.extraction.extraction import MOST_CHARS, answer_of, extract, fill_fields, language_of
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.extraction.filler import FilledField, leaves_of
from tidegate.services.knowledge.extraction.find import TextValues, same_value
from tidegate.services.knowledge.extraction.numbered import fill_numbered
from tidegate.services.knowledge.extraction.schema import Field, Schema, UnsupportedSchemaError

AGREED = 4.0
"""How many times likelier (as odds) a value is once a second reading, made without knowledge of the first, has it too:
that of a model that names a right value in 80 % and the same wrong one in 20 % of all cases."""
MODEL_AT_MOST = 0.6
"""The confidence in what a model alone found, and the text says."""


def read_again(
    text: str, schema_text: str, written: str, language: str = "", reader: FieldReader | None = None
) -> Answer:
    """The reader's answer, with `written`, a model's JSON for the same schema, as a second reading.

    Where both have a value it is the surer for it. Where only the model has one it counts if it stands in the text and
    is of the field's kind; else the field stays as the reader left it. JSON that is none, or not of the schema's shape,
    changes nothing.
    """
    return fill_numbered(partial(_read_again, language=language, reader=reader), text, schema_text, written)


def _read_again(text: str, schema_text: str, written: str, *, language: str, reader: FieldReader | None) -> Answer:
    try:
        schema = Schema(schema_text)
    except UnsupportedSchemaError:
        return extract(text, schema_text, language, reader)
    text, language = text[:MOST_CHARS], language_of(text, language)
    filled = fill_fields(schema, text, language, reader)
    try:
        value = json.loads(written)
    except ValueError:
        return answer_of(schema, text, filled)
    values = TextValues(text, language)
    asked = {each.field.path: each for each in leaves_of(schema.field)}
    agreed = 0
    merged = []
    for each in filled:
        theirs = _value_of(schema.field, value, each.field.path)
        if same_value(each.value, theirs):
            agreed += 1
            merged.append(msgspec.structs.replace(each, confidence=surer(each.confidence)))
        elif each.is_absent and theirs is not None and each.field.path in asked:
            candidates = values.candidates(asked[each.field.path], schema)
            found = next((one for one in candidates if same_value(one.value, theirs)), None)
            merged.append(
                each if found is None else FilledField(each.field, found.value, found.start, found.end, MODEL_AT_MOST)
            )
        else:
            merged.append(each)
    share = agreed / len(merged) if merged else 0.0
    return answer_of(schema, text, merged, Check("second_reading", True, share))


def surer(confidence: float) -> float:
    """A confidence after a second reading that agrees."""
    return AGREED * confidence / (1 + (AGREED - 1) * confidence)


def _value_of(root: Field, value: Any, path: str) -> Any:
    """The value at a field's path; None where there is none."""
    if not path or root.kind == "array":
        return value
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
