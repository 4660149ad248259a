"""What the edge's own model writes: a draft of the answer from the passages, and JSON under a schema."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tidegate.schemas import Artefact, Speculation
from tidegate.services.llm.constraints.json_grammar import JsonConstraint, JsonGrammar, SchemaRefused, Vocabulary
from tidegate.services.llm.constraints.quoting import Quoting, QuotingDrafter
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.decoding.sampling import Row, Sampling
from tidegate.services.llm.decoding.speculative import speculate
from tidegate.services.llm.drafters.drafters import MOST_DRAFTED, Chained, Drafter, LmDrafter, likelihood
from tidegate.services.llm.drafters.prompt_lookup import Lookup, PastAnswers
from tidegate.services.llm.text.answers import Reading, read_answer
from tidegate.services.llm.text.prompts import answer_prompt, fields_of, json_prompt
from tidegate.services.llm.text.tokenizer import TokenText

_TENANTS_MOST = 64
_GRAMMARS_MOST = 64
_JSON_MOST = 256


class Written(msgspec.Struct, frozen=True):
    """An answer as the model wrote it. `passages` is how many of the given ones it could read.

    `likelihood` is the geometric mean of the probabilities of its tokens, `least` the smallest of them; neither is
    calibrated. `is_finished`: it ended by itself.
    """

    ids: tuple[int, ...]
    reading: Reading
    passages: int
    likelihood: float
    least: float
    speculation: Speculation
    is_finished: bool


class Extracted(msgspec.Struct, frozen=True):
    """A JSON object, compact, valid under its schema.

    `likelihood` and `least` are over the tokens that were chosen, as the model weighs them without the grammar.
    """

    text: str
    likelihood: float
    least: float
    speculation: Speculation


class Writer:
    """Writes with one language model. Safe to use from several threads at once."""

    def __init__(self, lm: CausalLM, id: str = "draft", *, smaller: CausalLM | None = None) -> None:
        """`smaller`, of the same tokenizer, drafts for `lm` where a plan names the drafter `lm`."""
        if smaller is not None and smaller.tokens.digest != lm.tokens.digest:
            raise ValueError("the smaller model has another tokenizer")
        self.tokenizer: TokenText = lm.tokens
        self.artefact = Artefact("model", id, lm.version)
        self._lm = lm
        self._smaller = smaller
        self._vocabulary = Vocabulary(lm.tokens)
        self._past: OrderedDict[str, PastAnswers] = OrderedDict()
        self._grammars: OrderedDict[str, JsonGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def write(
        self,
        question: str,
        passages: Sequence[str],
        *,
        tenant: str = "",
        drafters: Sequence[str] = ("lookup",),
        k: int = MOST_DRAFTED,
        prompt_tokens: int = 448,
        max_tokens: int = 160,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        said: Callable[[Sequence[int]], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> Written:
        """Answer `question` from `passages`, numbered from 1. `drafters` are a plan's: `lookup`, `lm`.

        The passages that do not fit into `prompt_tokens` are left out. `said` is called in this thread with the new ids
        of each step. Stopped, it returns what it has.
        """
        budget = min(prompt_tokens, self._lm.context - max_tokens)
        prompt = answer_prompt(self.tokenizer, question, passages, budget)
        weights = _Weights()
        told = speculate(
            self._lm,
            prompt.ids,
            self._drafter(drafters, tenant, sampling),
            sampling=sampling,
            k=k,
            max_tokens=max_tokens,
            said=said,
            weighed=weights.add,
            is_stopped=is_stopped,
        )
        reading = read_answer(self.tokenizer, told.ids)
        weight = weights.mean, weights.least
        return Written(told.ids, reading, prompt.passages, *weight, told.speculation, told.is_finished)

    def drafting(self, names: Sequence[str], prompt: Sequence[int], *, quotes: bool = False) -> Drafter:
        """Who proposes what another model of the same tokenizer says to `prompt`; `quotes`: that one may only quote.

        `names` are a plan's drafters. They know the prompt and nothing else: no answer that was given before goes into
        what they propose, so that it may leave the site.
        """
        known: dict[str, Drafter] = {
            "lookup": Lookup(self._lm.vocabulary, anchors=self._marks()),
            "lm": LmDrafter(self._lm),
        }
        found = [known[name] for name in names if name in known]
        rule = Quoting.of(self.tokenizer, prompt) if quotes else None
        return Chained(found) if rule is None else QuotingDrafter(rule, len(prompt), found)

    def remember(self, tenant: str, ids: Sequence[int]) -> None:
        """Let `lookup` propose this answer to later questions of the tenant; the tenants used last are kept."""
        self._past_of(tenant).add(ids)

    def grammar(self, schema: Mapping[str, Any] | str) -> JsonGrammar:
        """The schema as a grammar, compiled once. Raises `SchemaRefused`, which names the keyword."""
        key = schema if isinstance(schema, str) else json.dumps(schema, sort_keys=True)
        with self._lock:
            if key in self._grammars:
                self._grammars.move_to_end(key)
                return self._grammars[key]
        grammar = JsonGrammar(self._vocabulary, schema)
        with self._lock:
            self._grammars[key] = grammar
            while len(self._grammars) > _GRAMMARS_MOST:
                self._grammars.popitem(last=False)
        return grammar

    def extract_json(
        self, text: str, schema: Mapping[str, Any] | str, *, fields: str = "", max_tokens: int = _JSON_MOST
    ) -> Extracted:
        """The object that `text` fills the schema with, whatever the model is worth: always whole, always valid.

        `fields` is how the prompt names the properties where that is not as in the schema. `max_tokens` is at most half
        the model's context. Raises `SchemaRefused` for a schema that the grammar cannot keep to, whose objects take
        over `max_tokens`, or whose fields leave no room for the text.
        """
        most = min(max_tokens, self._lm.context // 2)
        constraint = JsonConstraint(self.grammar(schema), most)
        read = json.loads(schema) if isinstance(schema, str) else schema
        named = {name: part for name, part in read.get("properties", {}).items() if isinstance(part, dict)}
        budget = self._lm.context - most
        prompt = json_prompt(self.tokenizer, fields or fields_of(named), text, budget)
        if len(prompt) > budget:
            raise SchemaRefused(f"its fields take {len(prompt)} tokens of a prompt that holds {budget}")
        self._lm.pin(prompt[: prompt.index(TokenText.TEXT) + 1])
        weights = _Weights()
        told = speculate(
            self._lm,
            prompt,
            Lookup(self._lm.vocabulary),
            max_tokens=most,
            constraint=constraint,
            weighed=weights.add,
        )
        return Extracted(self.tokenizer.decode(told.ids), weights.mean, weights.least, told.speculation)

    def _drafter(self, names: Sequence[str], tenant: str, sampling: Sampling) -> Drafter:
        found: list[Drafter] = []
        for name in names:
            if name == "lookup":
                found.append(Lookup(self._lm.vocabulary, self._past_of(tenant), self._marks()))
            elif name == "lm" and self._smaller is not None:
                found.append(LmDrafter(self._smaller, sampling))
        return Chained(found)

    @staticmethod
    def _marks() -> list[int]:
        return [TokenText.FIRST_MARK + number for number in range(TokenText.MOST_PASSAGES)]

    def _past_of(self, tenant: str) -> PastAnswers:
        with self._lock:
            past = self._past.setdefault(tenant, PastAnswers())
            self._past.move_to_end(tenant)
            while len(self._past) > _TENANTS_MOST:
                self._past.popitem(last=False)
            return past


class _Weights:
    """How likely the chosen tokens were."""

    def __init__(self) -> None:
        self._logs = 0.0
        self._count = 0
        self.least = 1.0

    def add(self, row: Row, token: int) -> None:
        weight = likelihood(row, token)
        self._logs += math.log(max(weight, 1e-30))
        self._count += 1
        self.least = min(self.least, weight)

    @property
    def mean(self) -> float:
        return math.exp(self._logs / self._count) if self._count else 1.0
