"""What the retriever decides: which tenant's index is searched, and for how many passages there is time.

Next: retriever/__init__.py, which plugs in the indices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate.schemas import Artefact, Degradation, Passage, Retrieved, Routed


@dataclass(frozen=True)
class RetrieverPorts:
    """What the retriever may call."""

    search: Callable[[str, str, str, int], Awaitable[tuple[tuple[Passage, ...], Artefact | None]]]
    """From tenant, text, language and k to the passages, best first, and the index that they come from."""
    required_degradation: Callable[[Routed], Degradation | None]
    """What has to be given up for want of time; None where there is enough, or where it was given up before."""


async def retrieve(routed: Routed, ports: RetrieverPorts) -> list[Retrieved]:
    """The plan's k best passages of the tenant's own index; none when the plan wants none or the tenant is unknown.

    Half as many (and at least one) where time is short; none where there is no time for any: the fact records either as
    a degradation. Nor is anything searched once an earlier stage found that there is no time to answer.
    """
    question, plan = routed.question, routed.plan
    passages: tuple[Passage, ...] = ()
    index: Artefact | None = None
    degradation = ports.required_degradation(routed) if plan.k > 0 else None
    made = () if degradation is None else (degradation,)
    is_too_late = any(given_up.level == "abstain" for given_up in (*routed.degradations, *made))
    if plan.k > 0 and not is_too_late:
        k = plan.k if degradation is None else max(1, plan.k // 2)
        passages, index = await ports.search(routed.tenant, question.text, question.language, k)
    parts = (index,) if index is not None else ()
    return [routed.followed_by(Retrieved, *parts, question=question, plan=plan, passages=passages, degradations=made)]
