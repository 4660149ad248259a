"""What the retriever decides: nothing but which tenant's index is asked, and for how many passages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from schemas import Artefact, Message, Passage, Retrieved, Routed

Search = Callable[[str, str, str, int], Awaitable[tuple[tuple[Passage, ...], Artefact | None]]]
"""From tenant, text, language and k to the passages, best first, and the index that they come from."""


async def retrieve(routed: Routed, *, search: Search) -> list[Message]:
    """The plan's k best passages of the tenant's own index; none when the plan wants none or the tenant is unknown."""
    question, plan = routed.question, routed.plan
    passages: tuple[Passage, ...] = ()
    index: Artefact | None = None
    if plan.k > 0:
        passages, index = await search(routed.tenant, question.text, question.language, plan.k)
    parts = (index,) if index is not None else ()
    return [routed.followed_by(Retrieved, *parts, question=question, plan=plan, passages=passages)]
