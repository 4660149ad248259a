"""The endpoints beside the chat and the streams: models, progress, the site itself, health, the page's files.

Where each of them lies is in operations.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tidegate.schemas import Asked
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.refusals import refusal
from tidegate.schemas.subjects import ANSWERS
from tidegate.services.fleet.replica_status import of_tenant
from tidegate.services.gateway.access import claim
from tidegate.services.gateway.http.access import caller_of
from tidegate.services.gateway.http.body import json_response
from tidegate.services.gateway.http.completions import ModelInfo, ModelList
from tidegate.services.gateway.http.errors import Endpoint
from tidegate.services.gateway.http.event_format import stream_response
from tidegate.services.gateway.http.openapi import openapi_document
from tidegate.services.gateway.http.operations import PAGE, Liveness, Readiness
from tidegate.services.gateway.http.progress import RequestProgress, WatchedRequest
from tidegate.services.gateway.http.site_info import LinkProbe, ReplicaProbe, choose_examples, describe_site
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, unreadable_name
from tidegate.services.packs.load import load_questions

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
NOT_CACHED = {"cache-control": "no-cache"}
READY_WITHIN_S = 1.0


class SiteEndpoints:
    """What a site says about itself and its requests. `progress` is to be closed before the server."""

    def __init__(
        self, ingress: Ingress, models: Iterable[str], metrics: Callable[[], bytes], heartbeat_s: float
    ) -> None:
        now = int(time.time())
        self.progress = RequestProgress(ingress.bus, ingress.settings.site, ingress.settings.gateway.limits)
        self._ingress = ingress
        self._models = {name: ModelInfo(name, now) for name in models}
        self._metrics = metrics
        self._heartbeat_s = heartbeat_s
        self._link = LinkProbe(ingress.bus, ingress.settings.site)
        self._replicas = ReplicaProbe(ingress.bus)
        self._questions: tuple[LabelledQuestion, ...] | None = None

    async def list_models(self, _: Request) -> Response:
        return json_response(ModelList(list(self._models.values())))

    async def get_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in self._models:
            raise RequestRefusedError(refusal("unknown_model", model=name[:64]), "model")
        return json_response(self._models[name])

    async def watch(self, request: Request) -> Response:
        """The stages of one request, for its asker; it may be watched before it is asked."""
        query, headers = request.query_params, request.headers
        tenant = {"tenant": query["tenant"]} if "tenant" in query else {}
        named = {**tenant, "rid": request.path_params["rid"], "asker": headers.get("x-tidegate-asker", "")}
        try:
            asked = msgspec.convert(named, Asked)
        except msgspec.ValidationError as error:
            raise unreadable_name(error) from error
        caller = caller_of(request)
        asked = claim(asked, caller)
        self.progress.check_room(caller.credential, asked.rid)

        async def is_own() -> bool | None:
            return await self._ingress.is_asker(asked.tenant, asked.rid, asked.asker)

        if await is_own() is False:
            raise RequestRefusedError(refusal("unknown_request", asked.rid))
        watched = WatchedRequest(asked.tenant, asked.rid, caller.credential)
        return stream_response(self.progress.events(watched, self._heartbeat_s, is_own))

    async def site(self, request: Request) -> Response:
        return json_response(describe_site(self._ingress.settings, caller_of(request).tenant), headers=NOT_CACHED)

    async def link(self, _: Request) -> Response:
        return json_response(await self._link.measure(), headers=NOT_CACHED)

    async def replicas(self, request: Request) -> Response:
        """What is the caller's tenant's; all of it for who operates the machine."""
        summary, caller = await self._replicas.summary(), caller_of(request)
        seen = summary if caller.is_of_all_tenants else of_tenant(summary, caller.tenant)
        return json_response(seen, headers=NOT_CACHED)

    async def questions(self, request: Request) -> Response:
        """Some questions in `?language=`; none at a site without the folder of its pack: no site needs them, so they
        are not published. Raises `PackError` where the pack's questions cannot be read."""
        if self._questions is None:
            self._questions = await asyncio.to_thread(read_questions, Path(self._ingress.settings.pack_dir))
        examples = choose_examples(self._questions, request.query_params.get("language", ""))
        return json_response(examples, headers=NOT_CACHED)

    async def healthz(self, _: Request) -> Response:
        return json_response(Liveness(alive=True))

    async def readyz(self, _: Request) -> Response:
        readiness = await self._find_readiness()
        return json_response(readiness, 200 if readiness.ready else 503)

    async def _find_readiness(self) -> Readiness:
        if self._ingress.is_closing:
            return Readiness(False, "closing")
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._ingress.bus.last(ANSWERS, "answers.ready.ready")
        except OSError:
            return Readiness(False, "unreachable")
        room = self._ingress.room
        fault = room.fault
        return Readiness(not fault, fault, {each.stream: each.share for each in room.filling})

    async def metrics(self, _: Request) -> Response:
        return Response(await asyncio.to_thread(self._metrics), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, _: Request) -> Response:
        return json_response(await asyncio.to_thread(openapi_document))  # the first time takes a while


def read_questions(pack: Path) -> tuple[LabelledQuestion, ...]:
    """The questions of a pack's folder, where there is one. Raises `PackError`."""
    return load_questions(pack) if pack.is_dir() else ()


def page_file(name: str, kind: str) -> Endpoint:
    """The endpoint of one file of the page."""
    content = (PAGE / name).read_bytes()

    async def serve(_: Request) -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=PAGE_HEADERS)

    return serve
