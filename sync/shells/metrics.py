"""What a sync worker counts and measures, for Prometheus. Next: status.py, the same for people."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from tidegate.schemas.replica import CollectionStatus, RepairOutcome

LABELS = ("tenant", "collection")
LAG = Gauge("tidegate_sync_lag", "Deltas of the hub's log that are not applied here, as far as is known.", LABELS)
PENDING = Gauge("tidegate_sync_pending", "Own edits that the hub's log is not known to have.", LABELS)
CONFLICTS = Gauge("tidegate_sync_conflicts", "Documents with versions that were written apart.", LABELS)
AGE = Gauge("tidegate_sync_age_seconds", "Seconds since it was last known that nothing was lacking here.", LABELS)
DOCUMENTS = Gauge("tidegate_sync_documents", "Documents that are held, tombstones included.", LABELS)
APPLIED = Counter("tidegate_sync_applied", "Deltas of the hub's log that were applied as they arrived.", LABELS)
REPAIRED = Counter("tidegate_sync_repaired", "Documents that a comparison found different.", (*LABELS, "cause"))
REPAIR_BYTES = Counter("tidegate_sync_repair_bytes", "Bytes that comparisons and repairs sent and got.", LABELS)


def show(status: CollectionStatus, age_s: float) -> None:
    """Have the gauges say what a status says."""
    labels = (status.tenant, status.collection)
    LAG.labels(*labels).set(status.lag)
    PENDING.labels(*labels).set(status.pending)
    CONFLICTS.labels(*labels).set(status.conflicts)
    DOCUMENTS.labels(*labels).set(status.documents)
    AGE.labels(*labels).set(age_s)


def count_repairs(outcome: RepairOutcome) -> None:
    """Count what a repair found."""
    REPAIR_BYTES.labels(outcome.tenant, outcome.collection).inc(outcome.bytes_on_wire)
    for cause, documents in outcome.documents.items():
        REPAIRED.labels(outcome.tenant, outcome.collection, cause).inc(len(documents))
