"""The OpenAPI 3.1 document of the HTTP API, made of the table of operations and of the structs that they name.

What is served at /openapi.json is this; next: operations.py."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from tidegate.schemas.refusals import REFUSALS
from tidegate.services.gateway.http.errors import ErrorReply
from tidegate.services.gateway.http.event_format import MEDIA_TYPE
from tidegate.services.gateway.http.openai import ChatRequest
from tidegate.services.gateway.http.operations import OPERATIONS, Operation
from tidegate.services.gateway.http.parameters import REFUSED, WITHOUT_EFFECT

REF = "#/components/schemas/{name}"
CREDENTIAL = {"type": "http", "scheme": "bearer", "description": "An access key, or a token of the OpenID provider."}


@cache
def openapi_document() -> dict[str, Any]:
    """The document; the same for every site, and safe to encode as it is."""
    named = [kind for each in OPERATIONS for kind in (each.body, each.reply, *each.events)]
    types = [kind for kind in named if kind is not None and not isinstance(kind, str)]
    _, components = msgspec.json.schema_components([*types, ErrorReply], ref_template=REF)
    _describe_chat(components[ChatRequest.__name__])
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for each in OPERATIONS:
        paths[re.sub(r":\w+}", "}", each.path)][each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": version("tidegate"),
            "description": "The HTTP API of a site. Every refusal is an `ErrorReply`.",
        },
        "paths": dict(paths),
        "components": {"schemas": components, "securitySchemes": {"credential": CREDENTIAL}},
    }


def _operation(each: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": each.id, "summary": each.summary, "responses": _responses(each)}
    if each.roles:
        found["security"] = [{"credential": list(each.roles)}]
    if each.parameters:
        found["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.location,
                "required": parameter.location == "path",
                "schema": _schema(parameter.type),
                **({"description": parameter.description} if parameter.description else {}),
            }
            for parameter in each.parameters
        ]
    if each.body is not None:
        found["requestBody"] = {"required": True, "content": _json_content(each.body)}
    return found


def _responses(each: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if isinstance(each.reply, str):
        content = {each.reply: {"schema": {"type": "string"}}}
    elif each.reply is not None:
        content = _json_content(each.reply)
    if each.events:
        data = {"anyOf": [_schema(kind) for kind in each.events]}
        content[MEDIA_TYPE] = {"schema": {"type": "string", "description": "server-sent events"}, "x-event-data": data}
    if each.is_socket:
        done = {"101": {"description": "The events, one text message each.", "x-event-data": data}}
    else:
        done = {"200": {"description": "Done.", "content": content}}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in (*each.all_refusals, "internal"):
        by_status[REFUSALS[code].status].append(code)
    for status, codes in sorted(by_status.items()):
        done[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "content": _json_content(ErrorReply),
        }
    return done


def _describe_chat(schema: dict[str, Any]) -> None:
    """Add what `check_parameters` lets pass beside the fields of `ChatRequest`."""
    for name, why in WITHOUT_EFFECT.items():
        schema["properties"][name]["description"] = f"No effect: {why}."
    for name, (what, neutral) in REFUSED.items():
        allowed = [None, *neutral]
        schema["properties"][name] = {"enum": allowed, "description": f"Refused where it asks for {what}."}
    schema["additionalProperties"] = False


def _json_content(kind: Any) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(kind)}}


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema
