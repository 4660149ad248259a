"""Drafts from afar: the answer is what the target says alone, and costs one pass for each draft that is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tests.support.drafter_conformance import Case, DrafterActs
from tidegate.services.llm.constraints.quoting import QuotingConstraint, QuotingDrafter
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.decoding.verification import Verification
from tidegate.services.llm.drafters.lm_drafter import LmDrafter
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.text.prompts import answer_prompt

MOST = 28
QUICK = settings(deadline=None, max_examples=40)
PASSAGES = tuple(text.strip() for text in tiny_models.PROSE[:2])


class Counted(CausalLM):
    """A model that counts its passes."""

    passes = 0

    def run(self, kept: Any, past: int, ids: Sequence[int]) -> Any:
        self.passes += 1
        return super().run(kept, past, ids)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Counted:
    return Counted(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=4))


@pytest.fixture(scope="module")
def prompt(lm: CausalLM) -> tuple[int, ...]:
    return answer_prompt(lm.own_tokens, "When?", PASSAGES, 240).ids


def rule(lm: CausalLM, prompt: Sequence[int], *, quotes: bool) -> QuotingConstraint | None:
    return QuotingConstraint.of(lm.own_tokens, prompt) if quotes else None


def alone(lm: CausalLM, prompt: Sequence[int], *, quotes: bool = False, most: int = MOST) -> tuple[int, ...]:
    return speculate(
        lm, prompt, options=DecodingOptions(max_tokens=most, constraint=rule(lm, prompt, quotes=quotes))
    ).ids


def output_of(
    verification: Verification, propose: Callable[[tuple[int, ...]], Sequence[int]], known: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """What a site hears that proposes so; put together from the verdicts, as it does it."""
    output: tuple[int, ...] = ()
    while not verification.is_over:
        proposed = (*(known if not output else ()), *propose(output or known))
        verdict = verification.step(proposed, known=0 if output else len(known))
        output = (*output, *proposed[: verdict.accepted], *verdict.ids)
        assert output == verification.ids
    return output


DRAFTS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 300)), max_size=4)),
    max_size=30,
)


@given(drafts=DRAFTS, quotes=st.booleans(), most=st.sampled_from([1, 5, MOST]))
@QUICK
def test_no_draft_changes_what_is_said_and_each_costs_one_pass(
    lm: Counted, prompt: tuple[int, ...], drafts: Any, quotes: bool, most: int
) -> None:
    """Each draft is a run of the truth, from the right place, spoilt at any of its places by any token."""
    truth, left = alone(lm, prompt, quotes=quotes, most=most), list(drafts)
    sent: list[int] = []

    def propose(output: tuple[int, ...]) -> list[int]:
        length, spoils = left.pop(0) if left else (0, [])
        guess = [*truth, lm.own_tokens.end][len(output) :][:length]
        for position, token in spoils:
            guess[position : position + 1] = [token]
        sent.append(len(guess))
        return guess

    verification = Verification(
        lm, prompt, DecodingOptions(max_tokens=most, constraint=rule(lm, prompt, quotes=quotes))
    )
    before = lm.passes
    assert output_of(verification, propose) == truth
    outcome = verification.speculation
    assert outcome.steps == len(sent) == lm.passes - before
    assert 0 <= outcome.accepted <= outcome.drafted <= sum(sent)


def test_a_right_draft_spares_passes_and_a_wrong_one_costs_none(lm: Counted, prompt: tuple[int, ...]) -> None:
    truth = alone(lm, prompt)
    right, wrong = (
        Verification(lm, prompt, DecodingOptions(max_tokens=MOST)),
        Verification(lm, prompt, DecodingOptions(max_tokens=MOST)),
    )
    output_of(right, lambda output: truth[len(output) :][:7])
    output_of(wrong, lambda output: [(each + 1) % lm.vocabulary for each in truth[len(output) :][:7]])
    assert right.speculation.steps == -(-len(truth) // 8)
    assert right.speculation.accepted == right.speculation.drafted == len(truth) - right.speculation.steps
    assert wrong.speculation.steps == len(truth)
    assert wrong.speculation.accepted == 0


@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("spoilt", [False, True])
def test_what_was_said_before_is_verified_again_and_not_counted(
    lm: Counted, prompt: tuple[int, ...], quotes: bool, spoilt: bool
) -> None:
    truth = alone(lm, prompt, quotes=quotes)
    known = (*truth[:9], (truth[9] + 1) % lm.vocabulary, *truth[10:12]) if spoilt else truth[:12]
    verification = Verification(
        lm, prompt, DecodingOptions(max_tokens=MOST, constraint=rule(lm, prompt, quotes=quotes))
    )
    assert output_of(verification, lambda output: truth[len(output) :][:4], known) == truth
    outcome = verification.speculation
    assert outcome.drafted <= 4 * outcome.steps
    assert outcome.accepted <= len(truth) - (9 if spoilt else 12)


def test_what_has_no_alternative_is_neither_sent_nor_counted(lm: Counted, prompt: tuple[int, ...]) -> None:
    verification = Verification(lm, prompt, DecodingOptions(max_tokens=160, constraint=rule(lm, prompt, quotes=True)))
    output = output_of(verification, lambda _: ())
    assert output == alone(lm, prompt, quotes=True, most=160)
    assert verification.speculation.drafted == verification.speculation.accepted == 0
    assert verification.speculation.steps < len(output)


def test_what_has_no_alternative_is_not_counted_though_it_was_sent(lm: Counted, prompt: tuple[int, ...]) -> None:
    choices: list[int] = []
    constraint = rule(lm, prompt, quotes=True)
    truth = speculate(
        lm,
        prompt,
        options=DecodingOptions(
            max_tokens=160, constraint=constraint, on_choice=lambda _, token: choices.append(token)
        ),
    ).ids
    assert 0 < len(choices) < len(truth)
    verification = Verification(lm, prompt, DecodingOptions(max_tokens=160, constraint=rule(lm, prompt, quotes=True)))
    assert output_of(verification, lambda output: [*truth, lm.own_tokens.end][len(output) :]) == truth
    outcome = verification.speculation
    assert (outcome.steps, outcome.drafted, outcome.accepted) == (1, len(choices), len(choices))


class TestQuotingDrafter(DrafterActs):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, lm: CausalLM) -> Case:
        prompt = answer_prompt(lm.own_tokens, "When?", PASSAGES, 240).ids
        quoting = QuotingConstraint.of(lm.own_tokens, prompt)
        assert quoting is not None
        answer = (lm.own_tokens.FIRST_MARK, *lm.own_tokens.encode(f" {PASSAGES[0]}"), lm.own_tokens.end)
        return Case(lambda: QuotingDrafter(quoting, len(prompt), [LmDrafter(lm)]), prompt, answer, lm.vocabulary)

    def test_behind_a_mark_it_says_the_passage_without_asking_anybody(self, case: Case, lm: CausalLM) -> None:
        quoting = QuotingConstraint.of(lm.own_tokens, case.prompt)
        assert quoting is not None
        drafter = QuotingDrafter(quoting, len(case.prompt), [])
        assert tuple(drafter.propose([*case.prompt, case.answer[0]], 99)) == case.answer[1:-1]
        assert drafter.propose(case.prompt, 99) == []

    def test_where_the_answer_is_no_quotation_it_has_no_idea(self, case: Case) -> None:
        assert case.make().propose([*case.prompt, case.answer[0], case.answer[3]], 9) == []

    def test_of_several_it_takes_the_first_idea_that_is_a_quotation(self, case: Case, lm: CausalLM) -> None:
        class Says:
            def __init__(self, token: int) -> None:
                self.token = token

            def propose(self, _: Sequence[int], __: int) -> list[int]:
                return [self.token]

        quoting = QuotingConstraint.of(lm.own_tokens, case.prompt)
        assert quoting is not None
        drafter = QuotingDrafter(
            quoting, len(case.prompt), [Says(lm.own_tokens.END), Says(lm.own_tokens.FIRST_MARK + 1)]
        )
        assert drafter.propose(case.prompt, 1) == [lm.own_tokens.FIRST_MARK + 1]
