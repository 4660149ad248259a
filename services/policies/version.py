"""The version of a policy: a digest of what it says, whatever the order and the form that it is written in.

Pure. Promises that a policy which says nothing of a new key keeps its version. Next: services/policies/language.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def version_of(canonical: str) -> str:
    """The first 12 hex digits of the sha256 of a policy's canonical JSON."""
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def canonical_policy(
    id: str, verbs: Mapping[str, tuple[str, ...]], thresholds: Mapping[str, Any], others: Mapping[str, Any]
) -> str:
    """The policy's canonical JSON: sorted keys, no white space, all keys but those of `others`, which are there where
    they say something: what was written before them keeps its version."""
    policy: dict[str, object] = {"policy_id": id, **verbs, "abstain_thresholds": thresholds}
    policy |= {key: sorted(each) if isinstance(each, tuple) else each for key, each in others.items() if each}
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))
