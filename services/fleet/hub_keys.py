"""The keys of a hub and its repository, as files: what is made, who may sign, and how sites hear of it.

Promises that a key is in the register before it is used, and that what is there already is not made again. Next:
provision.py; sync/trust/keys.py, repository.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.schemas.subjects import HUB
from tidegate.schemas.trust import KeyRole, TrustedKey
from tidegate.sync.trust.keys import KeyStore, Passphrases
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.roles import TUF_ROLES, RoleKeys, Signers, TufRole
from tidegate.sync.trust.targets import KEYS, target_of

NewPassphrases = Callable[[KeyRole], bytes | None]
"""The passphrase of a new key of a role; None: it is not encrypted."""


def passphrase_variable(role: KeyRole) -> str:
    """The environment variable with the passphrase of keys of this role."""
    return "TIDEGATE_ROOT_PASSPHRASE" if role == "root" else "TIDEGATE_KEYS_PASSPHRASE"


def passphrase_in_environment(key: TrustedKey) -> bytes | None:
    """The passphrase of a key, where nobody can be asked; see `Passphrases`."""
    known = os.environ.get(passphrase_variable(key.role))
    return known.encode() if known else None


def new_passphrase_in_environment(role: KeyRole) -> bytes | None:
    """The passphrase of a new key; see `NewPassphrases`."""
    known = os.environ.get(passphrase_variable(role))
    return known.encode() if known else None


class KeyPlaces(msgspec.Struct, frozen=True):
    """Where keys and repository are, and the time of the command."""

    store: KeyStore
    root_store: KeyStore
    repository: Repository
    now_ms: int
    passphrases: Passphrases = passphrase_in_environment

    @classmethod
    def of(cls, keys: Path, repository: Path, now_ms: int) -> KeyPlaces:
        """Keys below one directory, those of the root among them."""
        return cls(KeyStore(keys), KeyStore(keys), Repository(repository), now_ms)

    def store_of(self, role: KeyRole) -> KeyStore:
        """Where private keys of this role are kept."""
        return self.root_store if role == "root" else self.store

    def signers(self) -> Signers:
        """What signs for the repository: its good keys whose private halves are here."""
        keys = [key for role in TUF_ROLES for key in self.store.good(role, HUB, self.now_ms)]
        held = [key for key in keys if self.store_of(key.role).has_private(key.key_id)]
        return {key.key_id: self.store_of(key.role).signer(key.key_id, self.now_ms, self.passphrases) for key in held}

    def generate(self, role: KeyRole, owner: str, passphrases: NewPassphrases) -> TrustedKey:
        """Make a key where those of its role are kept, and admit it."""
        key = self.store_of(role).generate(role, owner, self.now_ms, passphrase=passphrases(role))
        self.store.admit(key)
        return key

    def make_missing(
        self, role: KeyRole, owner: str, count: int = 1, passphrases: NewPassphrases = new_passphrase_in_environment
    ) -> tuple[TrustedKey, ...]:
        """As many good keys of a role as are wanted; those that an earlier try has made are among them."""
        held = () if self.store.is_empty else self.store.good(role, owner, self.now_ms)
        return (*held, *(self.generate(role, owner, passphrases) for _ in range(count - len(held))))

    def create_repository(self, root_threshold: int = 1) -> None:
        """Make the hub's repository, and publish the keys that sites judge by."""
        roles: dict[TufRole, RoleKeys] = {
            role: RoleKeys(self.store.good(role, HUB, self.now_ms), root_threshold if role == "root" else 1)
            for role in TUF_ROLES
        }
        self.repository.create(roles, self.signers(), self.now_ms)
        self.publish_register()

    def publish_register(self) -> None:
        """Have all sites know which keys are trusted; a site has no repository, and publishes to nobody."""
        if not self.repository.exists:
            return
        target, _ = target_of(self.store.published())
        known = self.repository.state().targets.targets.get(KEYS)
        if known is None or known.hashes != target.hashes:
            self.repository.publish([self.store.published()], self.signers(), self.now_ms)
