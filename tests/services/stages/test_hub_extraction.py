"""A failed extraction is read again at the hub, where a model's word counts only where the text says the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.chat_server import ModelServer
from tests.support.escalation_site import escalated
from tidegate.schemas import Answer, Artefact, Escalated, Suggestion, Verified
from tidegate.services.knowledge.extraction.agreement import read_again, surer
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.llm.targets.openai_compatible.client import CompletionResponse, CompletionsClient, ServedChoice
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.stages.cloud_verifier.chat_extraction import ChatExtraction
from tidegate.services.stages.cloud_verifier.handler import verify

TEXT = "I bought three caps for 36 pounds on 4 May 2026 in Falmouth, not in Truro. Ada Moor"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "quantity": {"type": "integer"},
        "total": {"type": "number"},
        "city": {"type": "string"},
        "iban": {"type": "string", "pattern": "^[A-Z]{2}\\d{20}$"},
    },
    "required": ["quantity", "total", "city"],
}
asked = escalated(TEXT)
ASKED = replace(asked, question=replace(asked.question, workload="extract", schema=json.dumps(SCHEMA)))


def confidences(answer: Answer) -> dict[str, float]:
    return {field.path: field.confidence for field in answer.fields}


def test_a_second_reading_that_agrees_makes_a_value_surer_and_one_that_does_not_leaves_it() -> None:
    alone = extract(TEXT, json.dumps(SCHEMA), "en")
    value = json.loads(alone.text)
    again = read_again(TEXT, json.dumps(SCHEMA), json.dumps({**value, "city": "Penzance"}), "en")
    assert json.loads(again.text) == value
    before, after = confidences(alone), confidences(again)
    assert after["quantity"] == pytest.approx(surer(before["quantity"]), abs=0.001)
    assert after["quantity"] > before["quantity"]
    assert after["city"] == before["city"]


def test_what_only_a_model_has_counts_only_where_the_text_says_it() -> None:
    schema = {
        "type": "object",
        "properties": {"part": {"type": "string", "pattern": "^[A-Z]{3}$"}},
        "required": ["part"],
    }
    for written, problem in (('{"part": "XYZ"}', "missing"), ("no JSON", "missing"), ('["XYZ"]', "missing")):
        answer = read_again("Nothing of the kind.", json.dumps(schema), written, "en")
        assert [field.problem for field in answer.fields] == [problem], written
        assert "XYZ" not in answer.text


@pytest.mark.anyio
async def test_the_hub_asks_its_model_for_json_under_the_schema_and_checks_it() -> None:
    async def answer(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        raise AssertionError("an extraction is no answer from passages")

    async def suggest(_: Escalated) -> tuple[Suggestion, ...]:
        raise AssertionError("an extraction needs no passages")

    async with ModelServer().serving() as server:
        server.reply = json.dumps({"quantity": 3, "total": 36, "city": "Falmouth", "iban": "DE00"})
        settings = OpenAICompatibleSettings(base_url=server.url, model="echo", timeout_s=10.0)
        client = CompletionsClient(settings, "", is_only_way=True)
        asking = partial(
            verify,
            ASKED,
            answer=answer,
            extract=ChatExtraction(client).extract,
            suggest=suggest,
            sure_from=lambda _: 0.5,
        )
        [verified] = await asking()
        assert isinstance(verified, Verified)
        alone = {field.path: field for field in extract(TEXT, json.dumps(SCHEMA), "en").fields}
        read = {field.path: field for field in verified.answer.fields}
        assert read["total"].value == alone["total"].value == 36
        assert read["total"].confidence > alone["total"].confidence
        sent = server.requests[-1]
        assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
        assert TEXT in sent["messages"][-1]["content"]
        server.refuses = {"response_format"}
        [verified] = await asking()
        assert isinstance(verified, Verified)
        assert verified.answer.format == "json"
        await client.close()


class Pieces:
    """A server that writes a text character by character, and knows how much of it was read."""

    model = "echo"

    def __init__(self, text: str) -> None:
        self.text = text
        self.read = 0

    async def stream(self, _: str, **__: object) -> AsyncIterator[CompletionResponse]:
        for char in self.text:
            self.read += 1
            yield CompletionResponse([ServedChoice(text=char)])


@pytest.mark.anyio
@pytest.mark.parametrize(("written", "read"), [("Sure: {}", 1), ('{"total": 36} I hope', 15), ('{"total": 36}', 13)])
async def test_what_can_be_no_json_is_stopped_and_the_reader_s_answer_stays(written: str, read: int) -> None:
    pieces = Pieces(written)
    found, _ = await ChatExtraction(pieces).extract(ASKED)  # type: ignore[arg-type]
    assert pieces.read == read
    [total] = [field for field in found.fields if field.path == "total"]
    [alone] = [field for field in extract(TEXT, json.dumps(SCHEMA), "en").fields if field.path == "total"]
    assert (total.confidence > alone.confidence) is (read == len(written))
