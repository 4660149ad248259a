"""Draft and verify: the target alone decides the answer, and a bad draft costs no more than is promised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.drafters.lm_drafter import LmDrafter
from tidegate.services.llm.errors import ContextOverflowError
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling, choose
from tidegate.services.llm.text.prompts import answer_prompt

QUICK = settings(deadline=None, max_examples=40)
MOST = 28
HEAT = [Sampling(), Sampling(seed=11, temperature=0.7), Sampling(seed=12, temperature=1.6, top_k=8)]


class Counted(CausalLM):
    """A model that counts what it reads."""

    positions = 0

    def run(self, kept: Any, past: int, ids: Sequence[int]) -> Any:
        self.positions += len(ids)
        return super().run(kept, past, ids)


class Script:
    """A drafter that says what it is told, whatever is asked of it."""

    def __init__(self, *drafts: Sequence[int]) -> None:
        self.drafts = list(drafts)

    def propose(self, _: Sequence[int], __: int) -> list[int]:
        return list(self.drafts.pop(0)) if self.drafts else []


class Liar:
    """Always proposes as much as it may, and always something else than the target will say."""

    def __init__(self, truth: Sequence[int], start: int, vocabulary: int) -> None:
        self.truth, self.start, self.vocabulary = truth, start, vocabulary

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        at = len(ids) - self.start
        return [
            (self.truth[at + step] + 1) % self.vocabulary if at + step < len(self.truth) else 5 for step in range(k)
        ]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Counted:
    return Counted(tiny_models.save(tmp_path_factory.mktemp("lm"), seed=4))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("other"), seed=5, layers=1))


@pytest.fixture(scope="module")
def prompt(lm: CausalLM) -> tuple[int, ...]:
    return answer_prompt(lm.own_tokens, "When?", tiny_models.PROSE[:1], 240).ids


@pytest.fixture(scope="module")
def outcome(lm: CausalLM, prompt: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What is said at each heat, chosen token by token from a fresh reading of everything before it."""
    found = []
    for sampling in HEAT:
        ids = list(prompt)
        while len(ids) < len(prompt) + MOST:
            token = choose(lm.open().forward(ids)[-1], sampling, len(ids))
            if token == lm.own_tokens.end:
                break
            ids.append(token)
        found.append(tuple(ids[len(prompt) :]))
    return found


DRAFTS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 30), st.integers(-5, 5000)), max_size=4)),
    max_size=30,
)


@given(heat=st.integers(0, 2), drafts=DRAFTS, k=st.integers(0, 16))
@QUICK
def test_no_draft_changes_the_answer(
    lm: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]], heat: int, drafts: Any, k: int
) -> None:
    """Each step proposes a run of the truth, from the right place, spoilt at any of its places by any number."""

    left = list(drafts)

    class Spoilt:
        def propose(self, ids: Sequence[int], _: int) -> list[int]:
            length, spoils = left.pop(0) if left else (0, [])
            output = list(outcome[heat][len(ids) - len(prompt) :][:length])
            for position, token in spoils:
                output[position : position + 1] = [token]
            return output

    received: list[int] = []
    generated = speculate(
        lm, prompt, Spoilt(), DecodingOptions(sampling=HEAT[heat], k=k, max_tokens=MOST), on_tokens=received.extend
    )
    assert generated.ids == outcome[heat]
    assert tuple(received) == generated.ids
    spent = generated.speculation
    assert spent.tokens == len(generated.ids) + generated.is_finished
    assert spent.accepted <= spent.drafted <= k * spent.steps
    assert spent.tokens <= spent.steps + spent.accepted
    assert spent.steps <= spent.tokens == spent.chosen
    assert spent.saved == spent.tokens - spent.steps <= spent.accepted


@pytest.mark.parametrize("heat", range(3))
@pytest.mark.parametrize("k", [0, 1, 2, 5, 16])
def test_real_drafters_change_nothing_either(
    lm: CausalLM, other: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]], heat: int, k: int
) -> None:
    sampling, options = HEAT[heat], DecodingOptions(HEAT[heat], k, MOST)
    for drafter in (None, LmDrafter(other, sampling), LmDrafter(lm, sampling), AlignedDrafter(prompt, lm.vocabulary)):
        assert speculate(lm, prompt, drafter, options).ids == outcome[heat]


def test_it_goes_on_from_anywhere_in_the_same_words(
    lm: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]]
) -> None:
    """Another machine that is given what was said so far says the rest: the noise is keyed by the absolute position."""
    for sampling, whole in zip(HEAT, outcome, strict=True):
        for at in (1, 7, 20):
            rest = speculate(
                lm, [*prompt, *whole[:at]], options=DecodingOptions(sampling=sampling, max_tokens=MOST - at)
            ).ids
            assert rest == whole[at:]


def test_a_drafter_that_is_the_target_is_always_right(lm: CausalLM, prompt: tuple[int, ...]) -> None:
    for sampling in HEAT:
        spent = speculate(
            lm, prompt, LmDrafter(lm, sampling), DecodingOptions(sampling=sampling, max_tokens=MOST)
        ).speculation
        assert spent.accepted == spent.drafted > 0
        assert spent.steps == 2


def test_without_drafts_every_token_takes_a_step(lm: CausalLM, prompt: tuple[int, ...]) -> None:
    spent = speculate(lm, prompt, options=DecodingOptions(max_tokens=MOST)).speculation
    assert (spent.steps, spent.tokens, spent.drafted, spent.accepted) == (MOST, MOST, 0, 0)


@pytest.mark.parametrize("k", [1, 4, 16])
def test_a_liar_costs_at_most_k_positions_a_token_and_no_step(
    lm: Counted, prompt: tuple[int, ...], outcome: list[tuple[int, ...]], k: int
) -> None:
    lm.positions = 0
    generated = speculate(
        lm, prompt, Liar(outcome[0], len(prompt), lm.vocabulary), DecodingOptions(k=k, max_tokens=MOST)
    )
    assert generated.ids == outcome[0]
    assert generated.speculation.accepted == 0
    assert generated.speculation.steps == MOST
    assert lm.positions <= len(prompt) + (k + 1) * MOST
    assert generated.speculation.drafted <= k + MOST, "after a step without agreement one is tried"


def test_one_that_lies_now_and_then_costs_no_more(
    lm: Counted, prompt: tuple[int, ...], outcome: list[tuple[int, ...]]
) -> None:
    class Trickster(Liar):
        """Right for as long as it takes to be asked for much, wrong then."""

        calls = 0

        def propose(self, ids: Sequence[int], k: int) -> list[int]:
            self.calls += 1
            at = len(ids) - self.start
            return list(self.truth[at : at + k]) if self.calls % 3 else super().propose(ids, k)

    lm.positions = 0
    generated = speculate(
        lm, prompt, Trickster(outcome[0], len(prompt), lm.vocabulary), DecodingOptions(max_tokens=MOST)
    )
    assert generated.ids == outcome[0]
    assert lm.positions <= len(prompt) + 17 * len(generated.ids)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_it_says_no_more_than_it_may(
    lm: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]], most: int
) -> None:
    for drafter in (None, Script(outcome[0]), Script(outcome[0][:1], outcome[0])):
        generated = speculate(lm, prompt, drafter, DecodingOptions(max_tokens=most))
        assert generated.ids == outcome[0][:most]
        assert not generated.is_finished


class TestTheEnd:
    @pytest.fixture(scope="class")
    @classmethod
    def short(cls, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
        """A model that ends when it is hot."""
        return CausalLM(tiny_models.save(tmp_path_factory.mktemp("short"), seed=6, chattiness=0.3))

    @pytest.fixture(scope="class")
    @classmethod
    def ended(cls, short: CausalLM, prompt: tuple[int, ...]) -> tuple[Sampling, tuple[int, ...]]:
        for seed in range(400):
            sampling = Sampling(seed, 3.0, 400)
            generated = speculate(short, prompt, options=DecodingOptions(sampling=sampling, max_tokens=40))
            if generated.is_finished and 3 < len(generated.ids) < 30:
                return sampling, generated.ids
        raise AssertionError("no seed ends")

    def test_the_end_comes_once_and_is_counted(
        self, short: CausalLM, prompt: tuple[int, ...], ended: tuple[Sampling, tuple[int, ...]]
    ) -> None:
        sampling, whole = ended
        end = short.tokens.end
        for draft in ((), whole, (*whole, end), (*whole, end, 50, 51), (*whole[:2], end), (end,)):
            generated = speculate(short, prompt, Script(draft), DecodingOptions(sampling=sampling, max_tokens=40))
            assert generated.ids == whole
            assert generated.is_finished
            assert generated.speculation.tokens == len(whole) + 1
            assert end not in generated.ids

    def test_a_drafted_end_is_accepted(
        self, short: CausalLM, prompt: tuple[int, ...], ended: tuple[Sampling, tuple[int, ...]]
    ) -> None:
        sampling, whole = ended
        draft = (*whole, short.tokens.end)[:16]
        spent = speculate(short, prompt, Script(draft), DecodingOptions(sampling=sampling, max_tokens=40)).speculation
        assert spent.accepted == len(draft)


def test_the_context_is_used_up_and_not_exceeded(lm: CausalLM) -> None:
    prompt = [30, 31, 32] * 105
    generated = speculate(lm, prompt, AlignedDrafter(prompt, lm.vocabulary), DecodingOptions(max_tokens=160))
    assert len(generated.ids) == tiny_models.CONTEXT - len(prompt)
    assert not generated.is_finished
    with pytest.raises(ContextOverflowError):
        speculate(lm, [30] * tiny_models.CONTEXT)


@pytest.mark.parametrize("prompt", [(), (1, 400), (1, -1)])
def test_a_prompt_that_makes_no_sense_is_refused(lm: CausalLM, prompt: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be|vocabulary"):
        speculate(lm, prompt)


@pytest.mark.parametrize("more", [{"k": 17}, {"k": -1}, {"max_tokens": 0}])
def test_what_makes_no_sense_is_refused(lm: CausalLM, more: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        speculate(lm, (1,), options=DecodingOptions(**more))  # type: ignore[arg-type]


def test_it_stops_between_steps(lm: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]]) -> None:
    received: list[int] = []
    generated = speculate(
        lm,
        prompt,
        options=DecodingOptions(max_tokens=MOST),
        on_tokens=received.extend,
        is_stopped=lambda: len(received) >= 5,
    )
    assert generated.ids == outcome[0][:5]
    assert not generated.is_finished


def test_each_choice_is_weighed(lm: CausalLM, prompt: tuple[int, ...], outcome: list[tuple[int, ...]]) -> None:
    weighed: list[tuple[int, int]] = []
    speculate(
        lm,
        prompt,
        Script(outcome[0][:9]),
        DecodingOptions(max_tokens=MOST, on_choice=lambda row, token: weighed.append((int(np.argmax(row)), token))),
    )
    assert [token for _, token in weighed] == list(outcome[0])
    assert all(best == token for best, token in weighed)


def test_a_path_is_all_that_is_needed(tmp_path: Path) -> None:
    first, second = (CausalLM(tiny_models.save(tmp_path / name)) for name in ("a", "b"))
    assert first.version == second.version
    assert (
        speculate(first, [1, 30], options=DecodingOptions(max_tokens=5)).ids
        == speculate(second, [1, 30], options=DecodingOptions(max_tokens=5)).ids
    )
