"""A site's end of the exchange of its own keys: makes them, has the hub admit them, and then signs with them.

A private key is on this disk before the hub hears of the public one, and signs nothing before the hub has admitted it;
an exchange that was cut goes on with the same key. Next: lease_link.py, the hub's end; trust/succession.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tidegate.brokers.base import CoreClient
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.subjects import lease_of
from tidegate.schemas.trust import KeyRole, KeysRotated, KeySuccession, RotateKeys, SucceedKey, TrustedKey
from tidegate.sync.shells.lease_requests import ask_hub
from tidegate.sync.shells.wire_faults import fault_of
from tidegate.sync.trust.identity import IdentityFile, SiteIdentity
from tidegate.sync.trust.keys import KeyStore, Passphrases
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.succession import sign_succession


class RotationPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What keys are exchanged with. `waiting` keeps the keys that the hub has not admitted yet; `new_passphrase` is
    that of a new key of a role (None: it is not encrypted), `passphrases` those of keys that are here."""

    bus: CoreClient
    identity: IdentityFile
    keys: LiveKeys
    waiting: KeyStore
    now_ms: Callable[[], int]
    passphrases: Passphrases
    new_passphrase: Callable[[KeyRole], bytes | None]


class SiteKeyRotation:
    """One site. `rotated` is called when a new key signs."""

    def __init__(self, ports: RotationPorts, rotated: Callable[[], None]) -> None:
        self._ports = ports
        self._rotated = rotated
        self._rotating = asyncio.Lock()

    async def answer(self, data: bytes) -> bytes:
        """What answers `replica.rotate`: `KeysRotated`, or why not."""
        try:
            asked = decode(data, RotateKeys)
            return encode(await self.rotate(asked.roles, asked.overlap_s))
        except (TidegateError, OSError) as error:
            return encode(fault_of(error))

    async def rotate(self, roles: Sequence[KeyRole], overlap_s: int) -> KeysRotated:
        """Give roles of this site new keys, one by one; those before stay good for `overlap_s` seconds.

        Raises `UnreachableError`, `HubRefusedError`, and what `LiveKeys.newest` and `KeyStore.signer` raise. What the
        hub did not admit is offered again by the next call.
        """
        async with self._rotating:
            identity = await asyncio.to_thread(self._ports.identity.load)
            done = [await self._rotate(identity, role, overlap_s) for role in roles]
        self._rotated()
        return KeysRotated(
            keys=tuple(key for each in done for key in each.keys),
            before=tuple(key for each in done for key in each.before),
        )

    async def _rotate(self, identity: SiteIdentity, role: KeyRole, overlap_s: int) -> KeysRotated:
        signed = await asyncio.to_thread(self._sign, identity, role, overlap_s)
        admitted = await ask_hub(self._ports.bus, lease_of(identity.site), signed, KeysRotated)
        await asyncio.to_thread(self._take_over, admitted)
        return admitted

    def _sign(self, identity: SiteIdentity, role: KeyRole, overlap_s: int) -> SucceedKey:
        ports, now_ms = self._ports, self._ports.now_ms()
        key = self._waiting(identity.site, role, now_ms)
        new = ports.waiting.signer(key.key_id, now_ms, ports.passphrases)
        succession = KeySuccession(site=identity.site, incarnation=identity.incarnation, key=key, overlap_s=overlap_s)
        return sign_succession(succession, ports.keys.newest(role, now_ms), new)

    def _waiting(self, site: str, role: KeyRole, now_ms: int) -> TrustedKey:
        """The key that is to come: one that an earlier call has made, or a new one."""
        store = self._ports.waiting
        known = () if store.is_empty else store.good(role, site, now_ms)
        made = [key for key in known if store.has_private(key.key_id)]
        return made[0] if made else store.generate(role, site, now_ms, passphrase=self._ports.new_passphrase(role))

    def _take_over(self, admitted: KeysRotated) -> None:
        for key in admitted.keys:
            self._ports.keys.store.take_over(key, self._ports.waiting.hand_over(key.key_id))
            self._ports.waiting.forget_private(key.key_id)
        for key in admitted.before:
            self._ports.keys.store.admit(key)
            self._ports.keys.store.expire(key.key_id, key.expires_at_ms)
