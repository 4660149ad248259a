"""The edge's writer: an answer with its citations from the passages, and JSON that is always valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.knowledge.extraction.extraction import extracted
from tidegate.services.llm.constraints.json_grammar import SchemaRefused
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.json_extraction import filled
from tidegate.services.llm.site_model import Extracted, Writer

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "reference": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        "receiver": {"type": "string"},
        "kind": {"enum": ["transfer", "deposit"]},
        "note": {"type": "string"},
    },
    "required": ["amount", "reference", "receiver", "kind"],
}
TEXT = "Please transfer 300 euros to Vale under reference AB-123"


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=8))


@pytest.fixture
def writer(lm: CausalLM) -> Writer:
    return Writer(lm)


class TestWriting:
    def test_it_says_what_its_model_says_whoever_drafts(self, lm: CausalLM, writer: Writer) -> None:
        heard: list[int] = []
        alone = writer.write("When?", tiny_models.PROSE[:2], drafters=(), max_tokens=24, said=heard.extend)
        assert tuple(heard) == alone.ids
        assert alone.passages == 2
        assert 0 < alone.least <= alone.likelihood < 1
        helped = Writer(lm, smaller=lm)
        for drafters in (("lookup",), ("lm",), ("lookup", "lm"), ("grammar",)):
            told = helped.write("When?", tiny_models.PROSE[:2], drafters=drafters, max_tokens=24)
            assert told.ids == alone.ids
            assert told.likelihood == pytest.approx(alone.likelihood, rel=1e-3)
        assert helped.write("When?", tiny_models.PROSE[:2], drafters=("lm",), max_tokens=24).speculation.steps == 2

    def test_what_was_answered_before_is_looked_up_for_its_tenant_alone(self, writer: Writer) -> None:
        first = writer.write("When?", tiny_models.PROSE[:2], tenant="kiosk", max_tokens=24)
        writer.remember("kiosk", first.ids)
        again = writer.write("When?", tiny_models.PROSE[:2], tenant="kiosk", max_tokens=24)
        other = writer.write("When?", tiny_models.PROSE[:2], tenant="other", max_tokens=24)
        assert again.ids == other.ids == first.ids
        assert again.speculation.accepted > first.speculation.accepted
        assert other.speculation == first.speculation

    def test_passages_that_do_not_fit_are_left_out(self, writer: Writer) -> None:
        written = writer.write("When?", [tiny_models.PROSE[0] * 3] * 9, max_tokens=24)
        assert 0 < written.passages < 9

    def test_it_stops_when_told(self, writer: Writer) -> None:
        heard: list[int] = []
        told = writer.write("When?", [], max_tokens=24, said=heard.extend, is_stopped=lambda: len(heard) > 3)
        assert len(told.ids) == 4
        assert not told.is_finished

    def test_a_smaller_model_must_share_the_tokenizer(self, lm: CausalLM, tmp_path: Path) -> None:
        directory = tiny_models.save(tmp_path)
        (directory / "tokenizer.json").write_bytes(tiny_models.tokenizer_json() + b"\n")
        with pytest.raises(ValueError, match="tokenizer"):
            Writer(lm, smaller=CausalLM(directory))


class TestJson:
    @given(text=st.text(max_size=120), most=st.integers(60, 120))
    @settings(deadline=None, max_examples=15)
    def test_it_is_always_valid(self, lm: CausalLM, text: str, most: int) -> None:
        told = Writer(lm).extract_json(text, SCHEMA, max_tokens=most)
        assert jsonschema_rs.is_valid(SCHEMA, json.loads(told.text))
        assert told.speculation.tokens <= most + 1

    def test_a_schema_is_compiled_once_and_its_prompt_read_once(self, lm: CausalLM) -> None:
        writer = Writer(lm)
        assert writer.grammar(SCHEMA) is writer.grammar(dict(SCHEMA))
        before = lm.pinned_bytes
        schema = {**SCHEMA, "required": ["note"]}
        first = writer.extract_json(TEXT, schema)
        pinned = lm.pinned_bytes
        assert writer.extract_json(TEXT, schema).text == first.text
        assert lm.pinned_bytes == pinned >= before

    def test_a_keyword_that_is_not_kept_to_is_refused_when_the_schema_is_read(self, writer: Writer) -> None:
        with pytest.raises(SchemaRefused, match="'not'"):
            writer.grammar({"type": "object", "properties": {"a": {"not": {"const": 1}}}})

    def test_names_that_fill_the_context_are_refused(self, writer: Writer) -> None:
        long = {"type": "object", "properties": {f"property_{number}": {"type": "string"} for number in range(60)}}
        writer.grammar(long)
        with pytest.raises(SchemaRefused, match="its fields take"):
            writer.extract_json("x", long, max_tokens=100)


def names_of(checks: Any) -> dict[str, bool]:
    return {check.name: check.passed for check in checks}


class TestFilled:
    def test_what_rules_find_stays_and_the_model_fills_the_rest_from_the_text(self, writer: Writer) -> None:
        by_rule = json.loads(extracted(TEXT, json.dumps(SCHEMA)).text)
        assert "receiver" not in by_rule, "or there would be nothing to test"
        answer = filled(writer, TEXT, json.dumps(SCHEMA))
        value = json.loads(answer.text)
        assert value | by_rule == value
        assert value["receiver"] in TEXT
        assert jsonschema_rs.is_valid(SCHEMA, value)
        assert names_of(answer.checks) == {"schema": True, "grounding": True, "model": True}
        assert 0 < answer.confidence <= 0.6
        assert answer.speculation is not None

    def test_however_sure_the_model_is_it_is_believed_no_more_than_this(self, lm: CausalLM) -> None:
        class Sure(Writer):
            def extract_json(self, *about: Any, **more: Any) -> Extracted:
                return msgspec.structs.replace(super().extract_json(*about, **more), likelihood=0.95)

        assert filled(Sure(lm), TEXT, json.dumps(SCHEMA)).confidence == 0.6
        assert filled(Sure(lm), "Please transfer 300 euros", json.dumps(SCHEMA)).confidence == 0.3

    def test_where_rules_suffice_no_model_is_asked(self, writer: Writer) -> None:
        schema = {**SCHEMA, "required": ["amount", "kind"]}
        assert filled(writer, TEXT, json.dumps(schema)) == extracted(TEXT, json.dumps(schema))

    def test_what_stands_nowhere_is_valid_and_not_believed(self, writer: Writer) -> None:
        answer = filled(writer, "Please transfer 300 euros", json.dumps(SCHEMA))
        assert jsonschema_rs.is_valid(SCHEMA, json.loads(answer.text)), "a reference was made up"
        assert names_of(answer.checks) == {"schema": True, "grounding": False, "model": True}
        assert answer.confidence <= 0.3

    @given(st.text(max_size=150))
    @settings(deadline=None, max_examples=15)
    def test_whatever_the_text_the_object_is_valid(self, lm: CausalLM, text: str) -> None:
        answer = filled(Writer(lm), text, json.dumps(SCHEMA))
        assert jsonschema_rs.is_valid(SCHEMA, json.loads(answer.text))

    def test_dates_numbers_and_nulls_come_from_the_text(self, writer: Writer) -> None:
        schema = {
            "type": "object",
            "properties": {
                "first": {"type": "string", "format": "date"},
                "second": {"type": "integer", "minimum": 2000},
                "third": {"type": ["number", "null"], "maximum": 5},
            },
            "required": ["first", "second", "third"],
        }
        text = "Between 3 May 2026, 4 May 2026 and 12 June 2027 it was 2.5 or 3.5 of 2100 or 2200"
        answer = filled(writer, text, json.dumps(schema))
        value = json.loads(answer.text)
        assert value["first"] in {"2026-05-03", "2026-05-04", "2027-06-12"}
        assert value["second"] in {2026, 2027, 2100, 2200}
        assert value["third"] in {None, 2.5, 3.5, 3, 4}
        assert names_of(answer.checks)["grounding"]

    def test_where_the_grammar_gives_up_the_rules_answer_stays(self, writer: Writer) -> None:
        schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "receiver": {"type": "object", "not": {"const": 3}}}}
        answer = filled(writer, TEXT, json.dumps(schema))
        assert answer.text == extracted(TEXT, json.dumps(schema)).text
        assert names_of(answer.checks)["grammar_not"] is False
        assert answer.confidence <= 0.3

    def test_a_schema_that_cannot_be_read_is_refused_as_before(self, writer: Writer) -> None:
        assert filled(writer, TEXT, "[") == extracted(TEXT, "[")
