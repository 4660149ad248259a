"""A schema as a grammar: only legal tokens, forced ones for nothing, always whole in time, or refused when read."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.llm.constraints.json_grammar import (
    GrammarStateError,
    GrammarVocabulary,
    JsonConstraint,
    JsonGrammar,
    SchemaRefusedError,
)
from tidegate.services.llm.constraints.schema_bounds import bound_schema
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.text.prompts import json_prompt
from tidegate.services.llm.text.tokenizer import TokenText

TOKENS = TokenText(tiny_models.tokenizer_json())
VOCABULARY = GrammarVocabulary(TOKENS)
QUICK = settings(deadline=None, max_examples=25)


def of(**properties: Any) -> dict[str, Any]:
    """An object with these properties, all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 5},
        {"type": "string", "minLength": 3},
        {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
        {"type": "string", "format": "date"},
        {"type": ["string", "null"]},
        {"type": "integer"},
        {"type": "integer", "minimum": 5, "maximum": 12},
        {"type": "number"},
        {"type": "number", "exclusiveMinimum": 0.5, "maximum": 0.75},
        {"type": "boolean"},
        {"enum": ["red", "green", 'a "quoted" one', None]},
        {"const": {"fixed": [1, "€"]}},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    ]
)
PARTS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        part.map(lambda each: {"type": "array", "items": each, "maxItems": 3}),
        st.dictionaries(st.sampled_from(["a", "b", "größe"]), part, min_size=1).map(
            lambda each: {"type": "object", "properties": each, "required": list(each)[:1]}
        ),
    ),
    max_leaves=4,
)
SCHEMAS = st.dictionaries(st.sampled_from(["name", "count", "état", "x"]), PARTS, min_size=1).flatmap(
    lambda properties: st.builds(
        lambda required: {"type": "object", "properties": properties, "required": sorted(required)},
        st.sets(st.sampled_from(sorted(properties))),
    )
)


def output_under(constraint: JsonConstraint, most: int, seed: int, wild: float) -> list[int]:
    """What a model of random wishes says, token by token."""
    dice = np.random.default_rng(seed)
    output: list[int] = []
    while len(output) <= most:
        forced = constraint.forced()
        constraint.accept(forced)
        output += [each for each in forced if each != TOKENS.end]
        if TOKENS.end in forced:
            return output
        row = dice.normal(0, wild, TOKENS.size).astype(np.float32)
        token = constraint.choose(row, Sampling(), len(output))
        constraint.accept((token,))
        output.append(token)
    raise AssertionError("it does not end")


@given(schema=SCHEMAS, seed=st.integers(0, 10**6), spare=st.integers(0, 60))
@QUICK
def test_whatever_the_model_wants_the_object_is_whole_valid_and_in_time(
    schema: dict[str, Any], seed: int, spare: int
) -> None:
    grammar = JsonGrammar(VOCABULARY, schema)
    shortest = grammar.matcher().closing(400)
    assert shortest is not None
    most = len(shortest) + spare
    output = output_under(JsonConstraint(grammar, most), most, seed, 3.0)
    assert len(output) <= most
    value = json.loads(TOKENS.decode(output))
    assert jsonschema_rs.is_valid(schema, value), (schema, value)
    assert value.keys() <= schema["properties"].keys()


@given(schema=SCHEMAS, seed=st.integers(0, 10**6))
@QUICK
def test_no_illegal_token_is_chosen_and_what_is_forced_has_no_alternative(schema: dict[str, Any], seed: int) -> None:
    grammar = JsonGrammar(VOCABULARY, schema)
    output = output_under(JsonConstraint(grammar, 300), 300, seed, 3.0)
    matcher = grammar.matcher()
    for token in output:
        mask = matcher.mask()
        assert mask[token]
        assert not mask[: TOKENS.FIRST_MARK + 9].any(), "no mark is part of any object"
        forced = [each for each in matcher.forced() if each != TOKENS.end]
        if forced:
            legal = [each for each in range(TOKENS.size) if mask[each]]
            text = TOKENS.bytes_of(forced)
            assert all(text.startswith(TOKENS.bytes_of([each])[: len(text)]) for each in legal)
        matcher.advance([token])
    assert matcher.forced() == [TOKENS.end]


@pytest.mark.parametrize("keyword", ["not", "if", "contains", "uniqueItems", "dependentRequired", "propertyNames"])
def test_a_keyword_that_is_not_kept_to_is_named_when_the_schema_is_read(keyword: str) -> None:
    claims: dict[str, Any] = {
        "not": {"const": 3},
        "if": {"const": 3},
        "contains": {"const": 3},
        "uniqueItems": True,
        "dependentRequired": {"a": ["b"]},
        "propertyNames": {"minLength": 3},
    }
    with pytest.raises(SchemaRefusedError, match=f"'{keyword}'") as refused:
        JsonGrammar(VOCABULARY, of(a={"type": ["array", "object", "integer"], keyword: claims[keyword]}))
    assert refused.value.keyword == keyword


@pytest.mark.parametrize(
    "schema",
    [
        of(a={"enum": []}),
        of(a={"type": "string", "pattern": "(?=a)b"}),
        of(a={"type": "string", "minLength": 4, "maxLength": 2}),
        of(a={"$ref": "https://example.org/schema"}),
        of(a={"$ref": "#/$defs/nowhere"}),
    ],
)
def test_a_schema_that_nothing_satisfies_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaRefusedError):
        JsonGrammar(VOCABULARY, schema)


@pytest.mark.parametrize(
    "schema",
    [
        of(a={"type": "string", "minLength": 150}),
        {**of(a={"$ref": "#/$defs/a"}), "$defs": {"a": of(a={"$ref": "#/$defs/a"})}},
    ],
    ids=["long", "endless"],
)
def test_objects_that_take_too_long_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefusedError, match=r"more than 100 tokens|Too many items"):
        JsonConstraint(JsonGrammar(VOCABULARY, schema), 100)


def test_a_constraint_takes_only_what_it_allowed() -> None:
    constraint = JsonConstraint(JsonGrammar(VOCABULARY, of(a={"type": "boolean"})), 50)
    with pytest.raises(GrammarStateError):
        constraint.accept(TOKENS.encode("x"))
    matcher = JsonGrammar(VOCABULARY, of(a={"type": "boolean"})).matcher()
    with pytest.raises(GrammarStateError):
        matcher.advance(TOKENS.encode("x"))
    with pytest.raises(GrammarStateError):
        matcher.mask()


class TestBounded:
    @given(SCHEMAS, st.integers(0, 10**6))
    @QUICK
    def test_what_the_narrow_schema_takes_the_wide_one_takes(self, schema: dict[str, Any], seed: int) -> None:
        narrow = bound_schema(schema)
        value = json.loads(
            TOKENS.decode(output_under(JsonConstraint(JsonGrammar(VOCABULARY, schema), 400), 400, seed, 1.0))
        )
        assert jsonschema_rs.is_valid(narrow, value)
        assert jsonschema_rs.is_valid(schema, value)

    @pytest.mark.parametrize(
        ("wide", "narrow"),
        [
            ({"type": "string"}, {"type": "string", "maxLength": 200}),
            ({"type": "string", "maxLength": 900}, {"type": "string", "maxLength": 900}),
            ({"type": "string", "minLength": 300}, {"type": "string", "minLength": 300, "maxLength": 300}),
            ({"type": "string", "format": "email"}, {"type": "string", "maxLength": 200}),
            ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
            ({"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 3, "maximum": 10**12}),
            ({"description": "anything"}, {"type": "string", "maxLength": 200}),
            ({"enum": [1]}, {"enum": [1]}),
            (
                {"type": "object", "properties": {"type": {"type": "boolean"}, "format": {"title": "x"}}},
                {
                    "type": "object",
                    "properties": {"type": {"type": "boolean"}, "format": {"type": "string", "maxLength": 200}},
                    "additionalProperties": False,
                },
            ),
            (
                {"allOf": [{"type": "object", "properties": {"a": {"enum": [1]}}}]},
                {"allOf": [{"type": "object", "properties": {"a": {"enum": [1]}}}]},
            ),
        ],
    )
    def test_table(self, wide: dict[str, Any], narrow: dict[str, Any]) -> None:
        assert bound_schema(wide) == narrow


class TestUnderAModel:
    SCHEMA = of(
        name={"type": "string", "maxLength": 12}, count={"type": "integer"}, kind={"enum": ["coin roll", "lost card"]}
    )

    @pytest.fixture(scope="class")
    @classmethod
    def lm(cls, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
        return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=7))

    @pytest.mark.parametrize("sampling", [Sampling(), Sampling(3, 1.2)], ids=["cold", "hot"])
    def test_drafts_change_no_word_of_it(self, lm: CausalLM, sampling: Sampling) -> None:
        grammar = JsonGrammar(VOCABULARY, self.SCHEMA)
        prompt = json_prompt(TOKENS, "name:string", "A coin roll costs two euros.")

        def outcome(drafter: Any) -> Any:
            constraint = JsonConstraint(grammar, 80)
            return speculate(
                lm, prompt, drafter, DecodingOptions(sampling=sampling, max_tokens=80, constraint=constraint)
            )

        alone = outcome(None)
        assert alone.is_finished
        assert jsonschema_rs.is_valid(self.SCHEMA, json.loads(TOKENS.decode(alone.ids)))

        class Truth:
            def propose(self, ids: Any, k: int) -> list[int]:
                return [*alone.ids, TOKENS.end][len(ids) - len(prompt) :][:k]

        class Lie(Truth):
            def propose(self, ids: Any, k: int) -> list[int]:
                right = super().propose(ids, k)
                return [*right[:2], *[(each + 1) % 400 for each in right[2:]]]

        for drafter in (Truth(), Lie(), AlignedDrafter(prompt, lm.vocabulary)):
            helped = outcome(drafter)
            assert helped.ids == alone.ids
            assert helped.speculation.steps <= alone.speculation.steps
        assert outcome(Truth()).speculation.steps < alone.speculation.steps / 3

    def test_what_is_forced_takes_no_step(self, lm: CausalLM) -> None:
        grammar = JsonGrammar(VOCABULARY, of(kind={"const": "coin roll"}))
        generated = speculate(
            lm, [1, 30], options=DecodingOptions(max_tokens=60, constraint=JsonConstraint(grammar, 60))
        )
        assert TOKENS.decode(generated.ids) == '{"kind":"coin roll"}'
        assert generated.speculation.steps == 0
        assert generated.speculation.tokens == len(generated.ids) + 1
        assert (generated.speculation.drafted, generated.speculation.accepted) == (0, 0)
