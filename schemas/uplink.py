"""A loop over the link: a site drafts the cloud's answer a few tokens at a time, the cloud says how many of them stand.

Every `Begin` and every `Propose` costs the cloud one pass, and is answered by `Stood`; by `Verified`, when the answer
is over; or by `Refused`, whose code says what is left to do:

`unknown_loop`, `out_of_step`  begin anew, with all that is said so far
`busy`, `unavailable`          the hub cannot now
`unable`                       the hub's model does not verify, or the question is too long for it
`tokenizer`, `out_of_range`, `unreadable`   the request is wrong, and will be so at every try
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.facts import Escalated
from tidegate.schemas.message import Message
from tidegate.schemas.plan import Speculation

MOST_PROPOSED = 64
"""Tokens that one pass verifies at most."""
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
Token = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Proposed = Annotated[tuple[TokenId, ...], msgspec.Meta(max_length=MOST_PROPOSED)]
Said = Annotated[tuple[TokenId, ...], msgspec.Meta(max_length=512)]


class Begin(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Open a loop for an escalated question, or open it again after `said`, the answer as it is known so far.

    Nothing of `said` is believed: it is verified as `ids` are, the site's guess at what follows, in the same pass.
    `tokenizer` is the digest of the tokenizer by which both are meant.
    """

    escalated: Escalated
    tokenizer: str
    said: Said = ()
    ids: Proposed = ()


class Propose(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The next guess in an open loop; `at` is how many tokens of the answer the site knows, all of which stand."""

    loop: Token
    at: Annotated[int, msgspec.Meta(ge=0)]
    ids: Proposed = ()


class Stood(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The first `stood` of the tokens that were sent (`said` and `ids`) are the target's own; `ids` come behind them.

    `worker` is who has the loop and is asked from now on. In answer to `Begin` only: `prompt`, what the target answers,
    and `quotes`, whether it does so by quoting the passages. `speculation` is what the loop has cost so far.
    """

    worker: Token
    loop: Token
    stood: Annotated[int, msgspec.Meta(ge=0)]
    ids: Said
    speculation: Speculation
    prompt: tuple[TokenId, ...] = ()
    quotes: bool = False


class CloudState(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to a ping. The defaults say that nothing is known, as does a reply that is no `CloudState` at all.

    `step_ms` is the time of one forward pass of the cloud's model (0: unknown), `queue` how many requests it is working
    on or keeps waiting, `drafts` whether it can verify a draft that is shipped to it, `loops` whether it can do so
    round by round.
    """

    step_ms: Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)] = 0.0
    queue: Annotated[int, msgspec.Meta(ge=0)] = 0
    drafts: bool = False
    loops: bool = False
