"""The key that a domain signs its documents with, and the register that everybody's are checked by.

Promises an error that says how keys are made where there are none. Next: services/replication, which signs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tidegate.schemas import KeyRegister, TidegateError, TrustedKey, decode, encode_json
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.authors import AuthorSigner, KeyringVerifier
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.keys import REGISTER, KeyStore


class AuthorKeyMissingError(TidegateError, LookupError):
    """This domain has no key to sign documents with."""

    hint = "`tidegate keys init` makes the hub's keys, `tidegate site add NAME` provisions a site"


def has_author_key(settings: Settings) -> bool:
    """Whether the domain of the settings was given a key to sign documents with."""
    return bool(_good_keys(settings))


def open_author_signer(settings: Settings) -> AuthorSigner:
    """What signs the documents of the domain. Raises `AuthorKeyMissingError`, and what `KeyStore.signer` raises."""
    keys = _good_keys(settings)
    if not keys:
        reason = f"{settings.site} has no author key in {StatePaths(settings).keys}"
        hint = "`tidegate keys init` makes it" if settings.site == HUB else f"`tidegate site add {settings.site}` does"
        raise AuthorKeyMissingError(reason, hint)
    return AuthorSigner(KeyStore(StatePaths(settings).keys).signer(keys[0], _now_ms()))


def open_author_verifier(settings: Settings) -> KeyringVerifier:
    """What checks the documents of all authors, by the register of this machine as it is when it is asked."""
    return KeyringVerifier(RegisterKeyring(settings).read)


def known_author_keys(settings: Settings) -> tuple[TrustedKey, ...]:
    """The author keys of all domains: those in the register of this machine, and at a site those that the hub has
    published since it was provisioned. What either calls revoked is. Raises `KeysMissingError`, `UnreadableError`.
    """
    paths = StatePaths(settings)
    known = {key.key_id: key for key in KeyStore(paths.keys).register().keys}
    if paths.known_keys.exists():
        published = decode(paths.known_keys.read_bytes(), KeyRegister).keys
        known |= {key.key_id: key for key in published if not _is_revoked(known.get(key.key_id))}
    return tuple(key for key in known.values() if key.role == "author")


def keep_known_keys(settings: Settings, keys: Sequence[TrustedKey]) -> None:
    """At a site: keep what the hub has published, for processes that do not follow it. Raises `OSError`."""
    file, data = StatePaths(settings).known_keys, encode_json(KeyRegister(keys=tuple(keys)))
    if not file.exists() or file.read_bytes() != data:
        replace_file(file, data, PRIVATE)


def _is_revoked(key: TrustedKey | None) -> bool:
    return key is not None and bool(key.revoked_at_ms)


class RegisterKeyring:
    """The keyring of a register that may change: read again where its file was replaced."""

    def __init__(self, settings: Settings) -> None:
        self._store = KeyStore(StatePaths(settings).keys)
        self._file = StatePaths(settings).keys / REGISTER
        self._read_at = (-1, -1)
        self._keyring = Keyring(())

    def read(self) -> Keyring:
        """The keyring as of now. Raises `KeysMissingError`, `UnreadableError`, `WrongKeyError`."""
        found = self._file.stat() if self._file.exists() else None
        written_at = (found.st_mtime_ns, found.st_ino) if found else (0, 0)
        if written_at != self._read_at:
            self._keyring = Keyring.of(self._store.published())
            self._read_at = written_at
        return self._keyring


def _good_keys(settings: Settings) -> tuple[str, ...]:
    """The ids of the domain's author keys, the newest first."""
    store = KeyStore(StatePaths(settings).keys)
    if store.is_empty:
        return ()
    good = store.good("author", settings.site, _now_ms())
    return tuple(key.key_id for key in good if store.has_private(key.key_id))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
