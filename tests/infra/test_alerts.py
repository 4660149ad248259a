"""Alerts rest on series, stages and outcomes that there are."""

from __future__ import annotations

import io
import re
from typing import Any, get_args

import pytest
import structlog
from ruamel.yaml import YAML

from tests.support.paths import ROOT
from tidegate.brokers.process.loop_watch import metrics_of_loop
from tidegate.brokers.process.telemetry import Telemetry
from tidegate.brokers.worker import DeliveryOutcome
from tidegate.services.evidence.metrics import METRICS as AUDIT
from tidegate.services.fleet.stream_fills import METRICS as FILLS
from tidegate.services.pipeline import WORKERS
from tidegate.services.uplink.stream_check import RESTORED

INFRA = ROOT / "infra"
FOREIGN_METRICS = {"up", "gnatsd_varz_leafnodes"}


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load((INFRA / "prometheus/rules.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture
def metrics() -> set[str]:
    """The names of every series that a worker exposes, and of those that the router, the audit worker and whoever
    watches the streams add."""
    try:
        registry = Telemetry("site1", output=io.BytesIO(), level="info").registry
    finally:
        structlog.reset_defaults()
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    metrics_of_loop(registry)
    others = [AUDIT.refused, AUDIT.signed, AUDIT.witnessed, FILLS.share]
    families = [*registry.collect(), *RESTORED.collect(), *(each for metric in others for each in metric.collect())]
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_rests_on_series_stages_and_verdicts_that_there_are(rule: dict[str, Any], metrics: set[str]) -> None:
    expression = rule["expr"]
    used = set(re.findall(r"\b(?:tidegate|gnatsd)_\w+|\bup\b", expression))

    assert used
    assert used <= metrics | FOREIGN_METRICS
    stages = re.findall(r'stage[=!]~?"([^"]+)"', expression)
    assert {name for names in stages for name in names.split("|")} <= set(WORKERS)
    assert set(re.findall(r'outcome="([^"]+)"', expression)) <= set(get_args(DeliveryOutcome))
    assert expression.count("(") == expression.count(")")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description"} <= set(rule["annotations"])


def test_dead_letters_the_leaf_link_and_the_age_of_queues_raise_an_alert() -> None:
    alerts = {rule["alert"] for rule in rules()}
    expected = {"TidegateDeadLetterRate", "TidegateLeafLinkDown", "TidegateLinkLosesMessages", "TidegateQueueAge"}
    assert expected <= alerts
