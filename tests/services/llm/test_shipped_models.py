"""The shipped pair: two models of one tokenizer that run here, and every drafter leaves the target's words alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from tests.support.paths import MODELS
from tests.support.target_conformance import TargetActs
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.drafters.chained import ChainedDrafter
from tidegate.services.llm.drafters.lm_drafter import LmDrafter
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.llm.targets.base import Target
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.prompts import answer_prompt, describe_fields, json_prompt

PAIR = MODELS / "lm"
PASSAGES = (
    "The branch opens at nine on Saturday and closes at one in the afternoon. Parking is free.",
    "Counting a coin roll costs two euros; holders of a current account pay nothing.",
    "A lost card is blocked by phone at any hour, day and night.",
)


@pytest.fixture(scope="module")
def lm() -> CausalLM:
    return CausalLM(PAIR / "target")


@pytest.fixture(scope="module")
def draft() -> CausalLM:
    return CausalLM(PAIR / "draft")


@pytest.fixture(scope="module")
def prompt(lm: CausalLM) -> Sequence[int]:
    return answer_prompt(lm.own_tokens, "When does the branch open on Saturday?", PASSAGES).ids


@pytest.mark.anyio
class TestTarget(TargetActs):
    """Asked for JSON, which any state of the pair says at some length; to a question it may well say `<|none|>`."""

    FIELDS = "name:string amount:number when:date kind:enum(transfer|deposit)"

    @pytest.fixture(scope="class")
    @classmethod
    def prompt(cls, lm: CausalLM) -> Sequence[int]:
        return json_prompt(lm.own_tokens, cls.FIELDS, "Move 300 euros to Anna Vale on 3 May 2026, a transfer")

    @pytest.fixture(scope="class")
    @classmethod
    def other_prompt(cls, lm: CausalLM) -> Sequence[int]:
        return json_prompt(lm.own_tokens, cls.FIELDS, "On 7 June 2027 Ben Holt brought a deposit of 125 euros")

    @pytest.fixture
    async def target(self, lm: CausalLM) -> AsyncIterator[Target]:
        embedded = EmbeddedTarget(lm)
        yield embedded
        await embedded.close()


def test_the_two_speak_of_the_same_tokens(lm: CausalLM, draft: CausalLM) -> None:
    assert lm.own_tokens.digest == draft.tokens.digest
    assert lm.version != draft.version
    assert lm.context >= 1024


def test_what_is_read_in_pieces_is_read_alike(lm: CausalLM, draft: CausalLM, prompt: Sequence[int]) -> None:
    """Drafts change nothing only while the logits do not depend on how many tokens share a pass."""
    for model in (lm, draft):
        at_once = model.open().forward(list(prompt))
        context = model.open()
        rows = [context.forward([*prompt[at : at + 7]]) for at in range(0, len(prompt), 7)]
        np.testing.assert_allclose(np.concatenate(rows), at_once, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(5, 0.8)], ids=["cold", "hot"])
def test_no_drafter_changes_a_word(lm: CausalLM, draft: CausalLM, prompt: Sequence[int], sampling: Sampling) -> None:
    alone = speculate(lm, prompt, options=DecodingOptions(sampling=sampling, max_tokens=32))
    for drafter in (
        LmDrafter(draft, sampling),
        AlignedDrafter(prompt, lm.vocabulary),
        AlignedDrafter(prompt, lm.vocabulary, alone.ids[:9]),
        ChainedDrafter([AlignedDrafter(prompt, lm.vocabulary), LmDrafter(draft, sampling)]),
    ):
        helped = speculate(lm, prompt, drafter, DecodingOptions(sampling=sampling, max_tokens=32))
        assert helped.ids == alone.ids
        assert helped.is_finished == alone.is_finished
        assert helped.speculation.steps <= alone.speculation.steps


def test_what_the_site_model_extracts_is_valid(draft: CausalLM) -> None:
    model = SiteModel(draft)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "amount": {"type": "number"},
            "when": {"type": "string", "format": "date"},
            "kind": {"enum": ["transfer", "deposit"]},
        },
        "required": ["name", "amount", "when", "kind"],
    }
    text = "Move 300 euros to Anna Vale on 3 May 2026, a transfer"
    extracted = model.extract_json(text, schema, describe_fields(schema["properties"]))
    for filled in (extracted.text, fill_schema(model, text, json.dumps(schema)).text):
        assert jsonschema_rs.is_valid(schema, json.loads(filled))
