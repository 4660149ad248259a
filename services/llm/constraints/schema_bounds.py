"""A JSON schema narrowed to what fits into a few tokens: all that the narrow one allows, the wide one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRING_MOST = 200
ITEMS_MOST = 16
NUMBER_MOST = 10**12
_ANNOTATIONS = frozenset(("$schema", "$id", "title", "description", "default", "examples", "$comment", "deprecated"))
_FORMATS = frozenset(("date", "time", "date-time"))
_NAMED = ("properties", "$defs", "definitions", "patternProperties")
_SINGLE = ("items", "additionalProperties")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_STATING = frozenset(("$ref", "enum", "const", "type", "properties", "patternProperties", "items", *_LISTED))


def bound_schema(schema: Mapping[str, Any], *, may_close: bool = True) -> dict[str, Any]:
    """`schema` with strings of at most 200 characters, arrays of 16, numbers within ±10¹², nothing unnamed in objects.

    What is stated more narrowly stays; keywords that are not known here stay too. A part that states nothing is a
    string.
    Formats other than dates and times are annotations (JSON Schema 2020-12, 7.2.1) and go, since vault tokens stand
    where an address was. `may_close` is for the branches of `allOf`, whose objects are not closed one by one.
    """
    narrow = {key: each for key, each in schema.items() if key not in _ANNOTATIONS}
    if narrow.get("format") not in _FORMATS:
        narrow.pop("format", None)
    for key in _NAMED:
        if isinstance(narrow.get(key), dict):
            narrow[key] = {name: _part(each, may_close) for name, each in narrow[key].items()}
    for key in _SINGLE:
        if isinstance(narrow.get(key), dict):
            narrow[key] = bound_schema(narrow[key])
    for key in _LISTED:
        if isinstance(narrow.get(key), list):
            narrow[key] = [_part(each, may_close and key != "allOf") for each in narrow[key]]
    if not _STATING & narrow.keys():
        narrow["type"] = "string"
    return _limited(narrow, may_close)


def _part(schema: Any, may_close: bool) -> Any:
    return bound_schema(schema, may_close=may_close) if isinstance(schema, dict) else schema


def _limited(narrow: dict[str, Any], may_close: bool) -> dict[str, Any]:
    if "enum" in narrow or "const" in narrow:
        return narrow
    named = narrow.get("type")
    kinds = named if isinstance(named, list) else [named]
    if "string" in kinds and not {"pattern", "format"} & narrow.keys():
        narrow.setdefault("maxLength", max(STRING_MOST, narrow.get("minLength", 0)))
    if {"integer", "number"} & {*kinds}:
        if not {"minimum", "exclusiveMinimum"} & narrow.keys():
            narrow["minimum"] = -NUMBER_MOST
        if not {"maximum", "exclusiveMaximum"} & narrow.keys():
            narrow["maximum"] = NUMBER_MOST
    if "array" in kinds:
        narrow.setdefault("maxItems", max(ITEMS_MOST, narrow.get("minItems", 0)))
    if may_close and "properties" in narrow and not {"patternProperties", "allOf"} & narrow.keys():
        narrow.setdefault("additionalProperties", False)
    return narrow
