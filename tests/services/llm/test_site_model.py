"""The edge's own model: a drafter for the cloud's answer, and JSON that is always valid."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.llm.constraints.json_grammar import SchemaRefusedError
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import ExtractedJson, SiteModel
from tidegate.services.llm.text.prompts import answer_prompt, describe_fields, json_prompt
from tidegate.services.llm.text.tokenizer import TokenText

SCHEMA: dict[str, Any] = {
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
FIELDS = describe_fields(SCHEMA["properties"])
TEXT = "Please transfer 300 euros to Vale under reference AB-123"


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=8))


@pytest.fixture
def model(lm: CausalLM) -> SiteModel:
    return SiteModel(lm)


class TestDrafting:
    @pytest.mark.parametrize("names", [("lookup",), ("lm",), ("lookup", "lm"), ("lm", "lookup"), ("unknown", "lm")])
    def test_it_proposes_what_its_own_model_would_generate(
        self, lm: CausalLM, model: SiteModel, names: tuple[str, ...]
    ) -> None:
        prompt = answer_prompt(lm.own_tokens, "When?", tiny_models.PROSE[:2], 240).ids
        alone = speculate(lm, prompt, options=DecodingOptions(max_tokens=24))
        helped = speculate(lm, prompt, model.drafter(names, prompt), DecodingOptions(max_tokens=24))
        assert helped.ids == alone.ids
        assert helped.speculation.steps < alone.speculation.steps or names == ("lookup",)

    def test_for_a_target_that_may_only_quote_it_proposes_quotations(self, lm: CausalLM, model: SiteModel) -> None:
        prompt = answer_prompt(lm.own_tokens, "When?", tiny_models.PROSE[:2], 240).ids
        passage = prompt[prompt.index(TokenText.FIRST_MARK) + 1 :]
        proposed = model.drafter(("lm",), prompt, quotes=True).propose([*prompt, TokenText.FIRST_MARK], 12)
        assert tuple(proposed) == passage[:12]

    def test_without_a_drafter_that_is_known_it_has_no_idea(self, lm: CausalLM, model: SiteModel) -> None:
        prompt = answer_prompt(lm.own_tokens, "When?", tiny_models.PROSE[:2], 240).ids
        assert model.drafter(("unknown",), prompt).propose(prompt, 8) == []


class TestJson:
    @given(text=st.text(max_size=120), most=st.integers(60, 120))
    @settings(deadline=None, max_examples=15)
    def test_it_is_always_valid(self, lm: CausalLM, text: str, most: int) -> None:
        filled = SiteModel(lm).extract_json(text, SCHEMA, FIELDS, max_tokens=most)
        assert jsonschema_rs.is_valid(SCHEMA, json.loads(filled.text))
        assert filled.speculation.tokens <= most + 1

    def test_a_schema_is_compiled_once_and_its_prompt_read_once(self, lm: CausalLM) -> None:
        model = SiteModel(lm)
        assert model.grammar(SCHEMA) is model.grammar(dict(SCHEMA))
        schema = {**SCHEMA, "required": ["note"]}
        first = model.extract_json(TEXT, schema, FIELDS)
        prompt = json_prompt(lm.own_tokens, FIELDS, TEXT)
        assert lm.open(prompt).length == prompt.index(TokenText.TEXT) + 1
        assert model.extract_json(TEXT, schema, FIELDS).text == first.text

    def test_a_keyword_that_is_not_kept_to_is_refused_when_the_schema_is_read(self, model: SiteModel) -> None:
        with pytest.raises(SchemaRefusedError, match="'not'"):
            model.grammar({"type": "object", "properties": {"a": {"not": {"const": 1}}}})

    def test_names_that_fill_the_context_are_refused(self, model: SiteModel) -> None:
        long: dict[str, Any] = {
            "type": "object",
            "properties": {f"property_{number}": {"type": "string"} for number in range(60)},
        }
        model.grammar(long)
        with pytest.raises(SchemaRefusedError, match="its fields take"):
            model.extract_json("x", long, describe_fields(long["properties"]), max_tokens=100)


def names_of(checks: Any) -> dict[str, bool]:
    return {check.name: check.passed for check in checks}


class TestFilled:
    def test_what_rules_find_stays_and_the_model_fills_the_rest_from_the_text(self, model: SiteModel) -> None:
        by_rule = json.loads(extract(TEXT, json.dumps(SCHEMA)).text)
        assert "receiver" not in by_rule, "or there would be nothing to test"
        answer = fill_schema(model, TEXT, json.dumps(SCHEMA))
        value = json.loads(answer.text)
        assert value | by_rule == value
        assert value["receiver"] in TEXT
        assert jsonschema_rs.is_valid(SCHEMA, value)
        assert names_of(answer.checks) == {"schema": False, "grounding": True, "model": True}, "it is not sure enough"
        assert 0 < answer.confidence <= 0.6
        assert answer.speculation is not None

    def test_however_sure_the_model_is_it_is_believed_no_more_than_this(self, lm: CausalLM) -> None:
        class Sure(SiteModel):
            def extract_json(self, *about: Any, **more: Any) -> ExtractedJson:
                return msgspec.structs.replace(super().extract_json(*about, **more), likelihood=0.95)

        for text in (TEXT, "Please transfer 300 euros"):
            answer = fill_schema(Sure(lm), text, json.dumps(SCHEMA))
            assert {check.name: check.score for check in answer.checks}["model"] == 0.95
            assert answer.confidence <= 0.6

    def test_where_rules_suffice_no_model_is_asked(self, model: SiteModel) -> None:
        schema = {**SCHEMA, "required": ["amount", "kind"]}
        assert fill_schema(model, TEXT, json.dumps(schema)) == extract(TEXT, json.dumps(schema))

    def test_what_stands_nowhere_is_missing_and_not_made_up(self, model: SiteModel) -> None:
        answer = fill_schema(model, "Please transfer 300 euros", json.dumps(SCHEMA))
        assert "reference" not in json.loads(answer.text)
        assert {field.path: field.problem for field in answer.fields}["reference"] == "missing"
        assert answer.confidence <= 0.3

    @given(st.text(max_size=150))
    @settings(deadline=None, max_examples=15)
    def test_whatever_the_text_the_object_is_valid_or_a_field_is_missing(self, lm: CausalLM, text: str) -> None:
        answer = fill_schema(SiteModel(lm), text, json.dumps(SCHEMA))
        is_missing = any(field.problem == "missing" for field in answer.fields)
        assert is_missing or jsonschema_rs.is_valid(SCHEMA, json.loads(answer.text))

    def test_dates_numbers_and_nulls_come_from_the_text(self, model: SiteModel) -> None:
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
        answer = fill_schema(model, text, json.dumps(schema))
        value = json.loads(answer.text)
        assert value["first"] in {"2026-05-03", "2026-05-04", "2027-06-12"}
        assert value["second"] in {2026, 2027, 2100, 2200}
        assert value["third"] in {None, 2.5, 3.5, 3, 4}
        assert names_of(answer.checks)["grounding"]

    def test_where_the_grammar_gives_up_the_readers_answer_stays(self, lm: CausalLM) -> None:
        class Refusing(SiteModel):
            def extract_json(self, *_: Any, **__: Any) -> ExtractedJson:
                raise SchemaRefusedError("its fields leave no room for the text")

        answer = fill_schema(Refusing(lm), TEXT, json.dumps(SCHEMA))
        assert answer.text == extract(TEXT, json.dumps(SCHEMA)).text
        assert names_of(answer.checks)["grammar"] is False
        assert answer.confidence <= 0.3

    def test_a_schema_that_cannot_be_read_is_refused_as_before(self, model: SiteModel) -> None:
        assert fill_schema(model, TEXT, "[") == extract(TEXT, "[")
