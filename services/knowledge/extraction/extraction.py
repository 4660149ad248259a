"""Fills a JSON schema from a text, without a model.

Promises only values that stand in the text, each with its evidence.
Next: schema.py (what is asked for), filler.py and arrays.py (how it is filled), ranker.py (how sure that is)."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import Any

import msgspec

from tidegate.schemas import Answer, Check, ExtractedField
from tidegate.schemas.vault_token import without_tokens
from tidegate.services.knowledge.extraction.arrays import fill_array
from tidegate.services.knowledge.extraction.choices import with_clauses
from tidegate.services.knowledge.extraction.field_reader import FieldReader, Odds, is_chosen, scores_of
from tidegate.services.knowledge.extraction.filler import IN_DOUBT, FilledField, choose, leaves_of
from tidegate.services.knowledge.extraction.find import TextValues, same_value
from tidegate.services.knowledge.extraction.lists import lists_of, read_list
from tidegate.services.knowledge.extraction.numbered import fill_numbered
from tidegate.services.knowledge.extraction.ranker import FieldRows, describe, load_weights, with_scores
from tidegate.services.knowledge.extraction.schema import Field, Schema, UnsupportedSchemaError
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.detection import detect_language
from tidegate.services.languages.extraction_words import field_words, fold
from tidegate.services.languages.words import LANGUAGES

MISSING_AT_MOST = 0.3
ANSWER_FROM = 0.7
"""The least confidence with which an object is answered: of 199 texts with schemas four are then answered with a wrong
value, eight from 0.65 on; one right answer in ten is lost by it. (Of 160 that the reader of fields had not seen it was
one from 0.65 on, when its states were quantised more coarsely.)"""
SURE_FROM = 0.8
"""Below this a field is named as unsure where the object is not answered."""
MOST_LISTED = 200
"""Of more values that could be in a list only its layout is read: describing them costs their square."""
MOST_CHARS = 20_000
SHORT_TEXT = 40
"""Characters of a text up to which its language is told by single words."""
_WORD = re.compile(r"[^\W\d_]{3,}")


def extract(text: str, schema_text: str, language: str = "", reader: FieldReader | None = None) -> Answer:
    """The JSON value that the text fills the schema with, `format="json"`, and its `fields`.

    A value is verbatim in the text, but that a number, a date or an option is written as JSON and the schema want it.
    Personal data is in the text as vault tokens and stays so; their digits change nothing. What the text does not say
    is `null` where the schema allows that, left out where it is not required, and else `missing`. `language` (ISO
    639-1; "" to detect it) tells how numbers and dates are written. `reader`, where there is one, reads the fields
    outside of arrays, which is weighed with the rest, and lists of single values.

    The check `schema` passes when the value is valid (vault tokens pass every rule for strings), nothing is missing and
    the fields are sure enough; its score is the share of the required fields that were found. The confidence is that of
    the least sure field (how often such a value was right in cross-validation) or, where that is less, the square root
    of the product of all; at most 0.3 where one is missing. A failed check `schema_<code>` names a schema that cannot
    be filled.
    Reads the first 20,000 characters; takes some 40 ms for 300 of them, and 70 to 90 more with the reader.
    """
    return fill_numbered(partial(_extract, language=language, reader=reader), text, schema_text)


def _extract(text: str, schema_text: str, *, language: str, reader: FieldReader | None) -> Answer:
    try:
        schema = Schema(schema_text)
        schema.check_work(text[:MOST_CHARS])
    except UnsupportedSchemaError as error:
        return Answer(text="", format="json", checks=(Check(f"schema_{error.code}", False, 0.0),))
    filled = fill_fields(schema, text[:MOST_CHARS], language_of(text, language), reader)
    return answer_of(schema, text, filled)


def language_of(text: str, language: str) -> str:
    """`language` where its numbers and dates can be read, else the likeliest of those that can.

    A text of a few words is in the language whose words for fields it has, for nothing else tells of so little: `Wert:
    3,141` is not English.
    """
    words = [fold(word) for word in _WORD.findall(text[:SHORT_TEXT])] if len(text) <= SHORT_TEXT else []
    known = {code: sum(word in field_words(code) for word in words) for code in LANGUAGES}
    own = language if language in LANGUAGES else detect_language(without_tokens(text), LANGUAGES)
    best = max(LANGUAGES, key=lambda code: (known[code], code == own))
    return best if known[best] > known[own] else own


def fill_fields(schema: Schema, text: str, language: str, reader: FieldReader | None = None) -> list[FilledField]:
    """Every value that the schema asks for, arrays whole, in the schema's order."""
    values, view = TextValues(text, language), TextView(text)
    asked = leaves_of(schema.field)
    described = [describe(each, asked, schema, values, view) for each in asked]
    readable = [each for each in lists_of(schema.field) if len(values.candidates(each, schema)) <= MOST_LISTED]
    lists = [describe(each, [], schema, values, view) for each in readable] if reader else []
    odds = reader.read(text, [*described, *lists]) if reader is not None else None
    arrays = [fill_array(each, schema, values, view) for each in arrays_of(schema.field)]
    if reader is None or odds is None:
        leaves = choose(described, load_weights())
    else:
        scored = [_scored(each, own, view) for each, own in zip(described, odds, strict=False)]
        alone = choose(described, load_weights())
        leaves = [_doubted(*both) for both in zip(choose(scored, reader.weights), alone, strict=True)]
        others = [leaf for leaf, each in zip(leaves, described, strict=True) if not is_chosen(each)]
        read = {each.asked.field.path: (each, own) for each, own in zip(lists, odds[len(described) :], strict=True)}
        for number, each in enumerate(arrays):
            if each.field.path in read:
                found = read_list(each.field, *read[each.field.path], schema, text, others)
                arrays[number] = _surer(each, found)
    unfilled = [FilledField(each, None, 0, 0, 1.0) for each in open_objects_of(schema.field)]
    by_path = {each.field.path: each for each in (*leaves, *arrays, *unfilled)}
    return [by_path[path] for path in paths_of(schema.field)]


def _surer(laid_out: FilledField, read: FilledField | None) -> FilledField:
    """A list by its layout where that says enough, else as it was read."""
    if read is None or (not laid_out.is_absent and laid_out.confidence > read.confidence):
        return laid_out
    return read


def _scored(described: FieldRows, odds: Odds, view: TextView) -> FieldRows:
    """A field with what was read of it; an option can then be meant that the text does not name."""
    scored = with_scores(described, scores_of(described, odds))
    if described.asked.family != "enum":
        return scored
    return msgspec.structs.replace(scored, candidates=with_clauses(described.asked, described.candidates, view))


def _doubted(read: FilledField, alone: FilledField) -> FilledField:
    """A value with what was read of it, as sure as the surer of both; in doubt where the ranker alone would have taken
    another."""
    if same_value(read.value, alone.value):
        return msgspec.structs.replace(read, confidence=max(read.confidence, alone.confidence))
    return msgspec.structs.replace(read, confidence=min(read.confidence, IN_DOUBT))


def arrays_of(field: Field) -> list[Field]:
    """The arrays among a field and those in it."""
    if field.kind == "array":
        return [field]
    return [array for each in field.properties for array in arrays_of(each)]


def open_objects_of(field: Field) -> list[Field]:
    """The objects among a field and those in it that name no properties: nothing can be read for them."""
    if field.kind == "object" and not field.properties:
        return [field]
    return [each for one in field.properties for each in open_objects_of(one)]


def paths_of(field: Field) -> list[str]:
    """The paths of the leaves and arrays of a field, in the schema's order."""
    if field.kind == "object" and field.properties:
        return [path for each in field.properties for path in paths_of(each)]
    return [field.path]


def answer_of(schema: Schema, text: str, filled: list[FilledField], *checks: Check) -> Answer:
    """The answer that the fields make, with what is missing or unsure; `checks` are added to its own."""
    by_path = {each.field.path: each for each in filled}
    value = build(schema.field, by_path)
    missing = [each for each in filled if _is_missing(each, schema.field)]
    least = min((each.confidence for each in filled), default=0.0)
    confidence = min(least, math.sqrt(math.prod(each.confidence for each in filled)))
    is_empty = not any(not each.is_absent for each in filled)
    is_valid = not missing and not is_empty and schema.accepts(value)
    is_sure = confidence >= ANSWER_FROM
    fields = []
    for each in filled:
        problem = ""
        if each in missing or is_empty:
            problem = "missing"
        elif not is_sure and (each.confidence < SURE_FROM or each.confidence == least):
            problem = "unsure"
        elif not is_valid and not missing and not schema.fits(each.field.part, each.value) and not each.is_absent:
            problem = "invalid"
        fields.append(field_of(each, text, problem))
    wanted = [each for each in filled if each.field.is_required and not each.field.is_nullable]
    share = 1 - len(missing) / len(wanted) if wanted else float(not is_empty)
    verbatim = all(each.start < each.end <= len(text) for each in filled if not each.is_absent)
    return Answer(
        text=json.dumps(value, ensure_ascii=False),
        format="json",
        confidence=confidence if is_valid else min(confidence, MISSING_AT_MOST) * max(share, 0.0),
        checks=(
            Check("schema", is_valid and is_sure, max(share, 0.0)),
            Check("grounding", verbatim, float(verbatim)),
            *checks,
        ),
        fields=tuple(fields),
    )


def field_of(filled: FilledField, text: str, problem: str) -> ExtractedField:
    """A field as the asker sees it."""
    shown = ExtractedField(path=filled.field.path, confidence=round(filled.confidence, 4), problem=problem)  # type: ignore[arg-type]
    if filled.is_absent:
        return shown
    return msgspec.structs.replace(
        shown, value=filled.value, evidence=text[filled.start : filled.end], start=filled.start, end=filled.end
    )


def build(field: Field, by_path: dict[str, FilledField]) -> Any:
    """The JSON value: what is absent is `null` where it may be, and left out elsewhere."""
    if field.kind != "object" or not field.properties:
        return by_path[field.path].value if field.path in by_path else None
    built: dict[str, Any] = {}
    for each in field.properties:
        value = build(each, by_path)
        if each.kind == "object" and not value:
            value = None
        if value is not None or (each.is_nullable and each.is_required):
            built[each.name] = value
    return built


def _is_missing(filled: FilledField, root: Field) -> bool:
    """Whether the schema must have a value here and there is none, which an object that may be left out need not."""
    if not filled.is_absent or filled.field.is_nullable:
        return False
    field, must = root, True
    for name in [part for part in filled.field.path.split(".") if part]:
        field = next((each for each in field.properties if each.name == name), field)
        must = must and field.is_required
    return must
