"""The OpenAPI document is that of the application: the same paths, types that exist, bodies that it accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route, WebSocketRoute

from tests.support.gateway_site import site
from tidegate.schemas.refusals import REFUSALS
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.access import AccessGate
from tidegate.services.gateway.http.openapi import openapi_document
from tidegate.services.gateway.http.routes import application

METHODS = {"get", "post"}
DOCUMENT = openapi_document()


def references(value: Any) -> list[str]:
    """Every `$ref`, and every target of a discriminator's mapping."""
    if isinstance(value, list):
        return [found for each in value for found in references(each)]
    if not isinstance(value, dict):
        return []
    found = [value["$ref"]] if "$ref" in value else []
    found += value.get("discriminator", {}).get("mapping", {}).values() if "discriminator" in value else []
    return found + [each for child in value.values() for each in references(child)]


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def validator(name: str) -> Any:
    """A validator of the component `name`."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema)


@pytest.mark.anyio
async def test_every_route_is_in_the_document_and_every_path_of_it_is_a_route(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        app = application(running.ingress, AccessGate(open_callers(running.settings), "", "kiosk"), lambda: b"")
    served = set()
    for route in app.routes:
        assert isinstance(route, Route | WebSocketRoute)
        methods = (route.methods or set()) - {"HEAD"} if isinstance(route, Route) else {"GET"}
        served |= {(method.lower(), re.sub(r":\w+}", "}", route.path)) for method in methods}
    documented = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert served == documented


def test_it_is_openapi_3_1_and_all_references_resolve() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert set(DOCUMENT["info"]) >= {"title", "version"}
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert resolve(reference), reference
    reached = {name.rsplit("/", 1)[-1] for name in found}
    assert reached == set(DOCUMENT["components"]["schemas"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


def test_every_operation_has_its_parameters_replies_and_refusals() -> None:
    seen = []
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            seen.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert {"200", "101"} & set(operation["responses"])
            codes = re.findall(r"[a-z_]+", " ".join(r["description"] for r in operation["responses"].values()))
            assert "internal" in codes
    assert len(seen) == len(set(seen))


def test_refusals_stand_under_their_status() -> None:
    responses = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"400", "403", "404", "408", "409", "413", "415", "429", "500", "503", "504"} <= set(responses)
    for status, response in responses.items():
        for code in re.findall(r"[a-z]+_[a-z_]+", response["description"]):
            assert REFUSALS[code].status == int(status)


@pytest.mark.anyio
async def test_it_is_served_and_what_the_site_replies_is_what_it_describes(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "When do you open?"}
    body = {"model": "tidegate", "messages": [turn], "stop": ["x"], "n": 1, "logprobs": None}
    validator("ChatRequest").validate(body)
    async with site(tmp_path, http=True) as running, running.client() as http:
        assert (await http.get("/openapi.json")).json() == json.loads(json.dumps(DOCUMENT))
        validator("ChatCompletion").validate((await http.post("/v1/chat/completions", json=body)).json())
        streamed = (await http.post("/v1/chat/completions", json={**body, "stream": True})).text
        chunks = [line.removeprefix("data: ") for line in streamed.split("\n") if line.startswith("data: {")]
        assert len(chunks) > 2
        for chunk in chunks:
            validator("ChatCompletionChunk").validate(json.loads(chunk))
        refused = await http.post("/v1/chat/completions", json={**body, "n": 2})
        validator("ErrorReply").validate(refused.json())
        for path, name in {
            "/v1/models": "ModelList",
            "/v1/models/tidegate": "ModelInfo",
            "/healthz": "Liveness",
        }.items():
            validator(name).validate((await http.get(path)).json())


@pytest.mark.parametrize("field", [{"n": 2}, {"logprobs": True}, {"foo": 1}, {"stop": [""]}, {"max_tokens": 0}])
def test_what_is_refused_is_not_described(field: dict[str, Any]) -> None:
    body = {"model": "tidegate", "messages": [{"role": "user", "content": "x"}]}
    assert validator("ChatRequest").is_valid(body)
    assert not validator("ChatRequest").is_valid({**body, **field})
