"""The edge's own model: a drafter of what the cloud's model will answer, and JSON under a schema."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from operator import attrgetter
from statistics import geometric_mean
from typing import Any

import msgspec
from cachetools import LRUCache, cachedmethod

from tidegate.schemas import Artefact, Speculation
from tidegate.services.llm.constraints.json_grammar import (
    GrammarVocabulary,
    JsonConstraint,
    JsonGrammar,
    SchemaRefusedError,
)
from tidegate.services.llm.constraints.quoting import QuotingConstraint, QuotingDrafter
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.drafters.base import Drafter
from tidegate.services.llm.drafters.chained import ChainedDrafter
from tidegate.services.llm.drafters.lm_drafter import LmDrafter
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import likelihood
from tidegate.services.llm.text.prompts import json_prompt
from tidegate.services.llm.text.tokenizer import TokenText

_GRAMMARS_MOST = 64
_JSON_MOST = 256


class ExtractedJson(msgspec.Struct, frozen=True):
    """A JSON object, compact, valid under its schema.

    `likelihood` is the geometric mean over the tokens that were chosen, as the model weighs them without the grammar.
    """

    text: str
    likelihood: float
    speculation: Speculation


class SiteModel:
    """Drafts and extracts with one language model. Safe to use from several threads at once."""

    def __init__(self, lm: CausalLM, id: str = "draft") -> None:
        """Raises `TokenizerRefusedError` for a model with a foreign tokenizer."""
        self.tokenizer: TokenText = lm.own_tokens
        self.artefact = Artefact("model", id, lm.version)
        self._lm = lm
        self._vocabulary = GrammarVocabulary(self.tokenizer)
        self._grammars: LRUCache[str, JsonGrammar] = LRUCache(_GRAMMARS_MOST)
        self._lock = threading.Lock()

    def drafter(self, names: Sequence[str], prompt: Sequence[int], *, quotes: bool = False) -> Drafter:
        """Proposes what another model of the same tokenizer answers to `prompt`; `quotes`: that one may only quote.

        `names` are a plan's drafters: `lookup`, `lm`. They know the prompt and nothing else: no answer that was given
        before goes into what they propose, so that it may leave the site.
        """
        known: dict[str, Drafter] = {
            "lookup": AlignedDrafter(prompt, self._lm.vocabulary, quotes=quotes),
            "lm": LmDrafter(self._lm),
        }
        found = [known[name] for name in names if name in known]
        rule = QuotingConstraint.of(self.tokenizer, prompt) if quotes else None
        return ChainedDrafter(found) if rule is None else QuotingDrafter(rule, len(prompt), found)

    @cachedmethod(
        attrgetter("_grammars"), key=lambda _, schema: json.dumps(schema, sort_keys=True), lock=attrgetter("_lock")
    )
    def grammar(self, schema: Mapping[str, Any]) -> JsonGrammar:
        """The schema as a grammar, compiled once. Raises `SchemaRefusedError`, which names the keyword."""
        return JsonGrammar(self._vocabulary, schema)

    def extract_json(
        self, text: str, schema: Mapping[str, Any], fields: str, *, max_tokens: int = _JSON_MOST
    ) -> ExtractedJson:
        """The object that `text` fills the schema with, whatever the model is worth: always whole, always valid.

        `fields` is how the prompt names the properties; `max_tokens` is at most half the model's context. Raises
        `SchemaRefusedError` for a schema that the grammar cannot keep to, whose objects take over `max_tokens`, or
        whose fields leave no room for the text.
        """
        most = min(max_tokens, self._lm.context // 2)
        constraint = JsonConstraint(self.grammar(schema), most)
        budget = self._lm.context - most
        prompt = json_prompt(self.tokenizer, fields, text, budget)
        if len(prompt) > budget:
            raise SchemaRefusedError(f"its fields take {len(prompt)} tokens of a prompt that holds {budget}")
        self._lm.pin(prompt[: prompt.index(TokenText.TEXT) + 1])
        weights: list[float] = []
        options = DecodingOptions(
            max_tokens=most,
            constraint=constraint,
            on_choice=lambda row, token: weights.append(max(likelihood(row, token), 1e-30)),
        )
        generated = speculate(self._lm, prompt, AlignedDrafter(prompt, self._lm.vocabulary), options)
        mean = geometric_mean(weights) if weights else 1.0
        return ExtractedJson(self.tokenizer.decode(generated.ids), mean, generated.speculation)
