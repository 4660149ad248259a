"""The only module with subject strings, but for those in verification_subjects.py and hub_subjects.py: which fact is in
which stream, under which subject.

<ask|stream|resume>.<tenant>.<credential>  core    the entries of a site; see schemas/entries.py
asks.<tenant>.<rid>                        ASKS    Asked, sealed
pipe.<tenant>.<fact>.<rid>                 PIPE    the facts in between; Verified too, when it came by the fast lane
escalations.<site>.<tenant>.<rid>          ESCALATIONS   at the site; sourced into the hub's
verdicts.<site>.<tenant>.<rid>             VERDICTS      at the hub; mirrored to the site
answers.<tenant>.<rid>                     ANSWERS one message per subject for ever; live copy on live.answers.>
dead.<stage>.<rid>                         DEAD    original bytes with who, where, why; live copy on live.dead.>
cloud.<site>.ping                          core    the round trip over the leaf, and what a stream lacks
cloud.<site>.partial.<tenant>.<rid>        core    Partial of the hub, down the leaf
partial.<drafted|approved>.<tenant>.<rid>  core    Partial of the edge; of both sides once approved
tokens.<tenant>.<rid>                      TOKENS  Delta: the log of what was shown; live copy on live.tokens.>
sync.<site>.<up|down>.<stream>             core    a stream on its way over the leaf
edits.<site>.<tenant>.<collection>.<id>    EDITS   SignedOperation of a site, in what is shared; sourced into the hub's
local.<tenant>.<collection>.<id>           LOCAL   SignedOperation of what never leaves the domain
corpus.<tenant>.<collection>.<id>          CORPUS  CollectionDelta at the hub; mirrored to the sites it is for
artefacts.<tenant>.<kind>.<name>           ARTEFACTS   descriptors, snapshots, activations at the hub; mirrored
$O.<bucket>.<C|M>.<object>                 OBJ_<bucket>   chunks and descriptions of objects; see jetstream/objects.py
cloud.<site>.<compare|vote|lease|heads>    core    what a site asks the hub for: replicas, trust, a witness
replica.<verb>                             core    what is asked of the sync worker of one's own domain
claims.<site>.<tenant>.<rid>.<question>    CLAIMS  WorkClaim; see hub_subjects.py
"""

from __future__ import annotations

import msgspec

from tidegate.schemas import facts
from tidegate.schemas.hub_subjects import claims_of
from tidegate.schemas.message import Message
from tidegate.schemas.request import Asked
from tidegate.schemas.stream import Delta, Partial
from tidegate.schemas.uplink import WorkClaim

HUB = "hub"
ASK, STREAM, RESUME = "ask", "stream", "resume"
LIVE_ANSWERS = "live.answers.>"
LIVE_DEAD = "live.dead.>"
LIVE_TOKENS = "live.tokens.>"
PARTIAL_DRAFTED, PARTIAL_APPROVED = "partial.drafted.>", "partial.approved.>"
ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD = "ASKS", "PIPE", "ESCALATIONS", "VERDICTS", "ANSWERS", "DEAD"
EDITS, LOCAL, CORPUS, ARTEFACTS = "EDITS", "LOCAL", "CORPUS", "ARTEFACTS"
TOKENS, CLAIMS = "TOKENS", "CLAIMS"
"""The streams that are kept in memory: what they hold follows from what is published, or is worked out again."""
SITE_STREAMS = (ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD, EDITS, LOCAL, CORPUS, ARTEFACTS)
BUCKETS = ("policy", "prompt", "adapter", "index", "weights")
"""The object stores of the hub, most urgent first: one for each class of transfer, so that each has its own rate."""

_UNSTORED = ("live.>", "partial.>", "tokens.>", "replica.>")
_DOORS = tuple(f"{name}.>" for name in (ASK, STREAM, RESUME))
SITE_ONLY = (*_DOORS, *_UNSTORED, *(f"{stream.lower()}.>" for stream in SITE_STREAMS))
"""Subjects that no leaf may carry; what is sourced or mirrored crosses it under `sync.` instead."""


class Source(msgspec.Struct, frozen=True):
    """Where facts of one type are read: a stream and the filter on its subjects."""

    stream: str
    filter: str


def token_of(kind: type[Message]) -> str:
    """The name of a fact in tags and subjects: its type's name in lower case."""
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
        case WorkClaim():
            return claims_of(message.site, f"{message.tenant}.{message.rid}", message.question)
        case facts.Fact() if not isinstance(message, Partial):
            return fact_subject(type(message), message.tenant, message.rid)
    raise ValueError(f"{type(message).__name__} has no subject")


def fact_subject(kind: type[Message], tenant: str, rid: str) -> str:
    """Where a site stores the request's fact of this kind, on its way through the pipeline."""
    return f"pipe.{tenant}.{token_of(kind)}.{rid}"


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
    here = Source(PIPE, f"pipe.*.{token_of(kind)}.*")
    if kind is facts.Verified:
        return (here, Source(VERDICTS, f"verdicts.{domain}.>"))
    return (here,)


def is_answered_once(subject: str) -> bool:
    """Whether a second message under this subject must be refused by the stream."""
    return subject.startswith("answers.")


def history_of(rid: str, tenant: str, site: str) -> tuple[Source, ...]:
    """Every stream and subject at a site that may hold a fact of the request, in the order of the pipeline."""
    return (
        Source(ASKS, f"asks.{tenant}.{rid}"),
        Source(PIPE, f"pipe.{tenant}.*.{rid}"),
        Source(ESCALATIONS, f"escalations.{site}.{tenant}.{rid}"),
        Source(VERDICTS, f"verdicts.{site}.{tenant}.{rid}"),
        Source(ANSWERS, f"answers.{tenant}.{rid}"),
    )


def answers_of(tenant: str) -> str:
    """All answers of a tenant, as they are stored."""
    return f"answers.{tenant}.*"


def live_answer(tenant: str, rid: str) -> str:
    """The core subject on which the answer is republished the moment it is stored."""
    return f"live.answers.{tenant}.{rid}"


def rid_of(subject: str) -> str:
    """The request id: the last token of every subject that holds one."""
    return subject.rsplit(".", 1)[-1]


def dead_letter(stage: str, rid: str) -> str:
    """Where a message that `stage` gave up is stored; `rid` is the last token of the subject it came under."""
    return f"dead.{stage}.{rid}"


def escalations_of(site: str, key: str = ">") -> str:
    """Where a site's escalations are stored, at the site and at the hub; `key` is `<tenant>.<rid>`."""
    return f"escalations.{site}.{key}"


def verdicts_of(site: str, key: str = ">") -> str:
    """Where the hub's verdicts for a site are stored, at the hub and in the mirror; `key` is `<tenant>.<rid>`."""
    return f"verdicts.{site}.{key}"


def key_of(subject: str) -> str:
    """The `<tenant>.<rid>` at the end of a subject of an escalation or a verdict."""
    return subject.split(".", 2)[2]


def site_of(subject: str) -> str:
    """The site in a subject under which it asks the hub, which lets it send under no other's."""
    return subject.split(".")[1]


def is_at_hub(subject: str) -> bool:
    """Whether whoever answers on `subject`, or publishes under it, is at the hub."""
    return subject.startswith("cloud.")


def cloud_partial(site: str, tenant: str = "*", rid: str = "*") -> str:
    """Where the hub sends its partial answers to a site."""
    return f"cloud.{site}.partial.{tenant}.{rid}"


def all_cloud_partials(site: str) -> str:
    """All partial answers of the hub to a site: the only subjects let down its leaf beside replies and streams."""
    return f"cloud.{site}.partial.>"


def partial(approved: bool, tenant: str, rid: str) -> str:
    """Where partial answers are sent inside a site: before the policy judged them, or after."""
    return f"partial.{'approved' if approved else 'drafted'}.{tenant}.{rid}"


def tokens(tenant: str, rid: str) -> str:
    """The log of what was shown of one answer."""
    return f"tokens.{tenant}.{rid}"


def live_tokens(tenant: str, rid: str) -> str:
    """The core subject on which a line of the log is republished the moment it is stored."""
    return f"live.tokens.{tenant}.{rid}"


def ping(site: str) -> str:
    """Where a site measures the round trip to the hub."""
    return f"cloud.{site}.ping"


def source_up(site: str, stream: str) -> str:
    """The subject under which the hub sources a site's stream."""
    return f"sync.{site}.up.{stream}"


def source_down(site: str, stream: str) -> str:
    """The subject under which a site mirrors the hub's stream."""
    return f"sync.{site}.down.{stream}"


def edits_of(site: str, tenant: str, collection: str, document_id: str) -> str:
    """Where a site stores an operation on a shared document, at the site and at the hub."""
    return f"edits.{site}.{tenant}.{collection}.{document_id}"


def local_edits(tenant: str, collection: str, document_id: str) -> str:
    """Where an operation is stored on a document that never leaves its domain: no stream there is sourced by any."""
    return f"local.{tenant}.{collection}.{document_id}"


def corpus(tenant: str, collection: str, document_id: str) -> str:
    """Where the hub stores the log of a shared collection."""
    return f"corpus.{tenant}.{collection}.{document_id}"


def artefacts(tenant: str, kind: str, name: str) -> str:
    """Where the hub stores what it publishes besides documents."""
    return f"artefacts.{tenant}.{kind}.{name}"


def object_stream(bucket: str) -> str:
    """The stream of an object store."""
    return f"OBJ_{bucket}"


def object_chunks(bucket: str, name: str, upload: str) -> str:
    """Where the chunks of one upload of an object are stored."""
    return f"$O.{bucket}.C.{name}.{upload}"


def object_description(bucket: str, name: str) -> str:
    """Where it is stored what the object is; the last message counts."""
    return f"$O.{bucket}.M.{name}"


def comparison(site: str) -> str:
    """Where a site asks the hub for the digests of key ranges."""
    return f"cloud.{site}.compare"


def activation_vote(site: str) -> str:
    """Where a site says whether it holds what is to be activated."""
    return f"cloud.{site}.vote"


def lease_of(site: str) -> str:
    """Where a site asks the hub for its lease, and for the heads of its collections."""
    return f"cloud.{site}.lease"


def heads_of(site: str) -> str:
    """Where a site has the hub witness the head of its audit log."""
    return f"cloud.{site}.heads"


def replica_request(verb: str) -> str:
    """Where the sync worker of this domain is asked to do something; see `schemas.replica.ReplicaVerb`."""
    return f"replica.{verb}"


def replay_subject(subject: str, domain: str) -> str:
    """Where a fact that came under `subject` is stored when `domain` replays it: a site cannot write to its mirror."""
    if domain != HUB and subject.startswith("verdicts."):
        _, _, tenant, rid = subject.split(".", 3)
        return fact_subject(facts.Verified, tenant, rid)
    return subject


def inbox_of(domain: str) -> str:
    """The prefix of the inboxes of a domain's clients; no other crosses the leaf."""
    return f"_INBOX_{domain}"
