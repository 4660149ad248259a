"""What a site and the hub say to each other over the link: drafts that are verified a few tokens at a time, the hub's
state, and the comparison of what one has sent with what the other has stored.

Next: services/uplink/verification_client.py and verification_server.py, stream_check.py and stream_check_server.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.facts import Escalated, Verified
from tidegate.schemas.message import END, Message, Name, Rid
from tidegate.schemas.plan import Speculation, Writing

MOST_PROPOSED = 64
"""Tokens that one pass verifies at most."""
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
SubjectToken = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9_-]{{1,64}}{END}")]
ProposedIds = Annotated[tuple[TokenId, ...], msgspec.Meta(max_length=MOST_PROPOSED)]
MOST_CHECKED = 64
"""Messages that are compared in one exchange at most."""
StoredKey = Annotated[
    str, msgspec.Meta(pattern=rf"^[a-z0-9][a-z0-9_-]{{0,31}}\.[A-Za-z0-9_-]{{1,64}}{END}", description="<tenant>.<rid>")
]
StoredKeys = Annotated[tuple[StoredKey, ...], msgspec.Meta(max_length=MOST_CHECKED)]
StreamSequence = Annotated[int, msgspec.Meta(ge=0)]
HeaderValue = Annotated[str, msgspec.Meta(pattern=rf"^[!-~]*{END}", max_length=512)]
PrefixIds = Annotated[tuple[TokenId, ...], msgspec.Meta(max_length=512)]


class Begin(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Open a verification session for an escalated question, or open it again with the answer as it is known so far.

    `prefix` is not trusted: it is verified as `ids` are, the site's draft of what follows, in the same pass.
    `tokenizer` is the digest of the tokenizer of both. Every `Begin` and every `Propose` costs the hub one pass, and is
    answered by `Accepted`; by `Verified`, when the answer is over; or by `Refused`.
    """

    escalated: Escalated
    tokenizer: str
    prefix: PrefixIds = ()
    ids: ProposedIds = ()


class Propose(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The next draft in an open session; `position` is how many tokens of the answer the site knows, all accepted."""

    session: SubjectToken
    position: Annotated[int, msgspec.Meta(ge=0)]
    ids: ProposedIds = ()


class Accepted(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The first `accepted` of the tokens that were sent (prefix and draft) are the target's own; `ids` follow them.

    `worker` holds the session and is asked from now on. In answer to `Begin` only: `prompt`, what the target answers,
    and `quotes`, whether it does so by quoting the passages. `speculation` is what the session has cost so far.
    """

    worker: SubjectToken
    session: SubjectToken
    accepted: Annotated[int, msgspec.Meta(ge=0)]
    ids: PrefixIds
    speculation: Speculation
    prompt: tuple[TokenId, ...] = ()
    quotes: bool = False


class CloudState(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to a ping. The defaults mean that nothing is known, as does a reply that is no `CloudState` at all.

    `step_ms` is the time of one forward pass of the cloud's model (0: unknown), `queue` how many requests it works on
    or keeps waiting, `verifies_drafts` whether it verifies a draft that is shipped to it, `keeps_sessions` whether it
    does so round by round. `model` names the model; `writes` are the ways of writing in which it takes a step for each
    token, so that a draft can save any: where it is not called, or may only quote, none can (None: not known). A model
    that takes steps to `quote` does so in every answer, and where it stands alone it can do nothing else.
    """

    step_ms: Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)] = 0.0
    queue: Annotated[int, msgspec.Meta(ge=0)] = 0
    verifies_drafts: bool = False
    keeps_sessions: bool = False
    model: Annotated[str, msgspec.Meta(max_length=256)] = ""
    writes: tuple[Writing, ...] | None = None

    @property
    def writes_own_words(self) -> bool:
        """Whether a model writes answers there where a plan allows that, and so can follow instructions."""
        return any(way != "quote" for way in self.writes or ())


class StreamCheck(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asked under the subject of a ping: which of these `escalations`, all acknowledged to the site, has the hub not?

    And which verdicts for the site, after the hub's sequence `verdicts_after`, has the site acknowledged? None: the
    site does not know from where on. Answered by `StreamReport`; an older hub answers as it does a ping.
    """

    escalations: StoredKeys = ()
    verdicts_after: StreamSequence | None = None


class StreamReport(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Of the escalations that were asked for, those that are `missing` at the hub; and the verdicts that the site has
    acknowledged, complete up to the hub's sequence `verdicts_to` (None: the hub does not send verdicts to this site).
    """

    missing: StoredKeys = ()
    verdicts: StoredKeys = ()
    verdicts_to: StreamSequence | None = None


class LostEscalation(Message, frozen=True, kw_only=True, omit_defaults=True):
    """An escalation that the hub has acknowledged and does not have, to be stored under the `id` that it had.

    `cause` and `traceparent` are its headers. Sent under the subject of a ping; answered by an empty `StreamReport`
    once it is stored.
    """

    escalated: Escalated
    id: HeaderValue
    cause: HeaderValue = ""
    traceparent: HeaderValue = ""


class LostVerdict(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asked under the subject of a ping: the verdict `key`, which the site has acknowledged and does not have.

    Answered by `Verified`, or by an empty `StreamReport` where the hub has it no more.
    """

    key: StoredKey


class WorkClaim(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Which worker of the hub is at an escalation, and the verdict once it is there.

    `question` is the digest of what is asked, so that nobody is given another's verdict by guessing its id. `holder` is
    the worker; none: nobody is at it any more, and whoever wants a verdict may begin. It is held for as long as the
    holder stores it again.
    """

    site: Name
    tenant: Name
    rid: Rid
    question: SubjectToken
    holder: SubjectToken | None = None
    verdict: Verified | None = None
