"""A JSON schema that somebody brings: read, bounded, and made a tree of fields to fill.

Promises to fetch nothing. Next: filler.py."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.vault_token import VAULT_TOKEN

MOST_DEPTH = 5
MOST_PROPERTIES = 64
MOST_FIELDS = 256
"""Of a whole schema, with what its references unfold to: 64 properties that are each the object that has them would
be 64 to the sixth, and make of 2 kB of schema more than any machine has memory for."""
MOST_WORK = 250_000
"""Fields times characters of the text that is to fill them: some 20 s of a core at the worst."""
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_OF_STRINGS = frozenset(("pattern", "minLength", "maxLength", "format", "enum", "const"))
_TOKEN = {"type": "string", "pattern": f"^{VAULT_TOKEN.pattern}$"}
_NOT_FILLED = ("prefixItems", "patternProperties", "propertyNames", "contains")


class UnsupportedSchemaError(TidegateError, ValueError):
    """The schema cannot be filled here; `code` tells why in one word, the reason at length."""

    hint = "ask for a JSON object with properties or an array, and with references inside the schema only"

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One value that the schema asks for. `part` is its sub-schema with references followed and `null` left out.

    `kind` is `string`, `number`, `integer`, `boolean`, `object` or `array`; `options` are those of `enum` and `const`.
    """

    name: str
    path: str
    part: dict[str, Any]
    kind: str
    is_nullable: bool
    is_required: bool
    options: tuple[Any, ...] | None = None
    title: str = ""
    description: str = ""
    format: str = ""
    properties: tuple[Field, ...] = ()
    items: Field | None = None


class Schema:
    """A schema of an object with properties or of an array (JSON Schema 2020-12 and the drafts before it).

    Vault tokens stand for strings that are hidden here: they pass every rule for strings.
    """

    def __init__(self, text: str) -> None:
        """Raises `UnsupportedSchemaError`."""
        try:
            self.root: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnsupportedSchemaError("not_json", f"the schema is not JSON: {error}") from error
        if not isinstance(self.root, dict):
            raise UnsupportedSchemaError("not_an_object", "the schema must be a JSON object")
        _refuse_remote(self.root, 0)
        try:
            _validator(self.root)
        except (ValueError, RuntimeError, jsonschema_rs.ReferencingError) as error:
            raise UnsupportedSchemaError(
                "invalid", f"the schema is no valid JSON schema: {str(error)[:300]}"
            ) from error
        self._shared: dict[str, Any] = {
            key: self.root[key] for key in ("$defs", "definitions", "$schema") if key in self.root
        }
        self._validator = _validator(_lenient(self.root))
        self._validators: dict[int, Any] = {}
        self._fields = 0
        self.field = self._field("", "", self.root, is_required=True, depth=0)
        if not self.field.properties and self.field.items is None:
            raise UnsupportedSchemaError("no_properties", "the schema names no properties and no items to fill")

    def check_work(self, text: str) -> None:
        """Raises `UnsupportedSchemaError` where so many fields of so long a text would take a core for minutes."""
        work = self._fields * len(text)
        if work > MOST_WORK:
            reason = f"{self._fields} fields of {len(text)} characters are {work}; at most {MOST_WORK} are read"
            raise UnsupportedSchemaError("too_much", reason)

    def resolve(self, part: Any) -> tuple[dict[str, Any], bool]:
        """A sub-schema with its local `$ref`, `allOf` and lone `anyOf` merged in, and whether `null` is allowed."""
        merged: dict[str, Any] = dict(part) if isinstance(part, dict) else {}
        is_nullable = merged.get("nullable") is True
        for _ in range(2 * MOST_DEPTH):
            reference = merged.pop("$ref", None)
            if isinstance(reference, str):
                merged = {**self._target(reference), **merged}
                continue
            every = merged.pop("allOf", None)
            if isinstance(every, list):
                merged = _merged([merged, *(each for each in every if isinstance(each, dict))])
                continue
            key = next((key for key in ("anyOf", "oneOf") if isinstance(merged.get(key), list)), None)
            if key is None:
                break
            branches = [each for each in merged[key] if isinstance(each, dict)]
            others = [each for each in branches if not _is_null(each)]
            is_nullable |= len(others) < len(branches)
            if len(others) != 1:
                merged[key] = others
                break
            merged.pop(key)
            merged = {**merged, **others[0]}
        named = merged.get("type")
        if isinstance(named, list):
            is_nullable |= "null" in named
            kept = [each for each in named if each != "null"]
            merged["type"] = kept[0] if len(kept) == 1 else kept
        if isinstance(merged.get("enum"), list) and None in merged["enum"]:
            is_nullable = is_nullable or "type" not in merged
            merged["enum"] = [each for each in merged["enum"] if each is not None]
        return merged, is_nullable

    def accepts(self, value: Any) -> bool:
        """Whether the whole value is valid."""
        return bool(self._validator.is_valid(value))

    def fits(self, part: dict[str, Any], value: Any) -> bool:
        """Whether one value is valid under one sub-schema."""
        validator = self._validators.get(id(part))
        if validator is None:
            validator = self._validators[id(part)] = _validator({**self._shared, **_lenient(part)})
        return bool(validator.is_valid(value))

    def _target(self, reference: str) -> dict[str, Any]:
        found: Any = self.root
        for step in reference.lstrip("#").strip("/").split("/") if reference.strip("#/") else ():
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return dict(found) if isinstance(found, dict) else {}

    def _field(self, name: str, path: str, raw: Any, *, is_required: bool, depth: int) -> Field:
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise UnsupportedSchemaError(
                "too_many_fields", f"it has more than {MOST_FIELDS} fields, references unfolded"
            )
        part, is_nullable = self.resolve(raw)
        kind = _kind_of(part, path)
        named = part.get("properties") if kind == "object" and depth <= MOST_DEPTH else None
        properties = list(named.items())[:MOST_PROPERTIES] if isinstance(named, dict) else []
        required = part.get("required")
        must = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
        items = part.get("items") if kind == "array" and depth <= MOST_DEPTH else None
        _refuse_unfilled(part, kind, path, bool(properties), isinstance(items, dict))
        options = [part["const"]] if "const" in part else part.get("enum")
        return Field(
            name=name,
            path=path,
            part=part,
            kind=kind,
            is_nullable=is_nullable,
            is_required=is_required,
            options=tuple(options) if isinstance(options, list) else None,
            title=str(part.get("title", "")),
            description=str(part.get("description", "")),
            format=str(part.get("format", "")),
            properties=tuple(
                self._field(key, f"{path}.{key}" if path else key, each, is_required=key in must, depth=depth + 1)
                for key, each in properties
            ),
            items=self._field(name, f"{path}[]", items, is_required=True, depth=depth + 1)
            if isinstance(items, dict)
            else None,
        )


def _kind_of(part: dict[str, Any], path: str) -> str:
    """The kind of value; of several the narrowest that a text can say. Raises `UnsupportedSchemaError`."""
    for key in ("anyOf", "oneOf"):
        branches = [each for each in part.get(key, ()) if isinstance(each, dict)]
        if any({"properties", "items", "$ref"} & each.keys() for each in branches):
            reason = f"{key} of several objects at {path or 'the top'} leaves open which to fill"
            raise UnsupportedSchemaError(f"unsupported_{key}", reason)
        if branches and "type" not in part:
            part = {**part, "type": [each["type"] for each in branches if isinstance(each.get("type"), str)]}
    named = part.get("type")
    listed = [named] if isinstance(named, str) else [each for each in named or () if isinstance(each, str)]
    if not listed:
        if "properties" in part:
            return "object"
        return "array" if "items" in part else "string"
    return next((kind for kind in ("object", "array", "integer", "number", "boolean") if listed == [kind]), listed[0])


def _refuse_unfilled(part: dict[str, Any], kind: str, path: str, has_properties: bool, has_items: bool) -> None:
    """Raises `UnsupportedSchemaError` for a keyword that would have to be filled and is not."""
    where = path or "the top"
    for keyword in _NOT_FILLED:
        if keyword in part:
            raise UnsupportedSchemaError(f"unsupported_{keyword}", f"`{keyword}` at {where} cannot be filled")
    if kind == "object" and not has_properties and path and isinstance(part.get("additionalProperties"), dict):
        raise UnsupportedSchemaError("unsupported_additionalProperties", f"an object of any names at {where}")
    if kind == "array" and not has_items and path and "enum" not in part and "const" not in part:
        raise UnsupportedSchemaError("unsupported_items", f"the array at {where} does not say what its items are")


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """`allOf` as one schema: properties and required names together, of all else the last."""
    whole: dict[str, Any] = {}
    for part in parts:
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole = {**whole, **part}
        if properties:
            whole["properties"] = properties
        if required:
            whole["required"] = list(dict.fromkeys(required))
    return whole


def _is_null(part: dict[str, Any]) -> bool:
    return part.get("type") == "null" or part.get("const", 0) is None or part.get("enum") == [None]


def _validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(schema, retriever=_never, pattern_options=jsonschema_rs.RegexOptions())


def _lenient(part: Any, is_map: bool = False) -> Any:
    """The same schema, whose strings may be vault tokens as well."""
    if not isinstance(part, dict):
        return [_lenient(each) for each in part] if isinstance(part, list) else part
    if is_map:
        return {name: _lenient(each) for name, each in part.items()}
    kept = ("enum", "const", "required", "type", "default", "examples")
    whole = {key: each if key in kept else _lenient(each, key in _MAPS) for key, each in part.items()}
    of_strings = {key: whole.pop(key) for key in _OF_STRINGS & whole.keys()}
    return {**whole, "allOf": [*whole.get("allOf", ()), {"anyOf": [_TOKEN, of_strings]}]} if of_strings else whole


def _refuse_remote(part: Any, depth: int) -> None:
    if depth > 4 * MOST_DEPTH:
        raise UnsupportedSchemaError("too_deep", "the schema is nested too deeply")
    if isinstance(part, dict):
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            target = part.get(key)
            if isinstance(target, str) and not target.startswith("#"):
                raise UnsupportedSchemaError(
                    "remote_reference", f"{key} to {target!r}: only references inside the schema"
                )
        for each in part.values():
            _refuse_remote(each, depth + 1)
    elif isinstance(part, list):
        for each in part:
            _refuse_remote(each, depth + 1)


def _never(uri: str) -> Any:
    raise ValueError(f"{uri} is not fetched: only references inside the schema")
