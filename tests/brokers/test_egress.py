"""Nothing leaves for another host without a permit for that host, that purpose and that data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.egress import DATA, PURPOSES, EgressDeniedError, EgressGate, EgressPermitError, is_own
from tidegate.brokers.process.spans import ENDPOINT, TRACES_ENDPOINT, open_tracer
from tidegate.schemas import Artefact

HOSTS = st.sampled_from(["llm.example", "otel.example", "10.0.0.7", "llm.example.evil.example"])
PORTS = st.sampled_from([443, 80, 8443])
PURPOSE, DATUM = st.sampled_from(PURPOSES), st.sampled_from(DATA)


@given(
    permits=st.lists(st.tuples(HOSTS, PORTS, PURPOSE, DATUM), max_size=5),
    host=HOSTS,
    port=PORTS,
    purpose=PURPOSE,
    data=DATUM,
)
def test_what_may_leave_is_what_some_permit_says_and_nothing_else(
    permits: list[tuple[str, int, str, str]], host: str, port: int, purpose: str, data: str
) -> None:
    settings: dict[str, str] = {}
    for named, at, why, what in permits:
        key = f"{named}:{at}"
        settings[key] = ", ".join(filter(None, (settings.get(key, ""), f"{why} {what}")))
    gate = EgressGate.of(settings)
    fit = [
        (named, at, why)
        for named, at, why, what in permits
        if (named, at, why) == (host, port, purpose) and list(DATA).index(data) <= list(DATA).index(what)  # type: ignore[arg-type]
    ]
    url = f"https://{host}:{port}/v1"
    if not fit:
        with pytest.raises(EgressDeniedError, match=host):
            gate.check(url, purpose, data)  # type: ignore[arg-type]
        return
    permit = gate.check(url, purpose, data)  # type: ignore[arg-type]
    assert permit is not None
    assert (permit.host, permit.port, permit.purpose) in fit


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://llm.example/v1", True),
        ("https://LLM.example:443/v1", True),
        ("http://llm.example/v1", False),
        ("https://llm.example:8443/v1", False),
        ("https://llm.example@evil.example/v1", False),
        ("https://evil.example/llm.example", False),
        ("https://sub.llm.example/", False),
        ("https://llm.example:99999/", False),
        ("", False),
        ("http://127.0.0.1:9999/v1", True),
        ("http://[::1]:9999/v1", True),
        ("http://localhost:9999/v1", True),
        ("http://localhost.evil.example/", False),
        ("http://0.0.0.0:80/", False),
        ("http://127.1/", False),
    ],
)
def test_a_host_is_the_one_that_would_be_spoken_to(url: str, permitted: bool) -> None:
    gate = EgressGate.of({"llm.example": "inference documents"})
    if permitted:
        gate.check(url, "inference", "documents")
    else:
        with pytest.raises(EgressDeniedError):
            gate.check(url, "inference", "documents")


def test_a_receipt_names_the_host_the_purpose_and_the_data() -> None:
    permit = EgressGate.of({"llm.example": "inference documents"}).check(
        "https://llm.example", "inference", "questions"
    )
    assert permit is not None
    assert permit.artefact == Artefact("egress", "llm.example:443", "inference/documents")


@pytest.mark.parametrize(
    "settings",
    [{"llm.example": "inference"}, {"llm.example": "everything documents"}, {"*": "inference documents"},
     {"llm.example:0": "inference documents"}, {"https://llm.example": "inference documents"}, {"a": ""}],
)  # fmt: skip
def test_a_permit_that_cannot_be_read_is_named(settings: dict[str, str]) -> None:
    with pytest.raises(EgressPermitError, match="egress"):
        EgressGate.of(settings)


def test_spans_go_to_no_collector_that_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv(TRACES_ENDPOINT, "https://otel.example/v1/traces")
    with pytest.raises(EgressDeniedError, match=r"otel\.example"), open_tracer("site1", EgressGate()):
        pass
    with (
        pytest.raises(EgressDeniedError, match="metadata"),
        open_tracer("site1", EgressGate.of({"otel.example": "inference documents"})),
    ):
        pass
    with open_tracer("site1", EgressGate.of({"otel.example": "telemetry metadata"})) as tracer:
        assert tracer is not None


def test_this_machine_is_known_by_what_can_be_no_other() -> None:
    assert [host for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "localhost.", "") if is_own(host)] == [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "localhost",
    ]
