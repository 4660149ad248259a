"""A JSON schema that somebody brings: read, bounded, and made a validator. Promises to fetch nothing. Next:
extraction.py."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from tidegate.schemas import TidegateError

MOST_DEPTH = 5
MOST_PROPERTIES = 64


class UnsupportedSchemaError(TidegateError, ValueError):
    """The schema cannot be filled here; `code` tells why in one word, the reason at length."""

    hint = "ask for a JSON object with properties, and with references inside the schema only"

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Schema:
    """A schema of an object with properties (JSON Schema 2020-12 and the drafts before it; `$ref` inside it only)."""

    def __init__(self, text: str) -> None:
        """Raises `UnsupportedSchema`."""
        try:
            self.root: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnsupportedSchemaError("not_json", f"the schema is not JSON: {error}") from error
        if not isinstance(self.root, dict):
            raise UnsupportedSchemaError("not_an_object", "the schema must be a JSON object with `properties`")
        _refuse_remote(self.root, 0)
        try:
            self._validator = jsonschema_rs.validator_for(
                self.root, retriever=_never, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (ValueError, RuntimeError, jsonschema_rs.ReferencingError) as error:
            raise UnsupportedSchemaError(
                "invalid", f"the schema is no valid JSON schema: {str(error)[:300]}"
            ) from error
        if not self.properties(self.root):
            raise UnsupportedSchemaError("no_properties", "the schema names no properties to fill")

    def resolve(self, part: Any) -> dict[str, Any]:
        """A sub-schema with its local `$ref` followed; an empty one where the reference leads nowhere."""
        for _ in range(MOST_DEPTH):
            if not isinstance(part, dict):
                return {}
            reference = part.get("$ref")
            if not isinstance(reference, str):
                return part
            found: Any = self.root
            for step in reference.lstrip("#").strip("/").split("/"):
                found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
            part = found
        return {}

    def properties(self, part: Any) -> dict[str, dict[str, Any]]:
        """The properties of an object's schema, each with its references followed."""
        named = self.resolve(part).get("properties")
        if not isinstance(named, dict):
            return {}
        return {name: self.resolve(each) for name, each in list(named.items())[:MOST_PROPERTIES]}

    def required(self, part: Any) -> frozenset[str]:
        """The names that an object of this schema must have."""
        named = self.resolve(part).get("required", ())
        return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()

    def accepts(self, value: Any) -> bool:
        """Whether the whole value is valid."""
        return bool(self._validator.is_valid(value))

    def fits(self, part: dict[str, Any], value: Any) -> bool:
        """Whether one value is valid under one sub-schema."""
        whole: dict[str, Any] = {key: self.root[key] for key in ("$defs", "definitions", "$schema") if key in self.root}
        return bool(jsonschema_rs.is_valid({**whole, **part}, value, pattern_options=jsonschema_rs.RegexOptions()))


def list_types(part: dict[str, Any]) -> tuple[str, ...]:
    """The types that a sub-schema allows, `null` apart; `string` where it says nothing."""
    named = part.get("type", "object" if "properties" in part else "string")
    listed = named if isinstance(named, list) else [named]
    return tuple(each for each in listed if isinstance(each, str) and each != "null") or ("string",)


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
