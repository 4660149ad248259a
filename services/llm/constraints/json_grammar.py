"""A JSON schema as a grammar over tokens: which may follow, which must, and how the object is closed in time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from tidegate.schemas import TidegateError
from tidegate.services.llm.constraints.schema_bounds import bound_schema
from tidegate.services.llm.model.sampling import Mask, Row, Sampling, choose
from tidegate.services.llm.text.tokenizer import TokenText

_CLOSERS = (b'"', b"}", b"]", b",", *(str(digit).encode() for digit in (*range(1, 10), 0)))
"""What ends a value, then what ends a number soonest: a 0 may have to be followed by more."""
_LIMITS = LLParserLimits(verbose_errors=False)  # a verbose error quotes the schema and the answer


class SchemaRefusedError(TidegateError, ValueError):
    """The grammar engine cannot keep to this schema; `keyword` is the one it does not know, "" for another reason."""

    hint = "leave the keyword out, or name fewer properties"

    def __init__(self, reason: str) -> None:
        named = re.search(r'Unimplemented keys: \["([^"]+)"', reason)
        self.keyword = named[1] if named else "format" if reason.startswith("Unknown format") else ""
        at = f"the keyword {self.keyword!r} is not supported: " if self.keyword else ""
        super().__init__(f"the schema cannot be a grammar: {at}{reason[:300]}")


class GrammarStateError(TidegateError, RuntimeError):
    """The grammar engine gave up within a grammar that it had accepted, or was fed what it forbids."""

    hint = "report the schema: this is a fault of the grammar engine or of ours"


class GrammarVocabulary:
    """The tokens as the grammar engine knows them; made once for a tokenizer, in about 10 ms, and shared."""

    def __init__(self, tokens: TokenText) -> None:
        self.tokens = tokens
        self.engine = LLTokenizer(tokens.with_marks_as_controls(), eos_token=tokens.end)
        pieces = [tokens.bytes_of((each,)) for each in range(tokens.size)]
        closers = [pieces.index(each) for each in _CLOSERS]
        rest = sorted((each for each in range(tokens.size) if pieces[each]), key=lambda each: -len(pieces[each]))
        self.closing_order = np.array([*closers, *rest], dtype=np.int64)


class JsonGrammar:
    """What an answer may be under one schema, in compact JSON. Shared by requests, of which each has a matcher."""

    def __init__(self, vocabulary: GrammarVocabulary, schema: Mapping[str, Any]) -> None:
        """Compile the schema, narrowed by `bound_schema`, in about 1 ms.

        Raises `SchemaRefusedError` for a keyword that the engine does not know, and where nothing satisfies the schema.
        """
        self.vocabulary = vocabulary
        try:
            self._source = LLMatcher.grammar_from_json_schema(
                json.dumps(bound_schema(schema)), defaults={"whitespace_flexible": False}
            )
        except (ValueError, RecursionError) as error:
            raise SchemaRefusedError(str(error)) from error
        is_error, messages = LLMatcher.validate_grammar_with_warnings(self._source, vocabulary.engine)
        if is_error or messages:
            raise SchemaRefusedError("; ".join(messages))
        self._fresh = LLMatcher(vocabulary.engine, self._source, log_level=0, limits=_LIMITS)
        try:
            self.matcher().forced()
        except GrammarStateError as error:
            raise SchemaRefusedError(str(error)) from error

    def matcher(self) -> GrammarMatcher:
        """At the beginning of the object."""
        return GrammarMatcher(self.vocabulary, self._fresh.deep_copy())


class GrammarMatcher:
    """A position within a grammar, of one thread; raises `GrammarStateError` where the engine only notes an error."""

    def __init__(self, vocabulary: GrammarVocabulary, engine: LLMatcher) -> None:
        self._vocabulary = vocabulary
        self._engine = engine
        self.end = vocabulary.tokens.end

    def copy(self) -> GrammarMatcher:
        """The same position, to try something; takes about 1 µs."""
        return GrammarMatcher(self._vocabulary, self._engine.deep_copy())

    def forced(self) -> list[int]:
        """What must come next: the only possible text, and the end mark behind the object; [] for a choice."""
        if self._engine.is_stopped():
            _raise_if_broken(self._engine)
            return [self.end]
        ids: list[int] = self._engine.compute_ff_tokens()
        _raise_if_broken(self._engine)
        if not ids:
            return []
        behind = self.copy()
        behind.advance(ids)
        return [*ids, self.end] if behind._engine.is_stopped() else ids

    def mask(self) -> Mask:
        """Which tokens may come next, (vocabulary,)."""
        bits = np.frombuffer(self._engine.compute_bitmask(), dtype=np.uint8)
        _raise_if_broken(self._engine)
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary.tokens.size].astype(np.bool_)

    def legal(self, ids: Sequence[int]) -> int:
        """How many of `ids` may come next, one after the other."""
        known = next((at for at, each in enumerate(ids) if not 0 <= each < self._vocabulary.tokens.size), len(ids))
        return int(self._engine.validate_tokens(list(ids[:known])))

    def advance(self, ids: Sequence[int]) -> None:
        """Append `ids`. Raises `GrammarStateError` where they are not legal."""
        visible = [each for each in ids if each != self.end]
        if visible and not self._engine.consume_tokens(visible):
            raise GrammarStateError(self._engine.get_error() or "an illegal token")
        _raise_if_broken(self._engine)

    def ends_with(self, ids: Sequence[int]) -> bool:
        """Whether `ids` lead from here to the end of the object, beginning with what is forced here."""
        forced = [each for each in self.forced() if each != self.end]
        if list(ids[: len(forced)]) != forced or self.legal(ids) < len(ids):
            return False
        there = self.copy()
        there.advance(ids)
        return there.forced() == [self.end]

    def closing(self, most: int) -> list[int] | None:
        """One legal way from here to the end of the object, its end mark left out; None where it takes over `most`.

        Not always the shortest: it closes what is open as soon as that is legal.
        """
        there = self.copy()
        path: list[int] = []
        while len(path) <= most:
            more = there.forced()
            if more and more[-1] == self.end:
                path += more[:-1]
                return path if len(path) <= most else None
            if not more:
                order = self._vocabulary.closing_order
                legal = there.mask()[order]
                if not legal.any():
                    return None
                more = [int(order[int(legal.argmax())])]
            there.advance(more)
            path += more
        return None


def _raise_if_broken(engine: LLMatcher) -> None:
    if engine.is_error():
        raise GrammarStateError(engine.get_error())


class JsonConstraint:
    """Lets a model generate only what the grammar allows, and closes the object before `most` tokens are over.

    After each choice there is a known way to the end within what is left; a choice that leaves none is not made, and
    the known way is gone instead. So the object is whole, whatever the model wants. Tokens without an alternative
    are not chosen at all.
    """

    def __init__(self, grammar: JsonGrammar, most: int) -> None:
        """Raises `SchemaRefusedError` where no object of the schema is found that takes at most `most` tokens."""
        self._matcher = grammar.matcher()
        self._left = most
        try:
            way = self._matcher.closing(most)
        except GrammarStateError as error:
            raise SchemaRefusedError(str(error)) from error
        if way is None:
            raise SchemaRefusedError(f"its objects take more than {most} tokens")
        self._way = way

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model wants; passed to `accept` like all others."""
        return self._matcher.forced()

    def choose(self, row: Row, sampling: Sampling, position: int) -> int:
        """The model's legal choice by its logits; where that leads nowhere in time, the next token of the known way."""
        token = choose(row, sampling, position, self._matcher.mask())
        there = self._matcher.copy()
        there.advance([token])
        known = self._way[1:] if self._way[0] == token else self._way
        way = known if len(known) < self._left and there.ends_with(known) else there.closing(self._left - 1)
        if way is None:
            return self._way[0]
        self._way = [token, *way]
        return token

    def accept(self, ids: Sequence[int]) -> None:
        """`ids` were appended: what was chosen last, or all that was forced; else it raises `GrammarStateError`."""
        visible = [each for each in ids if each != self._matcher.end]
        if self._way[: len(visible)] != visible:
            raise GrammarStateError("a token was appended that was neither chosen nor forced")
        self._matcher.advance(visible)
        self._left -= len(visible)
        del self._way[: len(visible)]
