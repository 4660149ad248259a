"""Bugs that are planted into the product, each by putting something else in the place of one of its functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tidegate.brokers import worker
from tidegate.brokers.base import Broker, Delivery
from tidegate.brokers.memory import bus as memory_bus
from tidegate.brokers.stage import Handler, Retry, Stage
from tidegate.brokers.worker import NO_OBSERVER, WorkerObserver
from tidegate.schemas import Approved, Artefact, Drafted, Message, Partial, Verified, encode, replace, subjects
from tidegate.services.simulation import site_stages
from tidegate.services.stages import drafter
from tidegate.services.stages.policy.handler import route_of
from tidegate.services.stages.prefilter import handler as prefilter_handler
from tidegate.services.stages.prefilter import personal_redaction
from tidegate.services.stages.publisher import handler as publisher_handler

Plant = Callable[[pytest.MonkeyPatch], None]

settle, store = worker.settle, worker.store


class Acknowledged:
    """A delivery that was acknowledged already."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        return


def acknowledged_before_stored(patch: pytest.MonkeyPatch) -> None:
    async def acknowledge_first(
        stage: Stage, handle: Handler, delivery: Delivery, broker: Broker, observer: WorkerObserver = NO_OBSERVER
    ) -> None:
        await delivery.ack()
        await settle(stage, handle, Acknowledged(delivery), broker, observer)

    patch.setattr(worker, "settle", acknowledge_first)


def settled_twice(patch: pytest.MonkeyPatch) -> None:
    """What is retried is acknowledged, too."""

    class Retried(Acknowledged):
        async def ack(self) -> None:
            await self._delivery.ack()

        async def retry(self, after_s: float) -> None:
            await self._delivery.retry(after_s)
            await self._delivery.ack()

    async def settle_again(
        stage: Stage, handle: Handler, delivery: Delivery, broker: Broker, observer: WorkerObserver = NO_OBSERVER
    ) -> None:
        await settle(stage, handle, Retried(delivery), broker, observer)

    patch.setattr(worker, "settle", settle_again)


def id_of_the_attempt(patch: pytest.MonkeyPatch) -> None:
    async def store_anew(outputs: Iterable[Message], stage: Stage, delivery: Delivery, broker: Broker) -> None:
        headers = {"Tidegate-Cause": delivery.position}
        for number, output in enumerate(outputs):
            name = f"{delivery.id}.{stage.name}.{number}.{delivery.attempt}"
            await broker.publish(output, id=name, headers=headers)

    patch.setattr(worker, "store", store_anew)


def unconfirmed_passed_over(patch: pytest.MonkeyPatch) -> None:
    async def store_hopefully(outputs: Iterable[Message], stage: Stage, delivery: Delivery, broker: Broker) -> None:
        try:
            await store(outputs, stage, delivery, broker)
        except TimeoutError:
            return

    patch.setattr(worker, "store", store_hopefully)


def answers_without_expected_sequence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(subjects, "is_answered_once", lambda _: False)


def duplicates_stored(patch: pytest.MonkeyPatch) -> None:
    class Forgetful(set[Any]):
        def __contains__(self, _: object) -> bool:
            return False

    begin = memory_bus.MemoryBus.__init__

    def begin_forgetful(self: memory_bus.MemoryBus, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self._ids = Forgetful()

    patch.setattr(memory_bus.MemoryBus, "__init__", begin_forgetful)


def given_up_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Retry, "delay_s", lambda *_: None)


def policy_skipped(patch: pytest.MonkeyPatch) -> None:
    async def wave_through(answered: Drafted | Verified, _: object) -> list[Message]:
        route, answer = route_of(answered), answered.answer
        return [
            answered.followed_by(Approved, question=answered.question, plan=answered.plan, route=route, answer=answer)
        ]

    patch.setattr(site_stages, "judge", wave_through)


def shown_before_judged(patch: pytest.MonkeyPatch) -> None:
    async def show(bus: Any, partial: Partial) -> None:
        await bus.publish_core(subjects.partial(True, partial.tenant, partial.rid), encode(partial))

    patch.setattr(drafter, "publish_partial", show)


def personal_data_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(personal_redaction, "redact", lambda text, *_: (text, ()))


def refused_without_words(patch: pytest.MonkeyPatch) -> None:
    refuse = publisher_handler.publish_refusal
    patch.setattr(publisher_handler, "publish_refusal", lambda *given: replace(refuse(*given), text=""))


def lineage_of_nobody(patch: pytest.MonkeyPatch) -> None:
    """A receipt that does not name the policies."""

    async def publish_anonymously(*given: Any) -> list[Message]:
        return [without_policies(each) for each in await publisher_handler.publish(*given)]

    patch.setattr(site_stages, "publish", publish_anonymously)


def without_policies(made: Any) -> Any:
    kept: tuple[Artefact, ...] = tuple(part for part in made.receipt.lineage if part.kind != "policy")
    return replace(made, receipt=replace(made.receipt, lineage=kept))


def screened_slowly(patch: pytest.MonkeyPatch) -> None:
    """A stage that takes longer than any budget."""

    async def screen_slowly(*given: Any) -> list[Message]:
        await asyncio.sleep(9.0)
        return await prefilter_handler.screen(*given)

    patch.setattr(site_stages, "screen", screen_slowly)


def partials_not_judged(patch: pytest.MonkeyPatch) -> None:
    """An error of which nobody hears."""

    async def fail(*_: Any) -> Partial | None:
        raise KeyError("partial")

    patch.setattr(site_stages, "judge_partial", fail)


def late_without_reason(patch: pytest.MonkeyPatch) -> None:
    """A receipt that does not say what cost the time."""

    async def publish_silently(*given: Any) -> list[Message]:
        made: list[Any] = await publisher_handler.publish(*given)
        return [replace(each, receipt=replace(each.receipt, degradations=())) for each in made]

    patch.setattr(site_stages, "publish", publish_silently)
