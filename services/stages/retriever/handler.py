"""What the retriever decides: which tenant's index is asked, and for how many passages there is time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.schemas import Artefact, Concession, Passage, Retrieved, Routed

Search = Callable[[str, str, str, int], Awaitable[tuple[tuple[Passage, ...], Artefact | None]]]
"""From tenant, text, language and k to the passages, best first, and the index that they come from."""

ShortOf = Callable[[Routed], Concession | None]
"""What has to be given up for want of time; None where there is enough, or where it was given up before."""


async def retrieve(routed: Routed, *, search: Search, short_of: ShortOf) -> list[Retrieved]:
    """The plan's k best passages of the tenant's own index; none when the plan wants none or the tenant is unknown.

    Half as many (and at least one) where time is short; none where there is no time for any, which both stand in the
    fact as a concession. Nor is anything looked for once an earlier stage found that there is no time to answer.
    """
    question, plan = routed.question, routed.plan
    passages: tuple[Passage, ...] = ()
    index: Artefact | None = None
    conceded = short_of(routed) if plan.k > 0 else None
    made = () if conceded is None else (conceded,)
    k = affordable(plan.k, {concession.rung for concession in (*routed.concessions, *made)}, conceded)
    if k > 0:
        passages, index = await search(routed.tenant, question.text, question.language, k)
    parts = (index,) if index is not None else ()
    return [routed.followed_by(Retrieved, *parts, question=question, plan=plan, passages=passages, concessions=made)]


def affordable(k: int, given_up: set[str], conceded: Concession | None) -> int:
    """How many of k passages to look for; a plan that was made smaller already is not made smaller again."""
    if "abstain" in given_up:
        return 0
    return max(1, k // 2) if conceded is not None else k
