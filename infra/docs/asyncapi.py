"""What goes over NATS as an AsyncAPI 3 document, made of the subjects, the pipeline's table and the message structs.

Nothing is written here that the code says elsewhere. Read next: schemas/subjects.py.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from tidegate import schemas
from tidegate.brokers.stage import Stage
from tidegate.infra.docs.sync_channels import (
    ASKED_OF_WORKERS,
    RID,
    SITE,
    TENANT,
    Channel,
    Kind,
    replica_channels,
    sync_channels,
)
from tidegate.schemas import (
    PIPELINE,
    Accepted,
    Asked,
    Begin,
    CloudState,
    Delta,
    Escalated,
    LostEscalation,
    LostVerdict,
    Message,
    Partial,
    Propose,
    Published,
    Refused,
    Resume,
    StreamCheck,
    StreamReport,
    Verified,
    WorkClaim,
    subjects,
)
from tidegate.schemas.entries import entry
from tidegate.schemas.hub_subjects import claimant, claims_of
from tidegate.schemas.verification_subjects import ANY_WORKER, fast_lane, verification_session
from tidegate.services.pipeline import WORKERS
from tidegate.services.streaming.events import Event

KEY = "{key}"
PARAMETERS = {
    "key": "the id of the access key whose account it came from; there the subject is the first word alone",
    "site": "the name of a site",
    "tenant": "the name of a tenant",
    "rid": "the id of a request",
    "stage": "the stage that could not process the message",
    "collection": "the name of a collection of documents",
    "document": "the id of a document",
    "kind": "the kind of an artefact, `collection`, `snapshot` or `activation`",
    "name": "the name of what is published",
    "question": "the digest of what is asked",
    "worker": f"the hub's worker that keeps the session, or `{ANY_WORKER}`",
}
CHECKS = (StreamCheck, LostEscalation, LostVerdict)
EVENTS: tuple[type[msgspec.Struct], ...] = typing.get_args(Event)
JsonDocument = dict[str, Any]


def message_schemas(ref_template: str = "#/$defs/{name}") -> tuple[list[str], dict[str, Any]]:
    """The names of every message and event, and the JSON Schemas of these and of all that they are made of."""
    kinds = [kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, Message)]
    kinds = [kind for kind in kinds if kind not in (Message, schemas.Fact, schemas.PlannedFact)]
    _, components = msgspec.json.schema_components([*kinds, *EVENTS], ref_template=ref_template)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return sorted(kind.__name__ for kind in (*kinds, *EVENTS)), dict(sorted(components.items()))


def schema_bundle() -> JsonDocument:
    """One JSON Schema for whatever may be a message, with a definition for each."""
    names, definitions = message_schemas()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of Tidegate",
        "description": "Every message and every event of a stream, as JSON; MessagePack has the same fields.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in names],
        "$defs": definitions,
    }


def asyncapi_document() -> JsonDocument:
    """The document; operations are those of a site and of the hub, not those of a client."""
    channels = pipeline_channels() | core_channels() | sync_channels() | replica_channels()
    names, definitions = message_schemas("#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidegate on NATS",
            "version": version("tidegate"),
            "description": "Subjects of a site's NATS server; those with `cloud.` cross the link to the hub. "
            "A request is JSON or MessagePack, told apart by its first byte; its replies have the same form. "
            "`ask`, `stream` and `resume` are endpoints of the NATS micro service `tidegate`, which `$SRV` asks about.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "site": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "the NATS server of a site"},
        },
        "channels": {name: _channel(channel) for name, channel in channels.items()},
        "operations": dict(_operations(channels)),
        "components": {
            "messages": {name: _message(name, definitions[name]) for name in names},
            "parameters": {name: {"description": text} for name, text in PARAMETERS.items()},
            "schemas": definitions,
        },
    }


def pipeline_channels() -> dict[str, Channel]:
    """Where the facts of a request are stored at its site, stream by stream."""
    channels: dict[str, Channel] = {}
    for kind in PIPELINE:
        source = subjects.sources_of(kind, SITE)[0]
        for history in subjects.history_of(RID, TENANT, SITE):
            if history.stream == source.stream:
                token = subjects.token_of(kind)
                channels[token] = Channel(history.filter.replace("*", token), f"stream {source.stream}", (kind,))
    verdicts = subjects.history_of(RID, TENANT, SITE)[3]
    channels["verdicts"] = Channel(verdicts.filter, f"stream {verdicts.stream}, mirrored from the hub", (Verified,))
    return channels


def core_channels() -> dict[str, Channel]:
    """What is asked, heard and logged beside the pipeline."""
    return {
        "ask": Channel(entry(subjects.ASK, TENANT, KEY), "a question; one reply", (Asked,)),
        "stream": Channel(
            entry(subjects.STREAM, TENANT, KEY), "a question; a reply per event, until `end` or `error`", (Asked,)
        ),
        "resume": Channel(entry(subjects.RESUME, TENANT, KEY), "goes on with a stream from a cursor", (Resume,)),
        "tokens": Channel(subjects.tokens(TENANT, RID), f"stream {subjects.TOKENS}: what was shown", (Delta,)),
        "liveTokens": Channel(subjects.live_tokens(TENANT, RID), "the same, as it is stored", (Delta,)),
        "liveAnswers": Channel(subjects.live_answer(TENANT, RID), "an answer, as it is stored", (Published,)),
        "draftedText": Channel(subjects.partial(False, TENANT, RID), "an answer in the making", (Partial,)),
        "approvedText": Channel(subjects.partial(True, TENANT, RID), "the same, after the policy", (Partial,)),
        "deadLetters": Channel(subjects.dead_letter("{stage}", RID), f"stream {subjects.DEAD}: the original bytes", ()),
        "verify": Channel(fast_lane(SITE, TENANT), "an escalated question, without waiting for a stream", (Escalated,)),
        "sessions": Channel(
            verification_session(SITE, TENANT, "{worker}"), "verification round by round", (Begin, Propose)
        ),
        "cloudText": Channel(subjects.cloud_partial(SITE, TENANT, RID), "the hub's answer in the making", (Partial,)),
        "claims": Channel(
            claims_of(SITE, f"{TENANT}.{RID}", "{question}"), "at the hub: which worker is at it", (WorkClaim,)
        ),
        "claimant": Channel(claimant("{worker}"), "at the hub: what becomes of a claim", (WorkClaim,)),
        "ping": Channel(subjects.ping(SITE), "empty: the round trip to the hub; else what a stream lacks", CHECKS),
        "answerReply": Channel(None, "the reply subject of `ask`", (Published, Refused)),
        "eventReplies": Channel(None, "the reply subject of `stream` and `resume`", EVENTS),
        "verdictReply": Channel(None, "the reply subject of `verify`", (Verified, Refused)),
        "sessionReply": Channel(None, "the reply subject of a session", (Accepted, Verified, Refused)),
        "claimReply": Channel(None, "the reply subject of `claimant`", (WorkClaim, Refused)),
        "pingReply": Channel(None, "the reply subject of `ping`", (CloudState, StreamReport, Verified, Refused)),
    }


REPLIES = {
    "compare": "compareReply",
    "vote": "voteReply",
    "lease": "leaseReply",
    "heads": "headsReply",
    "ask": "answerReply",
    "stream": "eventReplies",
    "resume": "eventReplies",
    "verify": "verdictReply",
    "claimant": "claimReply",
    "sessions": "sessionReply",
    "ping": "pingReply",
    **{f"replica{verb.title()}": f"replica{verb.title()}Reply" for verb in ASKED_OF_WORKERS},
}
"""Which channels are requests, and where the replies to each go."""
SENT = {"tokens": "publisher", "draftedText": "drafter", "approvedText": "policy", "cloudText": "cloud-verifier"}
"""Who sends what no stage's row in the table names: the answer in the making."""


def _operations(channels: dict[str, Channel]) -> Iterable[tuple[str, JsonDocument]]:
    for request, reply in REPLIES.items():
        operation = _operation("receive", request, channels[request].messages, channels[request].title)
        yield request, {**operation, "reply": {"channel": _ref("channels", reply)}}
    for worker in WORKERS.values():
        for action, verb, kinds in (("receive", "Reads", worker.accepts), ("send", "Stores", worker.emits)):
            for channel, kind in _channels_of(worker, kinds, action):
                name = f"{_camel(worker)}{verb}{channel[0].upper()}{channel[1:]}"
                yield name, _operation(action, channel, (kind,), worker.name)
    for channel, stage in SENT.items():
        yield (
            f"{_camel(WORKERS[stage])}Sends{channel[0].upper()}{channel[1:]}",
            _operation("send", channel, channels[channel].messages, stage),
        )


def _channels_of(worker: Stage, kinds: Iterable[type[Message]], action: str) -> Iterator[tuple[str, type[Message]]]:
    """Where the worker reads or stores facts of these kinds: the hub's verdicts lie in a stream of their own."""
    for kind in kinds:
        if kind is not Verified or worker.side == "site":
            yield subjects.token_of(kind), kind
        if kind is Verified and (worker.side == "hub" or action == "receive"):
            yield "verdicts", kind


def _camel(stage: Stage) -> str:
    first, *rest = stage.name.split("-")
    return first + "".join(map(str.title, rest))


def _operation(action: str, channel: str, kinds: Sequence[Kind], summary: str) -> JsonDocument:
    messages = [{"$ref": f"#/channels/{channel}/messages/{kind.__name__}"} for kind in kinds]
    return {"action": action, "channel": _ref("channels", channel), "summary": summary, "messages": messages}


def _channel(channel: Channel) -> JsonDocument:
    gaps = [name for name in PARAMETERS if f"{{{name}}}" in (channel.address or "")]
    parameters = {"parameters": {name: _ref("components/parameters", name) for name in gaps}} if gaps else {}
    messages = {kind.__name__: _ref("components/messages", kind.__name__) for kind in channel.messages}
    return {"address": channel.address, "title": channel.title, "messages": messages, **parameters}


def _message(name: str, schema: JsonDocument) -> JsonDocument:
    summary = schema.get("description", name).split("\n\n")[0].replace("\n", " ")
    return {"name": name, "title": name, "summary": summary, "payload": _ref("components/schemas", name)}


def _ref(section: str, name: str) -> JsonDocument:
    return {"$ref": f"#/{section}/{name}"}
