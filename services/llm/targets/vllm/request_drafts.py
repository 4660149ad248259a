"""The drafts that an engine's worker holds, one per request in flight, and what they cost and saved."""

from __future__ import annotations

from collections.abc import Sequence

from cachetools import LRUCache

from tidegate.services.llm.drafters.alignment import MOST_DRAFT_TOKENS, BudgetedAlignment

MAX_REQUESTS = 1024
MAX_PROMPT = 8192
"""Tokens of a prompt that are looked up in: the last ones."""


class RequestDrafts:
    """Alignments by the key of their request.

    A key is made for one request and is a secret of it (the front end mints it, it never comes from an asker), so two
    requests in flight with the very same prompt, of one tenant or of two, never see each other's drafts. At most
    `most` requests are held, each with `MOST_DRAFT_TOKENS` of draft and `MAX_PROMPT` of prompt, four bytes a token:
    beyond, the one longest held without a step loses what was held for it, which costs it speed and nothing else.
    """

    def __init__(self, most: int = MAX_REQUESTS) -> None:
        self._held: LRUCache[str, BudgetedAlignment] = LRUCache(most)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def add(
        self,
        key: str,
        draft: Sequence[int],
        answer: Sequence[int],
        prompt: Sequence[int] = (),
        *,
        quotes: bool = False,
        is_marked: bool = True,
    ) -> BudgetedAlignment:
        """The alignment of a request that has `answer` so far; without a prompt the draft alone is followed."""
        known = prompt[-MAX_PROMPT:]
        held = BudgetedAlignment(draft[:MOST_DRAFT_TOKENS], answer, known, quotes=quotes, is_marked=is_marked)
        held.steps = len(answer)  # until now it went a token a step
        self._held[key] = held
        return held

    def observe(self, key: str, new: Sequence[int], answer: Sequence[int]) -> BudgetedAlignment:
        """The alignment of a held request after a step that made `new`, `answer` in all."""
        held = self._held[key]
        held.observe(new)
        if held.length != len(answer):  # the engine began the request anew
            held.restart(answer)
        return held

    def settle(self, key: str) -> tuple[int, int, int]:
        """Forget the request: its steps, the tokens proposed and accepted in them; zeros where nothing was held."""
        held = self._held.pop(key, None)
        return (held.steps, held.drafted, held.accepted) if held is not None else (0, 0, 0)
