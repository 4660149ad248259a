"""Whose documents an answer may rest on: those that somebody signed, or those that were signed by whom a policy trusts.

Pure. Promises that one source too many refuses the answer. Next: services/policies/evaluation.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tidegate.schemas import Citation

REQUIRE_SIGNED, TRUSTED_SIGNERS = "require_signed", "trusted_signers"
SOURCES = (REQUIRE_SIGNED, TRUSTED_SIGNERS)
"""Keys of a policy about sources; the second takes sites and `hub`, and requires a signature too."""


@dataclass(frozen=True)
class SourceRules:
    """What one policy asks of sources; `trusted` is empty where whoever signed will do."""

    require_signed: bool = False
    trusted: frozenset[str] = frozenset()

    @property
    def rule(self) -> str:
        """The key that acts; empty where nothing is asked."""
        return TRUSTED_SIGNERS if self.trusted else REQUIRE_SIGNED if self.require_signed else ""

    def find_fault(self, signer: str) -> str:
        """Why what `signer` signed, as a citation names it, is no source; empty where it is one."""
        if not self.rule:
            return ""
        if not signer:
            return "is signed by nobody"
        strangers = sorted({who for who in names_of(signer) if self.trusted and who not in self.trusted})
        return f"is signed by {', '.join(strangers)}" if strangers else ""


def names_of(signer: str) -> Iterator[str]:
    """The sites, or the hub, that signed: a document that was merged has several signers."""
    return (each.partition("/")[0] for each in signer.split())


def judge_sources(rules: SourceRules, citations: Iterable[Citation]) -> tuple[bool, str]:
    """Whether an answer may rest on what it cites, and why or why not."""
    cited = {each.document_id: each.signer for each in citations}
    faults = [f"{name} {fault}" for name, signer in cited.items() if (fault := rules.find_fault(signer))]
    if faults:
        return False, "; ".join(faults)
    return True, f"{len(cited)} document(s) signed by {', '.join(sorted(set(cited.values())))}"
