"""Each drafter passes the same acts, and is good at what it is for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import tiny_models
from tests.support.drafter_conformance import Case, DrafterActs
from tidegate.services.llm.constraints.json_grammar import GrammarDrafter, JsonGrammar, Vocabulary
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.decoding.sampling import Sampling
from tidegate.services.llm.decoding.speculative import speculate
from tidegate.services.llm.drafters.drafters import Chained, LmDrafter, Shipped
from tidegate.services.llm.drafters.prompt_lookup import Lookup, PastAnswers
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["coin roll", "lost card"]}, "count": {"type": "integer"}},
    "required": ["kind", "count"],
}


@pytest.fixture(scope="module")
def tokens() -> TokenText:
    return TokenText(tiny_models.tokenizer_json())


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("draft"), seed=3))


def asked(tokens: TokenText) -> tuple[int, ...]:
    return answer_prompt(tokens, "When?", tiny_models.PROSE[:2], 240).ids


def cited(tokens: TokenText) -> tuple[int, ...]:
    """The first passage said as an answer, behind its mark."""
    return (TokenText.FIRST_MARK, *tokens.encode(" " + tiny_models.PROSE[0].strip()))


def anchors() -> Sequence[int]:
    return range(TokenText.FIRST_MARK, TokenText.FIRST_MARK + 9)


class TestLm(DrafterActs):
    @pytest.fixture(scope="class", params=[0.0, 0.8], ids=["cold", "hot"])
    @classmethod
    def case(cls, lm: CausalLM, request: pytest.FixtureRequest) -> Case:
        sampling = Sampling(seed=5, temperature=request.param)
        prompt = asked(lm.tokens)
        answer = speculate(lm, prompt, sampling=sampling, max_tokens=24).ids
        return Case(lambda: LmDrafter(lm, sampling), prompt, answer, lm.vocabulary)

    def test_it_says_what_its_model_would_say(self, case: Case) -> None:
        assert tuple(case.make().propose(case.prompt, 16)) == case.answer[:16]

    def test_it_stops_where_it_is_not_sure(self, lm: CausalLM) -> None:
        prompt = asked(lm.tokens)
        assert LmDrafter(lm, least=0.999999).propose(prompt, 16) == []
        assert len(LmDrafter(lm, least=1e-9).propose(prompt, 16)) == 16

    def test_beyond_its_context_it_has_no_idea(self, lm: CausalLM) -> None:
        full = [20] * (tiny_models.CONTEXT - 3)
        assert len(LmDrafter(lm).propose(full, 16)) == 4
        assert LmDrafter(lm).propose([20] * tiny_models.CONTEXT, 16) == []


class TestLookup(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tokens: TokenText) -> Case:
        return Case(lambda: Lookup(tokens.size, anchors=anchors()), asked(tokens), cited(tokens), tokens.size)

    def test_behind_a_mark_it_knows_how_the_passage_begins(self, case: Case) -> None:
        said = case.make().propose([*case.prompt, case.answer[0]], 8)
        assert tuple(said) == case.answer[1:9]

    def test_after_an_error_it_finds_its_place_again(self, case: Case, tokens: TokenText) -> None:
        drafter = case.make()
        strange = tokens.encode("?")
        ids = [*case.prompt, *case.answer[:4], *strange, *case.answer[6:8]]
        assert tuple(drafter.propose(ids, 5)) == case.answer[8:13]

    def test_the_longest_agreement_goes_on(self, tokens: TokenText) -> None:
        a, b, c, x, y, z = range(100, 106)
        prompt = [a, b, c, x, 200, b, c, y, 201, c, z]
        assert Lookup(tokens.size).propose([*prompt, 202, a, b, c], 1) == [x]
        assert Lookup(tokens.size).propose([*prompt, 202, 203, b, c], 1) == [x], "equals: the earliest"
        assert Lookup(tokens.size).propose([*prompt, 202, 203, 204, c], 1) == [], "one token is not enough"

    def test_what_was_taken_back_is_forgotten(self, tokens: TokenText) -> None:
        drafter = Lookup(tokens.size)
        drafter.propose([100, 101, 102, 103], 1)
        assert drafter.propose([100, 99, 102, 103, 98, 101, 102], 1) == [], "101 102 was said and taken back"


class TestPastAnswers(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tokens: TokenText) -> Case:
        past = PastAnswers()
        answer = tuple(tokens.encode(" A card that was lost is blocked by phone, at any hour."))
        past.add(answer)
        past.add(tokens.encode("Die Filiale"))
        return Case(lambda: Lookup(tokens.size, past), asked(tokens), answer, tokens.size)

    def test_the_oldest_are_forgotten_first(self) -> None:
        past = PastAnswers(most_tokens=30)
        for first in range(100, 200, 10):
            past.add(range(first, first + 10))
            assert past.tokens <= 30
        assert past.after([180, 181])[1] == tuple(range(180, 190))
        assert past.after([150, 151]) == (0, (), 0)
        past.add(range(170, 180))
        past.add(range(300, 310))
        assert past.after([170, 171])[0] == 2, "what was said again is not old"
        assert past.after([180, 181])[0] == 0

    def test_one_too_long_is_not_remembered(self) -> None:
        past = PastAnswers(most_tokens=30)
        past.add(range(31))
        past.add([5])
        assert past.tokens == 0

    def test_an_answer_of_another_vocabulary_proposes_nothing(self, tokens: TokenText) -> None:
        past = PastAnswers()
        past.add([30, 31, 32, tokens.size, 33])
        assert Lookup(tokens.size, past).propose([30, 31], 8) == [32]


class TestShipped(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tokens: TokenText) -> Case:
        prompt, answer = asked(tokens), cited(tokens)
        return Case(lambda: Shipped(len(prompt), answer, tokens.size), prompt, answer, tokens.size)

    def test_it_finds_its_place_again(self, case: Case) -> None:
        answer = case.answer
        for said in ([*answer[:3], 399, *answer[4:7]], [*answer[:3], *answer[5:7]], [399, 398, *answer[:7]]):
            assert tuple(case.make().propose([*case.prompt, *said], 4)) == answer[7:11]

    def test_among_equal_places_the_nearest_goes_on(self, tokens: TokenText) -> None:
        draft = [100, 101, 50, 60, 100, 101, 51, 61, 100, 101, 52]
        assert Shipped(1, draft, tokens.size).propose([1, 99, 98, 97, 96, 100, 101], 1) == [51]

    def test_a_draft_from_another_vocabulary_is_cut(self, tokens: TokenText) -> None:
        for foreign in (tokens.size, -1, 10**9):
            assert Shipped(1, [30, 31, foreign, 32], tokens.size).propose([1], 8) == [30, 31]


class TestGrammar(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tokens: TokenText) -> Case:
        grammar = JsonGrammar(Vocabulary(tokens), SCHEMA)
        prompt = asked(tokens)
        answer = grammar.matcher().closing(200)
        assert answer is not None
        return Case(lambda: GrammarDrafter(grammar, len(prompt)), prompt, tuple(answer), tokens.size)

    def test_what_it_proposes_is_legal_and_has_no_alternative(self, case: Case, tokens: TokenText) -> None:
        grammar = JsonGrammar(Vocabulary(tokens), SCHEMA)
        drafter = case.make()
        proposed = 0
        for at in range(len(case.answer)):
            said = [each for each in drafter.propose([*case.prompt, *case.answer[:at]], 16) if each != tokens.end]
            matcher = grammar.matcher()
            matcher.advance(case.answer[:at])
            text = tokens.bytes_of(said)
            for _ in range(len(said)):
                legal = [each for each in range(tokens.size) if matcher.mask()[each]]
                assert all(text.startswith(tokens.bytes_of([each])) for each in legal), "another text was possible"
                assert said[0] in legal
                matcher.advance(said[:1])
                text = text[len(tokens.bytes_of(said[:1])) :]
                said = said[1:]
                proposed += 1
        assert proposed > 10

    def test_behind_the_object_it_proposes_the_end(self, case: Case, tokens: TokenText) -> None:
        assert case.make().propose([*case.prompt, *case.answer], 4) == [tokens.end]
        assert json.loads(tokens.decode(case.answer))


class TestChained(DrafterActs):
    @pytest.fixture(scope="class", params=["lookup, lm", "grammar, lookup, lm", "lm, lookup", "nobody"])
    @classmethod
    def case(cls, lm: CausalLM, request: pytest.FixtureRequest) -> Case:
        prompt = asked(lm.tokens)
        grammar = JsonGrammar(Vocabulary(lm.tokens), SCHEMA)
        makers = {
            "lookup": lambda: Lookup(lm.vocabulary, anchors=anchors()),
            "lm": lambda: LmDrafter(lm),
            "grammar": lambda: GrammarDrafter(grammar, len(prompt)),
        }
        names = [name for name in request.param.split(", ") if name in makers]
        answer = cited(lm.tokens) if "lookup" in names else ()
        return Case(lambda: Chained([makers[name]() for name in names]), prompt, answer, lm.vocabulary)

    def test_it_does_have_ideas(self, case: Case) -> None:
        if case.answer:
            ideas = [case.make().propose([*case.prompt, *case.answer[:at]], 4) for at in range(len(case.answer))]
            assert all(len(idea) == 4 for idea in ideas[:-4]), "whom the first leaves alone the next one helps"
        else:
            assert case.make().propose(case.prompt, 4) == []

    def test_the_first_with_an_idea_is_heard(self, lm: CausalLM) -> None:
        prompt = asked(lm.tokens)
        shipped = Shipped(len(prompt), [50, 51], lm.vocabulary)
        own = LmDrafter(lm).propose([*prompt, 50, 51], 3)
        assert Chained([shipped, LmDrafter(lm)]).propose(prompt, 5) == [50, 51, *own]
        alone = LmDrafter(lm).propose(prompt, 5)
        assert Chained([LmDrafter(lm), shipped]).propose(prompt, 5) == alone

    def test_the_cheaper_one_takes_over_again(self, lm: CausalLM) -> None:
        prompt = asked(lm.tokens)
        first = LmDrafter(lm).propose(prompt, 1)
        shipped = Shipped(len(prompt) + 1, [50, 51, 52], lm.vocabulary)
        assert Chained([shipped, LmDrafter(lm)]).propose(prompt, 4) == [*first, 50, 51, 52]


def test_a_model_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make models"):
        CausalLM(tmp_path)
