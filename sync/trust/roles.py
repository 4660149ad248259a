"""The roles of the repository: who may sign what, how long it holds, and how a key is exchanged without a gap.

A change of root is signed by the old keys and the new ones (TUF specification §6.1); a role is never left with fewer
good keys than its threshold. Next: repository.py, which orders the writes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar, get_args

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Role, Root, Snapshot, Targets, Timestamp

from tidegate.schemas.trust import TrustedKey
from tidegate.sync.trust.faults import ThresholdNotMetError, TrustError, UnknownKeyError
from tidegate.sync.trust.keyring import public_key

TufRole = Literal["root", "targets", "snapshot", "timestamp"]
TUF_ROLES: tuple[TufRole, ...] = get_args(TufRole)
HUB_TIME = "x-tidegate-hub-time-ms"
"""The field of a timestamp with the time of the hub when it signed: how a site learns how current it is."""
Signers = Mapping[str, CryptoSigner]
"""What signs, by the id of the key; those of other roles are left alone."""
S = TypeVar("S", Root, Targets, Snapshot, Timestamp)


class LastKeyError(TrustError):
    """Without this key a role has fewer keys than must sign."""

    hint = "give the role another key first: `tidegate keys rotate ROLE`"


class RoleKeys(msgspec.Struct, frozen=True):
    """The keys of a role, and how many of them must sign."""

    keys: tuple[TrustedKey, ...]
    threshold: int = 1


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """For how long a signature of each role holds. A short one of the timestamp ends no site's service: a site that is
    offline ages by the budgets of what it holds (see sync/rules/staleness.py)."""

    root_s: int = 365 * 86_400
    targets_s: int = 90 * 86_400
    snapshot_s: int = 30 * 86_400
    timestamp_s: int = 86_400

    def end(self, role: TufRole, now_ms: int) -> datetime:
        """When what is signed now expires."""
        lasts_s = {
            "root": self.root_s,
            "targets": self.targets_s,
            "snapshot": self.snapshot_s,
            "timestamp": self.timestamp_s,
        }
        return moment(now_ms + lasts_s[role] * 1000)


def moment(ms: int) -> datetime:
    """A time in whole seconds, as TUF writes it."""
    return datetime.fromtimestamp(ms // 1000, UTC)


def first_root(roles: Mapping[TufRole, RoleKeys], expires: datetime) -> Root:
    """A root with these keys. Raises `ThresholdNotMetError` where a role has fewer than its threshold."""
    root = Root(version=1, expires=expires, consistent_snapshot=True)
    for name in TUF_ROLES:
        held = roles[name]
        if not 1 <= held.threshold <= len({key.key_id for key in held.keys}):
            raise ThresholdNotMetError(f"{name}: {held.threshold} of {len(held.keys)} keys cannot sign")
        root.roles[name] = Role([], held.threshold)
        for key in held.keys:
            root.add_key(public_key(key), name)
    return root


def next_root(root: Root, expires: datetime) -> Root:
    """A copy of the root, one version on."""
    after = copy.deepcopy(root)
    after.version += 1
    after.expires = expires
    return after


def without_key(root: Root, key_id: str, expires: datetime) -> tuple[Root, tuple[TufRole, ...]]:
    """The next root, where this key signs nothing any more, and the roles that had it.

    Raises `UnknownKeyError`, and `LastKeyError` where a role would have fewer keys than its threshold.
    """
    had = tuple(role for role in TUF_ROLES if key_id in root.roles[role].keyids)
    if not had:
        raise UnknownKeyError(f"{key_id} is no key of the repository", "`tidegate keys list` shows whose it is")
    after = next_root(root, expires)
    for role in had:
        after.revoke_key(key_id, role)
        left = after.roles[role]
        if len(left.keyids) < left.threshold:
            raise LastKeyError(f"{role} would have {len(left.keyids)} keys, and {left.threshold} must sign")
    return after, had


def sign_root(root: Root, signers: Signers, before: Root | None = None) -> bytes:
    """The root as a file, signed by the keys of its own, and of the one before. Raises `ThresholdNotMetError`."""
    key_ids = [*root.roles["root"].keyids, *(before.roles["root"].keyids if before else ())]
    return _sign(root, signers, key_ids, [root, before] if before else [root])


def sign_role(signed: S, root: Root, signers: Signers) -> bytes:
    """The metadata of a role as a file, signed with its keys that are here. Raises `ThresholdNotMetError`."""
    return _sign(signed, signers, root.roles[signed.type].keyids, [root])


def _sign(signed: S, signers: Signers, key_ids: Sequence[str], judges: Sequence[Root]) -> bytes:
    metadata = Metadata(signed)
    for key_id in dict.fromkeys(key_ids):
        if key_id in signers:
            metadata.sign(signers[key_id], append=True)
    for judge in judges:
        try:
            judge.verify_delegate(signed.type, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError as error:
            role = judge.roles[signed.type]
            signed_by = f"{len(metadata.signatures)} of the {len(role.keyids)} keys signed"
            raise ThresholdNotMetError(f"{signed.type}: {signed_by}, {role.threshold} must") from error
    return metadata.to_bytes()
