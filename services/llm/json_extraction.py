"""Fills a JSON schema from a text: by rule where a rule finds the value, by the model for what is required and left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tidegate.schemas import Answer, Check
from tidegate.services.knowledge.extraction import values
from tidegate.services.knowledge.extraction.extraction import MISSING_AT_MOST, extract
from tidegate.services.knowledge.extraction.schema import Schema, UnsupportedSchemaError, list_types
from tidegate.services.llm.constraints.json_grammar import SchemaRefusedError
from tidegate.services.llm.site_model import ExtractedJson, SiteModel
from tidegate.services.llm.text.prompts import describe_fields

_WORDS_MOST = 200
_SPAN_WORDS = 5
_MODEL_AT_MOST = 0.6
_OF_STRINGS = frozenset(("pattern", "minLength", "maxLength", "format"))
_OF_NUMBERS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def fill_schema(model: SiteModel, text: str, schema_text: str) -> Answer:
    """The JSON object that the text fills the schema with; see `extraction.extracted`.

    Required properties that no rule finds are filled by the model, which may only choose among what stands in the text
    (spans of up to five words, numbers, dates, the options of an enumeration). Where nothing in the text fits, it fills
    freely under the schema, and the check `grounding` fails. The answer is valid under the schema whenever the model
    was asked. The check `model` has the geometric mean of the likelihoods of the model's choices as its score; what a
    model chose has a confidence of at most 0.6, what stands nowhere of at most 0.3. Where the grammar cannot keep to
    the schema the rules' answer stays, with a failed check `grammar` (`grammar_<keyword>` where a keyword is to blame).
    """
    by_rule = extract(text, schema_text)
    try:
        schema = Schema(schema_text)
    except UnsupportedSchemaError:
        return by_rule
    found: dict[str, Any] = json.loads(by_rule.text)
    properties = schema.properties(schema.root)
    missing = [name for name in properties if name in schema.required(schema.root) and name not in found]
    if not missing:
        return by_rule
    parts = {
        name: {"const": found[name]} if name in found else _choices(schema, part, text)
        for name, part in properties.items()
        if name in found or name in missing
    }
    fields = describe_fields({name: properties[name] for name in parts})
    try:
        extracted_json = model.extract_json(text, _narrowed(schema, parts), fields)
    except SchemaRefusedError as error:
        name = f"grammar_{error.keyword}" if error.keyword else "grammar"
        return Answer(
            text=by_rule.text,
            format="json",
            confidence=by_rule.confidence,
            checks=(*by_rule.checks, Check(name, False, 0.0)),
        )
    return _answer(schema, text, extracted_json, missing)


def _narrowed(schema: Schema, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The schema with `parts` as its properties, and nothing else."""
    kept: dict[str, Any] = {key: schema.root[key] for key in ("$defs", "definitions") if key in schema.root}
    return {**kept, "type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}


def _choices(schema: Schema, part: dict[str, Any], text: str) -> dict[str, Any]:
    """The sub-schema of one value with the values of the text that fit it, or as it is where none does."""
    kinds = list_types(part)
    if {"enum", "const", "anyOf", "oneOf", "$ref"} & part.keys() or not {*kinds} & {"string", "integer", "number"}:
        return part
    options: list[Any] = []
    if "string" in kinds:
        options += [found.value for found in values.find_dates(text)] if part.get("format") == "date" else _spans(text)
    for kind in ("integer", "number"):
        if kind in kinds:
            options += [found.value for found in values.find_numbers(text, whole=kind == "integer")]
    if (_OF_STRINGS | _OF_NUMBERS) & part.keys():
        options = [each for each in options if schema.fits(part, each)]
    named = part.get("type")
    if options and isinstance(named, list) and "null" in named:
        options.append(None)
    return {"enum": list(dict.fromkeys(options))} if options else part


def _spans(text: str) -> Iterator[str]:
    """Runs of one to five words that no full stop, comma, colon or line end divides."""
    words = [(match.start(), match.end()) for match in re.finditer(r"[^\s,;:()\"]+", text)][:_WORDS_MOST]
    for first, (start, _) in enumerate(words):
        for last in range(first, min(first + _SPAN_WORDS, len(words))):
            if last > first and re.search(r"[,;:()\"\n]|[.!?]\s", text[words[last - 1][1] - 1 : words[last][0] + 1]):
                break
            span = text[start : words[last][1]].rstrip(".!?")
            if span:
                yield span


def _answer(schema: Schema, text: str, extracted_json: ExtractedJson, missing: list[str]) -> Answer:
    value = json.loads(extracted_json.text)
    valid = schema.accepts(value)
    grounded = all(_stands_in(text, value[name]) for name in missing)
    most = _MODEL_AT_MOST if grounded and valid else MISSING_AT_MOST
    return Answer(
        text=json.dumps(value, ensure_ascii=False),
        format="json",
        confidence=min(most, extracted_json.likelihood),
        checks=(
            Check("schema", valid, 1.0),
            Check("grounding", grounded, float(grounded)),
            Check("model", True, extracted_json.likelihood),
        ),
        speculation=extracted_json.speculation,
    )


def _stands_in(text: str, value: Any) -> bool:
    """Whether a value that a model chose is in the text: a string verbatim, a number or date as a rule reads it."""
    if isinstance(value, dict):
        return all(_stands_in(text, each) for each in value.values())
    if isinstance(value, list):
        return all(_stands_in(text, each) for each in value)
    if isinstance(value, bool) or value is None:
        return value is None
    if isinstance(value, str):
        return value.casefold() in text.casefold() or value in {found.value for found in values.find_dates(text)}
    return value in {found.value for whole in (True, False) for found in values.find_numbers(text, whole=whole)}
