"""Each drafter passes the same acts, and is good at what it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import tiny_models
from tests.support.drafter_conformance import Case, DrafterActs
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.drafters.base import Drafter
from tidegate.services.llm.drafters.chained import ChainedDrafter
from tidegate.services.llm.drafters.lm_drafter import LmDrafter
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText


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


class TestLm(DrafterActs):
    @pytest.fixture(scope="class", params=[0.0, 0.8], ids=["cold", "hot"])
    @classmethod
    def case(cls, lm: CausalLM, request: pytest.FixtureRequest) -> Case:
        sampling = Sampling(seed=5, temperature=request.param)
        prompt = asked(lm.own_tokens)
        answer = speculate(lm, prompt, options=DecodingOptions(sampling=sampling, max_tokens=24)).ids
        return Case(lambda: LmDrafter(lm, sampling), prompt, answer, lm.vocabulary)

    def test_it_says_what_its_model_would_say(self, case: Case) -> None:
        assert tuple(case.make().propose(case.prompt, 16)) == case.answer[:16]

    def test_beyond_its_context_it_has_no_idea(self, lm: CausalLM) -> None:
        full = [20] * (tiny_models.CONTEXT - 3)
        assert len(LmDrafter(lm).propose(full, 16)) == 4
        assert LmDrafter(lm).propose([20] * tiny_models.CONTEXT, 16) == []


class TestLookup(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tokens: TokenText) -> Case:
        prompt = asked(tokens)
        return Case(lambda: AlignedDrafter(prompt, tokens.size), prompt, cited(tokens), tokens.size)

    def test_behind_a_mark_it_knows_how_the_passage_begins(self, case: Case) -> None:
        proposed = case.make().propose([*case.prompt, case.answer[0]], 8)
        assert tuple(proposed) == case.answer[1:9]

    def test_after_an_error_it_realigns(self, case: Case, tokens: TokenText) -> None:
        drafter = case.make()
        strange = tokens.encode("?")
        ids = [*case.prompt, *case.answer[:4], *strange, *case.answer[6:8]]
        assert tuple(drafter.propose(ids, 5)) == case.answer[8:13]

    def test_the_longest_agreement_goes_on(self, tokens: TokenText) -> None:
        a, b, c, x, y, z = range(100, 106)
        prompt = [a, b, c, x, 200, b, c, y, 201, c, z]
        assert AlignedDrafter(prompt, tokens.size).propose([*prompt, 202, a, b, c], 1) == [x]
        assert AlignedDrafter(prompt, tokens.size).propose([*prompt, 202, 203, b, c], 1) == [x], "equals: the nearest"
        assert AlignedDrafter(prompt, tokens.size).propose([*prompt, 202, 203, 204, c], 1) == [], "one is not enough"

    def test_what_was_taken_back_is_forgotten(self, tokens: TokenText) -> None:
        drafter = AlignedDrafter([100], tokens.size)
        drafter.propose([100, 101, 102, 103], 1)
        assert drafter.propose([100, 99, 102, 103, 98, 101, 102], 1) == [], "101 102 was generated and taken back"

    def test_what_it_was_shown_of_another_vocabulary_it_does_not_propose(self, tokens: TokenText) -> None:
        answer = [60, 61, tokens.size, 62, 60, 61]
        assert AlignedDrafter([1], tokens.size).propose([1, *answer], 8) == []
        assert AlignedDrafter([1], tokens.size + 1).propose([1, *answer], 2) == [tokens.size, 62]

    def test_of_another_prompt_it_has_no_idea(self, case: Case) -> None:
        drafter = case.make()
        assert drafter.propose([*case.prompt[1:], *case.answer[:4]], 8) == []
        assert drafter.propose([*case.prompt, *case.answer[:4]], 4) == list(case.answer[4:8])


class TestShipped(DrafterActs):
    @pytest.fixture(scope="class", params=[False, True], ids=["alone", "before the prompt"])
    @classmethod
    def case(cls, tokens: TokenText, request: pytest.FixtureRequest) -> Case:
        prompt, answer = asked(tokens), cited(tokens)

        def make() -> AlignedDrafter:
            return AlignedDrafter(prompt, tokens.size, answer, lookup=request.param)

        return Case(make, prompt, answer, tokens.size)

    def test_it_realigns(self, case: Case) -> None:
        answer = case.answer
        for other in ([*answer[:3], 399, *answer[4:7]], [*answer[:3], *answer[5:7]], [399, 398, *answer[:7]]):
            assert tuple(case.make().propose([*case.prompt, *other], 4)) == answer[7:11]

    def test_among_equals_the_nearest_goes_on(self, tokens: TokenText) -> None:
        draft = [100, 101, 50, 60, 100, 101, 51, 61, 100, 101, 52]
        assert AlignedDrafter([1], tokens.size, draft).propose([1, 99, 98, 97, 96, 100, 101], 1) == [51]

    def test_a_draft_from_another_vocabulary_is_cut(self, tokens: TokenText) -> None:
        for foreign in (tokens.size, -1, 10**9):
            assert AlignedDrafter([1], tokens.size, [30, 31, foreign, 32]).propose([1], 8) == [30, 31]


class TestChained(DrafterActs):
    @pytest.fixture(scope="class", params=["lookup, lm", "lm, lookup", "nobody"])
    @classmethod
    def case(cls, lm: CausalLM, request: pytest.FixtureRequest) -> Case:
        prompt = asked(lm.own_tokens)
        makers: dict[str, Callable[[], Drafter]] = {
            "lookup": lambda: AlignedDrafter(prompt, lm.vocabulary),
            "lm": lambda: LmDrafter(lm),
        }
        names = [name for name in request.param.split(", ") if name in makers]
        answer = cited(lm.own_tokens) if "lookup" in names else ()
        return Case(lambda: ChainedDrafter([makers[name]() for name in names]), prompt, answer, lm.vocabulary)

    def test_it_does_have_ideas(self, case: Case) -> None:
        if case.answer:
            ideas = [case.make().propose([*case.prompt, *case.answer[:at]], 4) for at in range(len(case.answer))]
            assert all(len(idea) == 4 for idea in ideas[:-4]), "whom the first leaves alone the next one helps"
        else:
            assert case.make().propose(case.prompt, 4) == []

    def test_the_first_with_an_idea_is_heard(self, lm: CausalLM) -> None:
        prompt = asked(lm.own_tokens)
        shipped = AlignedDrafter(prompt, lm.vocabulary, [50, 51], lookup=False)
        own = LmDrafter(lm).propose([*prompt, 50, 51], 3)
        assert ChainedDrafter([shipped, LmDrafter(lm)]).propose(prompt, 5) == [50, 51, *own]
        alone = LmDrafter(lm).propose(prompt, 5)
        assert ChainedDrafter([LmDrafter(lm), shipped]).propose(prompt, 5) == alone

    def test_the_cheaper_one_takes_over_again(self, lm: CausalLM) -> None:
        prompt = asked(lm.own_tokens)
        first = LmDrafter(lm).propose(prompt, 1)
        shipped = AlignedDrafter([*prompt, *first], lm.vocabulary, [50, 51, 52], lookup=False)
        assert ChainedDrafter([shipped, LmDrafter(lm)]).propose(prompt, 4) == [*first, 50, 51, 52]


def test_a_model_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make models"):
        CausalLM(tmp_path)
