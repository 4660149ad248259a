"""What an audit worker shows of its log: how long it is, how much of it is witnessed, which heads were refused."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class AuditMetrics:
    """Gauges of one domain's log, and a counter of what nobody may ever do."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.size = Gauge("tidegate_audit_entries", "Entries of the audit log.", registry=registry)
        self.signed = Gauge("tidegate_audit_signed", "Entries under a signed head.", registry=registry)
        self.witnessed = Gauge("tidegate_audit_witnessed", "Entries under a witnessed head.", registry=registry)
        refused = "Heads of audit logs that were refused: whose log, and why."
        self.refused = Counter("tidegate_audit_heads_refused", refused, ["domain", "fault"], registry=registry)


METRICS = AuditMetrics()
