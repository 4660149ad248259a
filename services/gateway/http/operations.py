"""The table of the HTTP API: every path with its method, what is sent and what is replied.

routes.py makes the application of it and openapi.py the document, so that neither knows a path that the other does
not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from tidegate.schemas import Asked, Workload
from tidegate.schemas.access import Role
from tidegate.schemas.message import Millis, Name, Rid
from tidegate.services.fleet.replica_status import ReplicaSummary
from tidegate.services.gateway.http.completions import ChatCompletion, ChatCompletionChunk, ModelInfo, ModelList
from tidegate.services.gateway.http.openai import ChatRequest
from tidegate.services.gateway.http.progress import StageProgress
from tidegate.services.gateway.http.site_info import ExampleQuestions, LinkState, SiteInfo
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{path.name}": (path.name, "text/javascript") for path in sorted(PAGE.glob("*.js"))},
}


class Liveness(msgspec.Struct):
    """The process serves HTTP."""

    alive: bool


class Readiness(msgspec.Struct, omit_defaults=True):
    """Whether the site takes requests now. `reason`, where it does not: `closing`; `unreachable`: its store cannot be
    read; `no_room`: its disk is full, or nearly; `stream_full`: one of its streams is, or nearly; `store_stuck`: its
    stream stores nothing. `filling`: the streams that fill up, and how full each is, of 1."""

    ready: bool
    reason: Literal["", "closing", "unreachable", "no_room", "stream_full", "store_stuck"] = ""
    filling: dict[str, float] = {}


class ApiParameter(msgspec.Struct, frozen=True):
    """What a request may say beside its body."""

    name: str
    location: Literal["path", "query", "header"]
    type: Any
    description: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one path. `reply`: the type of the JSON body, or the media type of another one; `events`: the types
    of the data in a stream of server-sent events. `refusals`: the codes that it may reply with. `roles`: whom it is
    for; none: for everybody, without a credential."""

    id: str
    path: str
    summary: str
    method: Literal["GET", "POST"] = "GET"
    body: Any = None
    reply: Any = None
    events: tuple[Any, ...] = ()
    parameters: tuple[ApiParameter, ...] = ()
    refusals: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    is_socket: bool = False

    @property
    def all_refusals(self) -> tuple[str, ...]:
        """The codes, those of whoever is not let in included."""
        return (*self.refusals, *(("unauthenticated", "not_your_role") if self.roles else ()))


RID = ApiParameter("rid", "path", Rid, "the request id")
TENANT = ApiParameter("tenant", "query", Name, "the credential's; another one is refused")
CURSOR = ApiParameter("cursor", "query", str, "the `id` of the last event that the client has; `Last-Event-ID` as well")
CAN_RETRACT = ApiParameter("can_retract", "query", bool, "false: send committed text only")
LAST_EVENT_ID = ApiParameter("Last-Event-ID", "header", str, "the `id` of the last event, to resume after it")
TRACEPARENT = ApiParameter("traceparent", "header", str, "W3C Trace Context")
ASKER = ApiParameter("X-Tidegate-Asker", "header", str, "the user of an application that asked")
ASKED_HEADERS = {
    "rid": ApiParameter(
        "X-Request-ID", "header", Rid, "the same id again gives the same answer; made where it is left out"
    ),
    "tenant": ApiParameter("X-Tidegate-Tenant", "header", Name, "the credential's; another one is refused"),
    "budget_ms": ApiParameter("X-Tidegate-Budget-Ms", "header", int, "how long the asker is willing to wait"),
    "deadline_at_ms": ApiParameter("X-Tidegate-Deadline-At-Ms", "header", Millis, "Unix time in milliseconds"),
    "workload": ApiParameter("X-Tidegate-Workload", "header", Workload),
    "language": ApiParameter("X-Tidegate-Language", "header", str, "ISO 639-1"),
    "session": ApiParameter("X-Tidegate-Session", "header", str, "the conversation; a value has one vault token in it"),
}
"""What a client may say beside the OpenAI fields: by the field of `Asked` that it fills."""
BODY = ("unreadable", "not_json", "body_encoded", "body_too_large", "body_too_slow")
ASKED = (
    "unknown_tenant", "not_your_tenant", "not_your_asker", "empty_text", "text_too_long", "forged_token", "bad_schema",
    "missing_schema", "deadline_past", "rid_taken", "bad_cursor", "busy", "unavailable", "closing", "late", "dead",
    "unsupported", "instructions_too_long",
)  # fmt: skip
CLAIM = ("not_your_tenant", "not_your_asker")
RESUMED = (*CLAIM, "unreadable", "unknown_tenant", "unknown_request", "bad_cursor", "busy", "unavailable", "closing")
APP: tuple[Role, ...] = ("app",)
ANYBODY: tuple[Role, ...] = ("app", "operator", "auditor")
SEES_SITE: tuple[Role, ...] = ("app", "operator")
OPERATES: tuple[Role, ...] = ("operator",)
"""Whom an operation is for."""
STREAM_EVENTS = (DeltaEvent, EndEvent, ErrorEvent)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="complete",
        roles=APP,
        path="/v1/chat/completions",
        method="POST",
        summary="Ask, as with OpenAI's chat completions; with `stream: true` as server-sent events.",
        body=ChatRequest,
        reply=ChatCompletion,
        events=(ChatCompletionChunk,),
        parameters=(*ASKED_HEADERS.values(), LAST_EVENT_ID, TRACEPARENT),
        refusals=(*BODY, *ASKED, "unknown_model", "bad_header"),
    ),
    Operation(
        id="list_models",
        roles=ANYBODY,
        path="/v1/models",
        summary="The models, under all their names.",
        reply=ModelList,
    ),
    Operation(
        id="get_model",
        roles=ANYBODY,
        path="/v1/models/{model:path}",
        summary="One model.",
        reply=ModelInfo,
        parameters=(ApiParameter("model", "path", str),),
        refusals=("unknown_model",),
    ),
    Operation(
        id="ask",
        roles=APP,
        path="/v1/streams",
        method="POST",
        summary="Ask, and follow the answer as it is made: provisional, committed and retracted text.",
        body=Asked,
        events=STREAM_EVENTS,
        parameters=(LAST_EVENT_ID, TRACEPARENT),
        refusals=(*BODY, *ASKED),
    ),
    Operation(
        id="ask_by_socket",
        roles=APP,
        path="/v1/streams/ws",
        summary="WebSocket: the first message is an `Asked` or a `Resume`; each event is one message.",
        events=STREAM_EVENTS,
        refusals=("origin_not_allowed",),
        is_socket=True,
    ),
    Operation(
        id="resume_by_socket",
        roles=APP,
        path="/v1/streams/{rid}/ws",
        summary="WebSocket: resume a stream; each event is one message.",
        events=STREAM_EVENTS,
        parameters=(RID, TENANT, CURSOR, CAN_RETRACT, ASKER),
        refusals=("origin_not_allowed",),
        is_socket=True,
    ),
    Operation(
        id="resume",
        roles=APP,
        path="/v1/streams/{rid}",
        summary="Resume the stream of an accepted request, from its start or from a cursor.",
        events=STREAM_EVENTS,
        parameters=(RID, TENANT, CURSOR, CAN_RETRACT, ASKER, LAST_EVENT_ID),
        refusals=RESUMED,
    ),
    Operation(
        id="watch",
        roles=APP,
        path="/v1/requests/{rid}/events",
        summary="The stages of a request as they are done: an event `stage` each, then `end`.",
        events=(StageProgress,),
        parameters=(RID, TENANT, ASKER),
        refusals=(*CLAIM, "unreadable", "busy", "too_many_watchers", "unknown_request"),
    ),
    Operation(
        id="site", roles=SEES_SITE, path="/v1/site", summary="The site, its stages and its neighbours.", reply=SiteInfo
    ),
    Operation(
        id="link", roles=SEES_SITE, path="/v1/site/link", summary="The state of the link to the hub.", reply=LinkState
    ),
    Operation(
        id="replicas",
        roles=SEES_SITE,
        path="/v1/site/replicas",
        summary="What the site holds, how old it is, and what it may do with it.",
        reply=ReplicaSummary,
    ),
    Operation(
        id="questions",
        roles=SEES_SITE,
        path="/v1/site/questions",
        summary="Some questions that the site's pack can answer.",
        reply=ExampleQuestions,
        parameters=(ApiParameter("language", "query", str, "ISO 639-1"),),
    ),
    Operation(id="healthz", path="/healthz", summary="Whether the process serves HTTP.", reply=Liveness),
    Operation(
        id="readyz",
        roles=SEES_SITE,
        path="/readyz",
        summary="Whether the site can store requests; 503: no.",
        reply=Readiness,
    ),
    Operation(id="metrics", roles=OPERATES, path="/metrics", summary="Prometheus' text format.", reply="text/plain"),
    Operation(id="openapi", path="/openapi.json", summary="This document.", reply=dict[str, Any]),
    *(
        Operation(id=f"file_{name.replace('.', '_')}", path=path, summary=f"The page: {name}.", reply=kind)
        for path, (name, kind) in FILES.items()
    ),
)
