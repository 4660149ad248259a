"""Who is no operator of a machine reads neither what its processes count, by tenant and site, nor what its nats-server
tells of everybody: those doors are open to the machine itself, or ask for a certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from tidegate.brokers.process.metrics_server import (
    MetricsAddressError,
    MetricsExposedError,
    context_of,
    serve_metrics,
)
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.kept_server import KeptServer, MonitorExposedError
from tidegate.brokers.servers.ports import choose_port
from tidegate.brokers.settings import MetricsTlsSettings, ProcessSettings
from tidegate.services.fleet.certificates import CertificateAuthority

HOST = "127.0.0.1"


def certificates(path: Path, name: str = "good") -> conf.TlsFiles:
    return CertificateAuthority(path / f"authority of {name}").issue(path / name, ["site1"])


def tls_of(files: conf.TlsFiles) -> MetricsTlsSettings:
    return MetricsTlsSettings(certificate=str(files.certificate), key=str(files.key), authority=str(files.authority))


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("tidegate_answers", "Of a tenant.", ["tenant"], registry=registry).labels("bank").inc()
    return registry


@contextlib.contextmanager
def served(registry: CollectorRegistry, files: conf.TlsFiles) -> Iterator[int]:
    settings = ProcessSettings(metrics_host=HOST, metrics_port=choose_port(HOST, ()), metrics_tls=tls_of(files))
    with serve_metrics(settings, registry) as port:
        yield port


def read(port: int, authority: Path, shown: conf.TlsFiles | None = None) -> str:
    """What Prometheus reads that believes the authority and shows these. Raises `OSError`."""
    context = ssl.create_default_context(cafile=str(authority))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    with urllib.request.urlopen(f"https://{HOST}:{port}/metrics", timeout=5, context=context) as reply:
        text: str = reply.read().decode()
        return text


@given(st.ip_addresses().map(str) | st.sampled_from(["", "0.0.0.0", "::", "localhost", "site1", "127.0.0.1.example"]))
def test_metrics_are_in_clear_for_the_machine_itself_alone(host: str) -> None:
    is_own = host in ("localhost", "::1") or (host.startswith("127.") and "example" not in host)
    with contextlib.nullcontext() if is_own else pytest.raises(MetricsExposedError, match="anybody could read"):
        assert context_of(ProcessSettings(metrics_host=host)) is None


@pytest.mark.parametrize("missing", ["certificate", "key", "authority"])
def test_a_certificate_without_an_authority_of_readers_lets_nobody_in(missing: str) -> None:
    given_ = {"certificate": "tls.pem", "key": "tls.key", "authority": "ca.pem", missing: ""}
    for host in (HOST, "0.0.0.0"):
        with pytest.raises(MetricsExposedError):
            context_of(ProcessSettings(metrics_host=host, metrics_tls=MetricsTlsSettings(**given_)))
    with pytest.raises(MetricsAddressError, match="files that are none"):
        context_of(ProcessSettings(metrics_tls=MetricsTlsSettings(certificate="a", key="b", authority="c")))


def test_others_read_metrics_by_a_certificate_of_the_authority_and_not_without(
    tmp_path: Path, registry: CollectorRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    files, foreign = certificates(tmp_path), certificates(tmp_path, "foreign")
    with served(registry, files) as port, socket.create_connection((HOST, port)) as silent:
        silent.sendall(b"\x16")  # the handshake is begun and never ended: nobody waits for it
        assert 'tidegate_answers_total{tenant="bank"} 1.0' in read(port, files.authority, files)
        for shown in (None, foreign):
            with pytest.raises(OSError, match=r"(?i)alert|reset|closed|EOF"):
                read(port, files.authority, shown)
        with pytest.raises(OSError, match=r"(?i)reset|closed|EOF|remote end"):
            urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5)
        assert "bank" in read(port, files.authority, files), "and nothing has ended"
    assert capfd.readouterr() == ("", ""), "a stranger fills no log"


@pytest.mark.anyio
@pytest.mark.parametrize("monitor", ["0.0.0.0:-1", ":-1", "127.0.0.1:-1"])
async def test_a_server_that_others_could_monitor_is_not_kept_up(tmp_path: Path, monitor: str) -> None:
    files = certificates(tmp_path)
    full = {**conf.plain("site1"), **conf.listener("0.0.0.0", choose_port(HOST, ()), files), "http": monitor}
    full["jetstream"] = {"store_dir": str(tmp_path / "store"), **full["jetstream"]}
    file = tmp_path / "nats.conf"
    file.write_text(conf.render(full))
    kept = KeptServer("site1", file)
    is_own = monitor.startswith(HOST)
    try:
        with contextlib.nullcontext() if is_own else pytest.raises(MonitorExposedError, match="monitoring port"):
            await kept.start()
        assert (kept.pid is not None) == is_own
    finally:
        kept.kill()
