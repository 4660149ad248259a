"""The only place with subject strings: which fact lies in which stream, under which subject.

ask                                        core    the door of a site: Asked in, Published or Refused out
asks.<tenant>.<rid>                        ASKS    Asked, sealed
pipe.<tenant>.<fact>.<rid>                 PIPE    the hops; Verified too, when it came by the fast lane
escalations.<site>.<tenant>.<rid>          ESCALATIONS   at the site; sourced into the hub's
verdicts.<site>.<tenant>.<rid>             VERDICTS      at the hub; mirrored to the site
answers.<tenant>.<rid>                     ANSWERS one message per subject for ever; live copy on live.answers.>
dead.<stage>.<rid>                         DEAD    original bytes with who, where, why; live copy on live.dead.>
cloud.<site>.verify | cloud.<site>.ping    core    the fast lane over the leaf
cloud.<site>.loop.<any|worker>             core    Begin and Propose: a draft verified round by round
cloud.<site>.said.<tenant>.<rid>           core    Partial of the hub, down the leaf
partial.<drafted|approved>.<tenant>.<rid>  core    Partial of the edge, and of both sides once judged
tokens.<tenant>.<rid>                      TOKENS  Delta: the log of what was shown; live copy on live.tokens.>
stream | resume                            core    the door for clients that read a stream; see services.gateway
sync.<site>.<up|down>.<stream>             core    a stream on its way over the leaf
"""

from __future__ import annotations

import msgspec

from tidegate.schemas import facts
from tidegate.schemas.message import Message
from tidegate.schemas.request import Asked
from tidegate.schemas.stream import Delta, Partial

HUB = "hub"
ASK = "ask"
ANY_WORKER = "any"
LIVE_ANSWERS = "live.answers.>"
LIVE_DEAD = "live.dead.>"
STREAM, RESUME = "stream", "resume"
PARTIAL_DRAFTED, PARTIAL_APPROVED = "partial.drafted.>", "partial.approved.>"
ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD = "ASKS", "PIPE", "ESCALATIONS", "VERDICTS", "ANSWERS", "DEAD"
TOKENS = "TOKENS"
"""The one stream that is kept in memory: what it holds can be told from the answer again."""
SITE_STREAMS = (ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD)

STAYS = (ASK, STREAM, RESUME, "live.>", "partial.>", "tokens.>", *(f"{stream.lower()}.>" for stream in SITE_STREAMS))
"""Everything that no leaf may carry under its own subject; escalations and verdicts travel as `sync.` instead."""


class Source(msgspec.Struct, frozen=True):
    """Where facts of one type are read: a stream and the filter on its subjects."""

    stream: str
    filter: str


def word(kind: type[Message]) -> str:
    """The one word of a fact: its type's name in lower case, its tag, its subject token."""
    return kind.__name__.lower()


def subject_of(message: Message, domain: str) -> str:
    """The subject under which `message` is stored in `domain` (a site's name, or the hub)."""
    match message:
        case Asked():
            return f"asks.{message.tenant}.{message.rid}"
        case facts.Escalated():
            return f"escalations.{message.site}.{message.tenant}.{message.rid}"
        case facts.Verified() if domain == HUB:
            return f"verdicts.{message.site}.{message.tenant}.{message.rid}"
        case facts.Published():
            return f"answers.{message.tenant}.{message.rid}"
        case Delta():
            return tokens(message.tenant, message.rid)
        case facts.Fact() if not isinstance(message, Partial):
            return hop(type(message), message.tenant, message.rid)
    raise ValueError(f"{type(message).__name__} has no subject")


def hop(kind: type[Message], tenant: str, rid: str) -> str:
    """Where a site stores the request's fact of this kind, on its way through the pipeline."""
    return f"pipe.{tenant}.{word(kind)}.{rid}"


def stream_of(subject: str) -> str:
    """The stream that stores `subject`; its first token, in capitals."""
    return subject.split(".", 1)[0].upper()


def sources_of(kind: type[Message], domain: str) -> tuple[Source, ...]:
    """Where a worker of `domain` reads facts of type `kind`."""
    if kind is Asked:
        return (Source(ASKS, "asks.>"),)
    if kind is facts.Escalated:
        return (Source(ESCALATIONS, "escalations.>"),)
    if kind is facts.Published:
        return (Source(ANSWERS, "answers.>"),)
    here = Source(PIPE, f"pipe.*.{word(kind)}.*")
    if kind is facts.Verified:
        return (here, Source(VERDICTS, f"verdicts.{domain}.>"))
    return (here,)


def is_answered_once(subject: str) -> bool:
    """Whether a second message under this subject must be refused by the stream."""
    return subject.startswith("answers.")


def history_of(rid: str, tenant: str, site: str) -> tuple[Source, ...]:
    """Every place at a site that may hold a fact of the request, in the order of the pipeline."""
    return (
        Source(ASKS, f"asks.{tenant}.{rid}"),
        Source(PIPE, f"pipe.{tenant}.*.{rid}"),
        Source(ESCALATIONS, f"escalations.{site}.{tenant}.{rid}"),
        Source(VERDICTS, f"verdicts.{site}.{tenant}.{rid}"),
        Source(ANSWERS, f"answers.{tenant}.{rid}"),
    )


def live_answer(tenant: str, rid: str) -> str:
    """The core subject on which the answer is heard the moment it is stored."""
    return f"live.answers.{tenant}.{rid}"


def rid_of(subject: str) -> str:
    """The request id: the last token of every subject that holds one."""
    return subject.rsplit(".", 1)[-1]


def dead_letter(stage: str, rid: str) -> str:
    """Where a message that `stage` could not settle is kept; `rid` is the last token of the subject it came under."""
    return f"dead.{stage}.{rid}"


def fast_lane(site: str) -> str:
    """Where a site asks the hub for a verdict without waiting for the durable lane."""
    return f"cloud.{site}.verify"


def loop(site: str, worker: str = ANY_WORKER) -> str:
    """Where a site begins a loop, or goes on with the one that `worker` has."""
    return f"cloud.{site}.loop.{worker}"


def all_loops(site: str) -> str:
    """All that a site may send so. Not `.*`: a leaf is not told of an interest in `cloud.*.loop.…` where only that is
    allowed (seen on nats-server 2.15)."""
    return f"cloud.{site}.loop.>"


def said(site: str, tenant: str = "*", rid: str = "*") -> str:
    """Where the hub says its sentences as it makes them."""
    return f"cloud.{site}.said.{tenant}.{rid}"


def all_said(site: str) -> str:
    """Whatever the hub says to a site in this way; all that its leaf lets down beside replies and streams."""
    return f"cloud.{site}.said.>"


def partial(judged: bool, tenant: str, rid: str) -> str:
    """Where the answer in the making is told inside a site: before the policy, or after it."""
    return f"partial.{'approved' if judged else 'drafted'}.{tenant}.{rid}"


def tokens(tenant: str, rid: str) -> str:
    """The log of what was shown of one answer."""
    return f"tokens.{tenant}.{rid}"


def live_tokens(tenant: str, rid: str) -> str:
    """The core subject on which a line of the log is heard the moment it is stored."""
    return f"live.tokens.{tenant}.{rid}"


def ping(site: str) -> str:
    """Where a site measures the round trip to the hub."""
    return f"cloud.{site}.ping"


def carried_up(site: str, stream: str) -> str:
    """Under which subject a site's stream reaches the hub."""
    return f"sync.{site}.up.{stream}"


def carried_down(site: str, stream: str) -> str:
    """Under which subject the hub's stream reaches a site."""
    return f"sync.{site}.down.{stream}"


def stored_again(subject: str, domain: str) -> str:
    """Where a fact that came under `subject` can be stored once more in `domain`: a site cannot write to its mirror."""
    if domain != HUB and subject.startswith("verdicts."):
        _, _, tenant, rid = subject.split(".", 3)
        return hop(facts.Verified, tenant, rid)
    return subject


def inbox_of(domain: str) -> str:
    """The prefix of the inboxes of a domain's clients; the leaf lets no other through."""
    return f"_INBOX_{domain}"
