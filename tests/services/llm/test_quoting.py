"""A model that may only quote: it says a passage to the letter behind its mark, or that none answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.decoding.speculative import DecodingOptions, Generated, speculate
from tidegate.services.llm.drafters.base import Drafter
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.answers import parse_answer
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))
PASSAGES = st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=9)
pytestmark = pytest.mark.anyio


def output_under(quoting: QuotingConstraint, seed: int) -> list[int]:
    """What a model of random logits says."""
    chance = np.random.default_rng(seed)
    output = quoting.forced()
    quoting.accept(output)
    while TOKENS.END not in output:
        token = quoting.choose(chance.standard_normal(TOKENS.size).astype(np.float32), Sampling(), len(output))
        quoting.accept((token,))
        forced = quoting.forced()
        quoting.accept(forced)
        output += [token, *forced]
    return output


def is_quotation(output: Sequence[int], passages: Sequence[str]) -> bool:
    quotes = {n: [TOKENS.FIRST_MARK + n, *TOKENS.encode(f" {text}")] for n, text in enumerate(passages)}
    whole = [[TOKENS.NONE], *quotes.values()]
    space = TOKENS.encode(" ")
    whole += [[*one, *space, *two] for n, one in quotes.items() for m, two in quotes.items() if n != m]
    return list(output) in [[*ids, TOKENS.END] for ids in whole]


@settings(max_examples=200)
@given(PASSAGES, st.integers(0, 2**32))
def test_whatever_the_model_wants_it_quotes_or_says_that_nothing_answers(passages: list[str], seed: int) -> None:
    prompt = answer_prompt(TOKENS, "What is it?", passages, 2000)
    quoting = QuotingConstraint.of(TOKENS, prompt.ids)
    assert quoting is not None
    assert is_quotation(output_under(quoting, seed), passages[: prompt.passages])


def test_a_prompt_without_passages_has_no_such_rule_and_what_is_no_quotation_is_not_accepted() -> None:
    assert QuotingConstraint.of(TOKENS, answer_prompt(TOKENS, "What?", ()).ids) is None
    quoting = QuotingConstraint.of(TOKENS, answer_prompt(TOKENS, "What?", ("The fee is £5.",)).ids)
    assert quoting is not None
    with pytest.raises(ValueError, match="no part of a quotation"):
        quoting.accept((TOKENS.FIRST_MARK, TOKENS.END))


@pytest.mark.parametrize("draft", [(), (TOKENS.NONE, TOKENS.END), (TOKENS.FIRST_MARK + 2, 500, 501)])
async def test_the_target_that_is_told_to_quote_quotes_whatever_was_drafted(draft: tuple[int, ...]) -> None:
    passages = ["The lobby opens at 9:00.", "A banker's draft costs £12.", "Coins are not exchanged."]
    prompt = answer_prompt(TOKENS, "What does a banker's draft cost?", passages)
    target = EmbeddedTarget.load(Path(".models/lm/target"), quotes=True)
    try:
        plain = await target.generate(GenerationRequest(rid="a", prompt=prompt.ids))
        outcome = await target.generate(GenerationRequest(rid="b", prompt=prompt.ids, draft=draft))
    finally:
        await target.close()
    assert outcome.ids == plain.ids
    assert outcome.is_finished
    assert is_quotation([*outcome.ids, TOKENS.END], passages)
    reading = parse_answer(TOKENS, outcome.ids)
    assert reading.is_none or {sentence.text for sentence in reading.sentences} <= set(passages)
    assert outcome.speculation.steps < len(outcome.ids)


class Says:
    """Proposes one answer, whatever was said of it so far."""

    def __init__(self, start: int, answer: Sequence[int]) -> None:
        self._start, self._answer = start, answer

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        return list(self._answer[len(ids) - self._start :][:k])


def test_what_the_rule_of_quoting_forces_is_neither_drafted_nor_accepted() -> None:
    passages = ["The lobby opens at 9:00.", "A banker's draft costs £12.", "Coins are not exchanged."]
    prompt = answer_prompt(TOKENS, "What does a banker's draft cost?", passages).ids
    lm = CausalLM(Path(".models/lm/target"))

    def outcome(drafter: Drafter | None) -> Generated:
        return speculate(lm, prompt, drafter, DecodingOptions(constraint=QuotingConstraint.of(TOKENS, prompt)))

    alone = outcome(None)
    choices = alone.speculation.steps  # each step makes one choice, and what that forces is said with it
    assert 2 <= choices < len(alone.ids)
    assert (alone.speculation.drafted, alone.speculation.accepted) == (0, 0)
    assert (alone.speculation.chosen, alone.speculation.saved) == (choices, 0)
    answer = [*alone.ids, TOKENS.END]
    right = outcome(Says(len(prompt), answer))
    assert right.ids == alone.ids
    assert right.speculation.drafted == right.speculation.accepted == choices
    assert right.speculation.chosen == choices
    assert right.speculation.saved == choices - right.speculation.steps > 0
    wrong_mark = TOKENS.FIRST_MARK + (answer[0] - TOKENS.FIRST_MARK + 1) % len(passages)
    wrong = outcome(Says(len(prompt), [wrong_mark, *answer[1:]]))
    assert wrong.ids == alone.ids
    assert wrong.speculation.accepted == choices - 1
    assert wrong.speculation.chosen == choices
    assert wrong.speculation.drafted > wrong.speculation.accepted
