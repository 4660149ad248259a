"""Why a replica drifted, as a table from evidence to cause."""

from __future__ import annotations

import itertools

import pytest

from tidegate.sync.rules.drift import CAUSES, DriftCause, DriftEvidence, RepairReport, cause_of, report

WAS, IS = "0.1.0", "0.2.0"


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (DriftEvidence(storage_checksum_ok=False), "disk"),
        (DriftEvidence(storage_checksum_ok=False, signature_ok=False), "disk"),  # a flipped byte fails both
        (DriftEvidence(signature_ok=False), "tamper"),
        (DriftEvidence(leg="vectors", derived_ok=False, made_by=WAS, code_version=IS), "code-version"),
        (DriftEvidence(leg="vectors", derived_ok=False, made_by=IS, code_version=IS), "tamper"),
        (DriftEvidence(leg="keywords", storage_checksum_ok=False, made_by=WAS, code_version=IS), "disk"),
        (DriftEvidence(made_by=WAS, code_version=IS), "unknown"),  # a document is not made by code
        (DriftEvidence(is_stored=False), "lost-delta"),
        (DriftEvidence(is_stored=False, signature_ok=False), "lost-delta"),  # of nothing there is no signature
        (DriftEvidence(leg="vectors", is_stored=False, derived_ok=False), "lost-delta"),
        (DriftEvidence(is_stored=False, is_covered=False), "unknown"),
        (DriftEvidence(is_behind_replica=True, storage_checksum_ok=False), "origin-rolled-back"),
        (DriftEvidence(), "unknown"),
    ],
)
def test_evidence_has_one_cause(evidence: DriftEvidence, cause: DriftCause) -> None:
    assert cause_of(evidence) == cause


def test_whatever_the_evidence_there_is_a_cause() -> None:
    found = {
        cause_of(DriftEvidence(leg="vectors", is_behind_replica=a, is_stored=b, storage_checksum_ok=c, signature_ok=d))
        for a, b, c, d in itertools.product((False, True), repeat=4)
    }
    assert found <= set(CAUSES)


def test_a_report_names_each_document_under_its_cause_the_worst_first() -> None:
    lost, disk = DriftEvidence(is_stored=False), DriftEvidence(storage_checksum_ok=False)
    summary = report([("c", lost), ("b", disk), ("a", lost)], bytes_on_wire=1200)
    assert summary == RepairReport(documents={"disk": ("b",), "lost-delta": ("a", "c")}, bytes_on_wire=1200)
    assert list(summary.documents) == ["disk", "lost-delta"]
    assert summary.cause == "disk"
    assert report([]).cause is None
