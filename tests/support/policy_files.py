"""The white paper's policy, and any policy as the file of a pack states it."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.policies.language import load_policy
from tidegate.services.policies.policy import Policy

WHITE_PAPER = """\
policy_id: safe-answers-v3
allow:
  - grounded_claims
transform:
  - redact_pii
block:
  - speculative_financial_promises
abstain_thresholds:
  entailment: 0.85
"""


def policy(tmp_path: Path, text: str = WHITE_PAPER, name: str = "p.yaml") -> Policy:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_policy(path)
