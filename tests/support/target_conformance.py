"""What every target model promises, whoever runs it.

Subclass `TargetActs` in a test module with `pytestmark = pytest.mark.anyio`, and give it three fixtures: `target`
(opened, closed afterwards; may be shared by a module), `prompt` (token ids that make it say at least eight tokens with
`MAX_TOKENS`) and `other_prompt` (one that makes it say something else). `ClosingActs` wants a `target` of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from typing import ClassVar

import pytest

from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.errors import TargetClosedError
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, Target


class TargetActs:
    """Greedy output is the target's alone; drafts change only the number of steps."""

    MAX_TOKENS: ClassVar[int] = 24
    CONTEXT: ClassVar[int] = 1024
    """More tokens than this are refused."""
    IS_INVARIANT_WHEN_HOT: ClassVar[bool] = True
    """Whether the draft leaves the output alone at any temperature too (sample-and-compare)."""

    async def generated_by(
        self,
        target: Target,
        prompt: Sequence[int],
        rid: str = "r",
        on_tokens: OnTokens | None = None,
        **more: object,
    ) -> Generated:
        options: dict[str, object] = {"max_tokens": self.MAX_TOKENS, **more}
        return await target.generate(GenerationRequest(rid=rid, prompt=prompt, **options), on_tokens)  # type: ignore[arg-type]

    async def test_it_says_who_it_is(self, target: Target) -> None:
        assert target.artefact.kind == "model"
        assert target.artefact.id
        assert target.artefact.version
        assert len(target.tokenizer.digest) == 12
        int(target.tokenizer.digest, 16)

    async def test_the_same_prompt_is_answered_in_the_same_words(
        self, target: Target, prompt: Sequence[int], other_prompt: Sequence[int]
    ) -> None:
        first = await self.generated_by(target, prompt)
        assert len(first.ids) >= 8, "the fixture's prompt must make it say something"
        assert (await self.generated_by(target, prompt)).ids == first.ids
        assert (await self.generated_by(target, other_prompt)).ids != first.ids

    async def test_the_answer_is_neither_the_prompt_nor_the_end_mark(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        generated = await self.generated_by(target, prompt)
        assert target.tokenizer.end not in generated.ids
        assert all(0 <= each < target.tokenizer.size for each in generated.ids)
        assert generated.is_finished or len(generated.ids) == self.MAX_TOKENS

    @pytest.mark.parametrize("most", [1, 2, 7])
    async def test_it_says_no_more_than_it_may_and_that_much_of_the_same(
        self, target: Target, prompt: Sequence[int], most: int
    ) -> None:
        whole = await self.generated_by(target, prompt)
        for draft in ((), whole.ids):
            generated = await self.generated_by(target, prompt, max_tokens=most, draft=draft)
            assert generated.ids == whole.ids[:most]
            assert not generated.is_finished

    async def test_no_draft_changes_a_word(self, target: Target, prompt: Sequence[int]) -> None:
        whole = (await self.generated_by(target, prompt)).ids
        size, end = target.tokenizer.size, target.tokenizer.end
        dice = random.Random(7)
        drafts: dict[str, tuple[int, ...]] = {
            "right": whole,
            "truncated": whole[:5],
            "wrong at the first": ((whole[0] + 1) % size, *whole[1:]),
            "wrong in the middle": (*whole[:4], (whole[4] + 1) % size, *whole[5:]),
            "a token lost": (*whole[:3], *whole[4:]),
            "a token doubled": (*whole[:3], *whole[2:]),
            "noise": tuple(dice.randrange(size) for _ in range(40)),
            "of another vocabulary": (*whole[:2], size, size + 70_000, -1, *whole[2:]),
            "longer than it may say": whole * 8,
            "ended early": (*whole[:3], end, *whole[3:]),
            "ended at once": (end,),
            "the prompt itself": tuple(prompt[:200]),
        }
        for name, draft in drafts.items():
            generated = await self.generated_by(target, prompt, draft=draft)
            assert generated.ids == whole, name
            count = generated.speculation
            assert count.steps + count.accepted >= count.tokens, name
            assert count.tokens == len(generated.ids) + generated.is_finished, name
            assert 0 <= count.accepted <= count.drafted, name

    async def test_a_right_draft_saves_steps_and_a_wrong_one_costs_none(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        alone = await self.generated_by(target, prompt)
        helped = await self.generated_by(target, prompt, draft=alone.ids)
        misled = await self.generated_by(
            target, prompt, draft=tuple((each + 1) % target.tokenizer.size for each in alone.ids)
        )
        assert helped.speculation.steps <= alone.speculation.steps // 2 + 1
        assert helped.speculation.steps < len(alone.ids)
        assert helped.speculation.accepted >= len(alone.ids) // 2
        assert misled.speculation.steps <= alone.speculation.tokens
        assert alone.speculation.steps <= alone.speculation.tokens

    async def test_what_is_said_on_the_way_is_what_is_said_in_the_end(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        whole = (await self.generated_by(target, prompt)).ids
        for draft in ((), whole[:6]):
            received: list[tuple[int, ...]] = []
            threads: set[int] = set()

            def receive(
                ids: Sequence[int], received: list[tuple[int, ...]] = received, threads: set[int] = threads
            ) -> None:
                received.append(tuple(ids))
                threads.add(threading.get_ident())

            generated = await self.generated_by(target, prompt, draft=draft, on_tokens=receive)
            assert tuple(each for step in received for each in step) == generated.ids == whole
            assert all(received), "nothing new is nothing to say"
            assert threads == {threading.get_ident()}
            if draft:
                assert max(map(len, received)) > 1
            else:
                assert len(received) > 1

    async def test_requests_side_by_side_do_not_touch(
        self, target: Target, prompt: Sequence[int], other_prompt: Sequence[int]
    ) -> None:
        first = await self.generated_by(target, prompt)
        second = await self.generated_by(target, other_prompt)
        asked = [
            self.generated_by(target, each, rid=f"r{number}", draft=draft)
            for number, (each, draft) in enumerate(
                [(prompt, ()), (other_prompt, first.ids), (prompt, second.ids), (other_prompt, ()), (prompt, first.ids)]
            )
        ]
        generated = await asyncio.gather(*asked)
        assert [each.ids for each in generated] == [first.ids, second.ids, first.ids, second.ids, first.ids]

    async def test_a_seed_is_a_promise(self, target: Target, prompt: Sequence[int]) -> None:
        hot = [await self.generated_by(target, prompt, temperature=1.5, seed=seed) for seed in (1, 1, 2, 3)]
        assert hot[0].ids == hot[1].ids
        assert len({each.ids for each in hot}) > 1
        if self.IS_INVARIANT_WHEN_HOT:
            for draft in (hot[0].ids, hot[2].ids, tuple(reversed(hot[0].ids))):
                assert (await self.generated_by(target, prompt, temperature=1.5, seed=1, draft=draft)).ids == hot[0].ids

    async def test_one_that_is_given_up_leaves_the_others_alone(self, target: Target, prompt: Sequence[int]) -> None:
        whole = (await self.generated_by(target, prompt)).ids
        begun = asyncio.Event()
        task = asyncio.ensure_future(self.generated_by(target, prompt, rid="gone", on_tokens=lambda _: begun.set()))
        beside = asyncio.ensure_future(self.generated_by(target, prompt, rid="beside"))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await beside).ids == whole
        assert (await self.generated_by(target, prompt, rid="gone")).ids == whole

    async def test_its_state_says_how_long_a_step_takes_and_who_waits(
        self, target: Target, prompt: Sequence[int]
    ) -> None:
        await self.generated_by(target, prompt)
        assert target.state().step_ms > 0
        assert target.state().queue == 0

    async def test_a_prompt_that_does_not_fit_is_refused(self, target: Target, prompt: Sequence[int]) -> None:
        whole = (await self.generated_by(target, prompt)).ids
        with pytest.raises(ValueError, match="context"):
            await self.generated_by(target, [*prompt] * (self.CONTEXT // len(prompt) + 1))
        assert (await self.generated_by(target, prompt)).ids == whole


class ClosingActs:
    """What ends, ends; its `target` fixture is one that nobody else uses."""

    async def test_a_closed_target_says_so(self, target: Target, prompt: Sequence[int]) -> None:
        assert (await target.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=2))).ids
        await target.close()
        await target.close()
        with pytest.raises(TargetClosedError):
            await target.generate(GenerationRequest(rid="r", prompt=prompt, max_tokens=2))

    async def test_closing_ends_what_runs(self, target: Target, prompt: Sequence[int]) -> None:
        begun = asyncio.Event()
        running = asyncio.ensure_future(
            target.generate(
                GenerationRequest(rid="r", prompt=prompt, max_tokens=200, temperature=3.0), lambda _: begun.set()
            )
        )
        await begun.wait()
        await target.close()
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(outcome, (TargetClosedError, Generated)), outcome
