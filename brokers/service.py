"""A NATS micro service (NATS ADR-32): endpoints with their counts, and what `$SRV.PING|INFO|STATS` answer. Pure.

Next: jetstream/bus.py and memory/bus.py, which serve it."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

PREFIX = "$SRV"
ERROR_HEADER, ERROR_CODE_HEADER = "Nats-Service-Error", "Nats-Service-Error-Code"


class EndpointReply(msgspec.Struct, frozen=True):
    """One reply. An `error_code` marks the request as failed, for clients of the protocol and in the counts; `error`
    names the failure and quotes nobody.
    """

    data: bytes
    error_code: int = 0
    error: str = ""

    @property
    def headers(self) -> dict[str, str] | None:
        """What marks an error on the wire."""
        return {ERROR_HEADER: self.error, ERROR_CODE_HEADER: str(self.error_code)} if self.error_code else None


@dataclass(frozen=True)
class ServiceEndpoint:
    """A subject, and what answers a request there, with one reply or with many."""

    name: str
    subject: str
    answer: Callable[[str, bytes], AsyncGenerator[EndpointReply, None]]
    """Called with the subject of the request, which may be one of many where the endpoint's has wildcards."""


@dataclass(frozen=True)
class MicroService:
    """What is registered: peers with the same name share the requests. `version` is a semantic version."""

    name: str
    version: str
    description: str
    endpoints: tuple[ServiceEndpoint, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class EndpointCounts:
    """Requests since the start; a stream of replies is one request, and lasts until its last reply."""

    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_time: int = 0
    """Nanoseconds of all requests that have ended."""
    num_ended: int = 0

    def end(self, elapsed_ns: int, error: str) -> None:
        """Count the end of one request; `error` is empty where it succeeded."""
        self.num_ended += 1
        self.processing_time += elapsed_ns
        if error:
            self.num_errors += 1
            self.last_error = error

    def as_reported(self) -> dict[str, Any]:
        """The counts in the fields of the protocol."""
        reported = asdict(self)
        average = self.processing_time // max(1, reported.pop("num_ended"))
        return {**reported, "average_processing_time": average}


class RunningService:
    """One instance of a service, under an id of its own."""

    def __init__(self, service: MicroService, queue_group: str) -> None:
        self.service = service
        self.id = uuid.uuid4().hex
        self._queue_group = queue_group
        self._started = datetime.now(UTC)
        self._counts = {endpoint.name: EndpointCounts() for endpoint in service.endpoints}

    async def answer(self, endpoint: ServiceEndpoint, subject: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
        """The endpoint's replies, counted. Raises what the endpoint raises."""
        counts, began_ns, error = self._counts[endpoint.name], time.perf_counter_ns(), ""
        counts.num_requests += 1
        try:
            async with aclosing(endpoint.answer(subject, data)) as replies:
                async for reply in replies:
                    error = f"{reply.error_code}:{reply.error}" if reply.error_code else error
                    yield reply
        except Exception as failure:
            error = f"500:{type(failure).__name__}"
            raise
        finally:
            counts.end(time.perf_counter_ns() - began_ns, error)

    def control_subjects(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each subject under which instances are asked about themselves, with what answers there."""
        for verb, describe in (("PING", self._ping), ("INFO", self._info), ("STATS", self._stats)):
            for path in ((), (self.service.name,), (self.service.name, self.id)):
                yield ".".join((PREFIX, verb, *path)), functools.partial(_encode, describe)

    def _identity(self, kind: str) -> dict[str, Any]:
        service = self.service
        return {
            "type": f"io.nats.micro.v1.{kind}_response",
            "name": service.name,
            "id": self.id,
            "version": service.version,
            "metadata": dict(service.metadata),
        }

    def _describe(self, endpoint: ServiceEndpoint) -> dict[str, Any]:
        return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": self._queue_group}

    def _ping(self) -> dict[str, Any]:
        return self._identity("ping")

    def _info(self) -> dict[str, Any]:
        endpoints = [{**self._describe(each), "metadata": {}} for each in self.service.endpoints]
        return {**self._identity("info"), "description": self.service.description, "endpoints": endpoints}

    def _stats(self) -> dict[str, Any]:
        endpoints = [
            {**self._describe(each), **self._counts[each.name].as_reported(), "data": None}
            for each in self.service.endpoints
        ]
        started = self._started.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return {**self._identity("stats"), "started": started, "endpoints": endpoints}


def _encode(describe: Callable[[], dict[str, Any]]) -> bytes:
    return msgspec.json.encode(describe())
