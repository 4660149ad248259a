"""Spans reach the collector that the environment names, one per delivery; without one nothing is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.brokers.test_telemetry import PARENT, SECRET, STAGE, Held, raised
from tidegate.brokers.process import spans
from tidegate.brokers.process.telemetry import Telemetry, open_telemetry
from tidegate.services.settings import Settings


@dataclass
class Collector:
    """An OTLP/HTTP collector that keeps what it was sent."""

    url: str = ""
    received: list[tuple[str, bytes]] = field(default_factory=list)

    def spans(self) -> list[Any]:
        exports = [ExportTraceServiceRequest.FromString(body) for _, body in self.received]
        return [
            span for export in exports for resource in export.resource_spans for scope in resource.scope_spans
            for span in scope.spans
        ]  # fmt: skip


@pytest.fixture
def collector() -> Iterator[Collector]:
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


def settle_two(telemetry: Telemetry) -> None:
    for outcome, error in (("done", None), ("dead_lettered", raised(ValueError(SECRET)))):
        telemetry.on_start(STAGE, Held())
        telemetry.on_outcome(STAGE, Held(), outcome, 0.25, error)


def test_a_delivery_is_one_span_under_the_request_s_own_trace(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(spans.ENDPOINT, collector.url)
    with open_telemetry(Settings(site="site9")) as telemetry:
        settle_two(telemetry)
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    done, failed = collector.spans()
    _, trace_id, parent_id, _ = PARENT.split("-")
    for span in (done, failed):
        assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("prefilter", trace_id, parent_id)
        assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    attributes = {each.key: each.value.string_value for each in failed.attributes}
    assert (attributes["tidegate.rid"], attributes["tidegate.outcome"]) == ("r1", "dead_lettered")
    assert attributes["error.type"] == "ValueError"
    assert (done.status.code, failed.status.code) == (0, 2)
    body = b"".join(body for _, body in collector.received)
    assert b"07700" not in body
    assert b"site9" in body


def test_without_a_collector_nothing_is_recorded(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(spans.ENDPOINT, raising=False)
    with open_telemetry(Settings()) as telemetry:
        assert telemetry.tracer is None
        settle_two(telemetry)
    assert collector.received == []


def test_a_collector_that_is_away_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spans.ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv(spans.TIMEOUT, "0.2")
    with open_telemetry(Settings()) as telemetry:
        settle_two(telemetry)
