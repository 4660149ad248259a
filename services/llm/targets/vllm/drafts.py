"""The drafts that an engine's worker holds, one per request in flight, and what they cost and saved."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from tidegate.services.llm.targets.vllm.draft_alignment import Alignment

MAX_REQUESTS = 1024
MAX_IDS = 512
"""What `schemas.Draft` may hold; longer ones are cut."""
MAX_PROMPT = 8192
"""Tokens of a prompt that are looked up in: the last ones."""


class Counts(msgspec.Struct, frozen=True):
    """Of one request or of all: forward passes, and the tokens proposed and accepted in them."""

    steps: int = 0
    drafted: int = 0
    accepted: int = 0


class Drafts:
    """Alignments by the key of their request.

    A key is made for one request and is a secret of it (the front end mints it, it never comes from an asker), so two
    requests in flight with the very same prompt, of one tenant or of two, never see each other's drafts. At most
    `most` requests are held, each with `MAX_IDS` tokens of draft and `MAX_PROMPT` of prompt, four bytes each: beyond,
    the one longest held without a step loses what was held for it, which costs it speed and nothing else.
    """

    def __init__(self, most: int = MAX_REQUESTS) -> None:
        self._most = most
        self._followed: OrderedDict[str, Alignment] = OrderedDict()
        self._early: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self.total = Counts()

    def __len__(self) -> int:
        return len(self._followed) + len(self._early)

    def __contains__(self, key: str) -> bool:
        return key in self._followed or key in self._early

    def put(self, key: str, draft: Sequence[int]) -> None:
        """A draft that came behind its request, in place of the one it may have; it takes effect at the next step."""
        self._early[key] = tuple(draft[:MAX_IDS])
        self._early.move_to_end(key)
        self._bound()

    def follows(self, key: str) -> bool:
        """Whether the request was heard of: then what came with it is known."""
        return key in self._followed

    def heard(
        self,
        key: str,
        draft: Sequence[int],
        new: Sequence[int],
        said: Sequence[int],
        prompt: Sequence[int] = (),
        *,
        quotes: bool = False,
    ) -> Alignment | None:
        """The alignment of a request that said `new`, `said` in all; None while there is nothing to follow for it.

        `draft`, `prompt` and `quotes` are what came with the request: they are read when it is first heard of. Without
        a prompt the draft alone is followed.
        """
        followed = self._followed.get(key)
        late = self._early.pop(key, None)
        if followed is None:
            guess = late or tuple(draft[:MAX_IDS])
            if not guess and not prompt:
                return None
            followed = self._followed[key] = Alignment(guess, said, prompt[-MAX_PROMPT:], quotes=quotes)
            followed.steps = len(said)  # until now it went a token a step
            self._bound()
            return followed
        self._followed.move_to_end(key)
        followed.heard(new)
        if late is not None or followed.said != len(said):  # a new draft, or the engine began the request anew
            followed.take(late or followed.draft, said)
        return followed

    def settle(self, key: str) -> Counts:
        """Forget the request; what its draft cost and saved. `Counts()` when there was none."""
        self._early.pop(key, None)
        followed = self._followed.pop(key, None)
        if followed is None:
            return Counts()
        return self._count(followed)

    def _bound(self) -> None:
        while len(self._early) > self._most:
            self._early.popitem(last=False)
        while len(self._followed) > self._most:
            self._count(self._followed.popitem(last=False)[1])

    def _count(self, followed: Alignment) -> Counts:
        counts = Counts(followed.steps, followed.drafted, followed.accepted)
        total = self.total
        self.total = Counts(
            total.steps + counts.steps, total.drafted + counts.drafted, total.accepted + counts.accepted
        )
        return counts


def weight_of(draft: Sequence[int]) -> int:
    """Bytes of the ids in MessagePack, as they travel; 0 for none."""
    return len(msgspec.msgpack.encode(tuple(draft))) if draft else 0


def salt_of(rid: str) -> str:
    """The tenant of a request id that is `tenant.site.id`; empty for any other."""
    return rid.partition(".")[0] if "." in rid else ""
