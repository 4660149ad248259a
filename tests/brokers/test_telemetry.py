"""Telemetry is JSON lines, metrics and spans, and never repeats what a person wrote."""

from __future__ import annotations

import asyncio
import io
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, Counter

from tidegate.brokers.process import trace
from tidegate.brokers.process.metrics_server import MetricsAddressError
from tidegate.brokers.process.telemetry import Telemetry, open_telemetry
from tidegate.brokers.settings import MetricsTlsSettings
from tidegate.brokers.stage import Stage
from tidegate.schemas import Asked, RejectError, RetryLaterError, Screened
from tidegate.services.fleet.certificates import CertificateAuthority
from tidegate.services.settings import Settings

STAGE = Stage("prefilter", (Asked,), (Screened,), "tidegate.services.stages.prefilter:open")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "my number is 07700 900123"


@dataclass
class Held:
    """A delivery as an observer sees it."""

    id: str = "ASKS.7"
    subject: str = "asks.kiosk.r1"
    data: bytes = SECRET.encode()
    headers: Mapping[str, str] = field(default_factory=lambda: {"traceparent": PARENT})
    attempt: int = 2
    stored_at_s: float = 100.0
    position: str = "ASKS:7"

    async def stored(self) -> str:
        return self.position

    async def ack(self) -> None: ...

    async def retry(self, after_s: float) -> None: ...

    async def keep_alive(self) -> None: ...

    async def term(self, reason: str) -> None: ...


def lines(output: io.BytesIO) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in output.getvalue().splitlines()]


def a_telemetry(level: str = "info") -> tuple[Telemetry, io.BytesIO]:
    output = io.BytesIO()
    return Telemetry("site1", output=output, level=level, clock=lambda: 103.0), output


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_dead_letter_is_one_error_line_with_its_identity() -> None:
    telemetry, output = a_telemetry()
    telemetry.on_start(STAGE, Held())
    telemetry.on_outcome(STAGE, Held(), "dead_lettered", 0.25, raised(RejectError("no question in it")))
    [line] = lines(output)
    assert line.pop("time").endswith("Z")
    assert line.pop("where").startswith("test_telemetry.py:")
    assert line == {
        "level": "error",
        "action": "dead_lettered",
        "site": "site1",
        "stage": "prefilter",
        "rid": "r1",
        "id": "ASKS.7",
        "attempt": 2,
        "trace": "0af7651916cd43dd8448eb211c80319c",
        "worked_ms": 250.0,
        "error": "RejectError",
        "reason": "no question in it",
    }


@pytest.mark.parametrize(
    ("outcome", "level"),
    [("done", "debug"), ("handed_back", "debug"), ("retried", "warning"), ("dead_lettered", "error")],
)
def test_an_outcome_is_logged_at_its_level(outcome: str, level: str) -> None:
    telemetry, output = a_telemetry("debug")
    telemetry.on_start(STAGE, Held())
    telemetry.on_outcome(STAGE, Held(), outcome, 0.0, None)
    assert [(line["action"], line["level"]) for line in lines(output)] == [(outcome, level)]


def test_a_plain_success_is_silent_at_level_info() -> None:
    telemetry, output = a_telemetry()
    telemetry.on_start(STAGE, Held())
    telemetry.on_outcome(STAGE, Held(), "done", 0.0, None)
    assert output.getvalue() == b""


@pytest.mark.parametrize("error", [ValueError(SECRET), RetryLaterError("busy", 1.0), KeyError(SECRET)])
def test_an_error_s_own_message_never_reaches_a_line(error: Exception) -> None:
    telemetry, output = a_telemetry()
    telemetry.on_start(STAGE, Held())
    telemetry.on_outcome(STAGE, Held(), "retried", 0.0, raised(error))
    [line] = lines(output)
    assert line["error"] == type(error).__name__
    assert b"07700" not in output.getvalue()


def test_what_people_wrote_is_withheld_by_key_and_by_type() -> None:
    telemetry, output = a_telemetry()
    asked = Asked(tenant="kiosk", text=SECRET)
    telemetry.log.warning(
        "odd", text=SECRET, question=SECRET, blob=SECRET.encode(), fact=asked, nested=[asked, {"text": SECRET}], k=3
    )
    [line] = lines(output)
    assert b"07700" not in output.getvalue()
    assert (line["text"], line["blob"], line["fact"], line["k"]) == ("[withheld]", "[bytes]", "[Asked]", 3)
    assert line["nested"] == ["[Asked]", {"text": "[withheld]"}]


@pytest.mark.anyio
async def test_lines_logged_while_handling_carry_the_delivery_and_not_its_neighbour() -> None:
    structlog.contextvars.clear_contextvars()  # the tests of a module share one, in which others have bound theirs
    telemetry, output = a_telemetry()

    async def settle(rid: str) -> None:
        held = Held(subject=f"asks.kiosk.{rid}")
        telemetry.on_start(STAGE, held)
        await asyncio.sleep(0)
        telemetry.log.info("inside", expected=rid)

    await asyncio.gather(settle("r1"), settle("r2"))
    telemetry.log.info("outside")
    inside_1, inside_2, outside = lines(output)
    assert [(line["rid"], line["expected"]) for line in (inside_1, inside_2)] == [("r1", "r1"), ("r2", "r2")]
    assert "rid" not in outside


def test_four_metrics_are_kept_per_stage_in_a_registry_of_their_own() -> None:
    telemetry, _ = a_telemetry()
    for outcome in ("done", "done", "dead_lettered"):
        telemetry.on_start(STAGE, Held())
        telemetry.on_outcome(STAGE, Held(), outcome, 0.2, None)
    telemetry.on_start(STAGE, Held())
    text = telemetry.metrics().decode()
    for sample in (
        'tidegate_deliveries_total{outcome="done",stage="prefilter"} 2.0',
        'tidegate_deliveries_total{outcome="dead_lettered",stage="prefilter"} 1.0',
        'tidegate_handle_seconds_bucket{le="0.1",stage="prefilter"} 0.0',
        'tidegate_handle_seconds_bucket{le="0.25",stage="prefilter"} 3.0',
        'tidegate_in_flight{stage="prefilter"} 1.0',
        'tidegate_age_seconds_bucket{le="2.5",stage="prefilter"} 0.0',
        'tidegate_age_seconds_sum{stage="prefilter"} 12.0',
    ):
        assert sample in text
    own = {"tidegate_deliveries", "tidegate_handle_seconds", "tidegate_in_flight", "tidegate_age_seconds"}
    assert not own & {metric.name for metric in REGISTRY.collect()}
    Telemetry("site1", output=io.BytesIO())  # a second one in the same process clashes with nothing


def test_a_metric_of_a_module_is_served_by_the_process_it_runs_in() -> None:
    counted = Counter("tidegate_counted_in_a_test", "Something that a module counts.")
    try:
        telemetry, _ = a_telemetry()
        counted.inc(3)
        assert "tidegate_counted_in_a_test_total 3.0" in telemetry.metrics().decode()
    finally:
        REGISTRY.unregister(counted)


def test_an_opened_telemetry_writes_to_a_file_adopts_loggers_and_serves_metrics(tmp_path: Path, free_port: int) -> None:
    log_file = tmp_path / "worker.log"
    settings = Settings(site="site9", metrics_port=free_port)
    with open_telemetry(settings, log_file=log_file) as telemetry:
        structlog.get_logger().info("adopted", body=SECRET)
        telemetry.on_start(STAGE, Held())
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as reply:
            assert 'tidegate_in_flight{stage="prefilter"} 1.0' in reply.read().decode()
    [line] = [msgspec.json.decode(line) for line in log_file.read_bytes().splitlines()]
    assert (line["action"], line["site"], line["body"]) == ("adopted", "site9", "[withheld]")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5)


def test_processes_with_one_configured_port_each_serve_metrics_on_a_port_of_their_own(free_port: int) -> None:
    settings = Settings(metrics_port=free_port)
    with open_telemetry(settings) as first, open_telemetry(settings) as second, open_telemetry(settings) as third:
        ports = {first.metrics_port, second.metrics_port, third.metrics_port}
        assert first.metrics_port == free_port
        assert len(ports) == 3
        second.on_start(STAGE, Held())
        for port, count in ((first.metrics_port, 0), (second.metrics_port, 1)):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
                assert reply.read().decode().count('tidegate_in_flight{stage="prefilter"} 1.0') == count
    with open_telemetry(settings) as again:
        assert again.metrics_port == free_port


def test_no_port_is_opened_where_none_is_configured() -> None:
    with open_telemetry(Settings()) as telemetry:
        assert telemetry.metrics_port == 0


def test_an_address_that_cannot_be_used_is_reported_with_a_hint(tmp_path: Path) -> None:
    made = CertificateAuthority(tmp_path / "authority").issue(tmp_path / "own", ["site1"])
    tls = MetricsTlsSettings(certificate=str(made.certificate), key=str(made.key), authority=str(made.authority))
    settings = Settings(metrics_host="192.0.2.1", metrics_port=9464, metrics_tls=tls)
    with (
        pytest.raises(MetricsAddressError, match=r"no metrics on 192\.0\.2\.1:9464") as refused,
        open_telemetry(settings),
    ):
        pass
    assert "metrics_host" in refused.value.hint


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def _no_context_left() -> Any:
    yield
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (PARENT, "0af7651916cd43dd8448eb211c80319c"),
        (PARENT.replace("00-", "01-", 1) + "-more", "0af7651916cd43dd8448eb211c80319c"),
        ("", ""),
        (PARENT.upper(), ""),
        (PARENT + "-more", ""),
        (PARENT.replace("00-", "ff-", 1), ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", ""),
        ("00-0af7-b7ad-01", ""),
    ],
)
def test_a_traceparent_is_read_by_the_rules_of_w3c(header: str, trace_id: str) -> None:
    assert trace.trace_id_of({"traceparent": header}) == trace_id
    followed = trace.trace_id_of({"traceparent": trace.follow(header)})
    assert followed == trace_id if trace_id else followed


def test_a_delivery_without_the_header_belongs_to_no_trace() -> None:
    assert trace.trace_id_of({"Nats-Msg-Id": "q1"}) == ""


@given(st.text())
def test_following_any_header_gives_one_that_can_be_read(header: str) -> None:
    assert trace.trace_id_of({"traceparent": trace.follow(header)})


def test_the_next_hop_keeps_the_trace_and_its_flags_but_not_the_span() -> None:
    version, trace_id, span_id, flags = trace.follow(PARENT.replace("-01", "-00")).split("-")
    assert (version, trace_id, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "00")
    assert span_id != PARENT.split("-")[2]
    assert trace.follow("").endswith("-01")
    assert trace.follow("") != trace.follow("")
