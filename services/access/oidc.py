"""Bearer tokens of an OpenID provider (RFC 7519, OpenID Connect Core 1.0), checked with a key set that is a file.

Only signatures by a public key are taken: with a shared secret, or none at all, whoever reads the key set could write
tokens (RFC 8725, 2.1). Next: callers.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jwt
import msgspec

from tidegate.schemas.access import Caller, Role
from tidegate.schemas.message import Name
from tidegate.services.access.faults import CredentialRefusedError, OidcSettingsError
from tidegate.services.access.settings import OidcSettings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
REQUIRED = ("exp", "iss", "aud", "sub")
MOST_CHARS = 8192
LEAST_RSA_BITS = 2048
"""RFC 7518, 3.3."""
_SUBJECT = re.compile(r"[!-~]{1,255}")


class OidcTokens:
    """Checks tokens of one provider."""

    def __init__(self, settings: OidcSettings, now_ms: Callable[[], int] = lambda: 0) -> None:
        """`now_ms` is a clock that is not set back: what has ended by it is refused, whatever the wall clock says.

        Raises `OidcSettingsError` where no token could be checked.
        """
        if not settings.keys_file:
            raise OidcSettingsError("`gateway.oidc.issuer` is set, and `keys_file` is not")
        self._settings = settings
        self._now_ms = now_ms
        self._path = Path(settings.keys_file)
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, Any] = {}
        self._load()

    def check(self, token: str) -> Caller:
        """The caller that a token stands for. Raises `CredentialRefusedError`."""
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            raise CredentialRefusedError(f"the token is refused: {error}", "get a new one from the provider") from error
        known = self._settings
        subject = claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise CredentialRefusedError("the token is refused: its `sub` is no name")
        tenant = _claim(claims, known.tenant_claim) or known.default_tenant
        try:
            tenant = msgspec.convert(tenant, Name)
        except msgspec.ValidationError as error:
            raise CredentialRefusedError(f"the token is refused: `{known.tenant_claim}` names no tenant") from error
        # The issuer is part of the asker: a key of ours may be called as somebody of theirs.
        asker = f"{known.issuer}#{subject}"
        return Caller(tenant=tenant, role=self._role(claims), asker=asker, speaks_for_others=False, credential="oidc")

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MOST_CHARS:
            raise jwt.InvalidTokenError("it is too long")
        header = jwt.get_unverified_header(token)
        known = self._settings
        found: dict[str, Any] = jwt.decode(
            token,
            key=self._key(header.get("kid")),
            algorithms=ALGORITHMS,
            audience=known.audience,
            issuer=known.issuer,
            leeway=known.leeway_s,
            options={"require": list(REQUIRED)},
        )
        if int(found["exp"]) <= self._now_ms() / 1000 - known.leeway_s:
            raise jwt.ExpiredSignatureError("it has expired, and the machine's clock was set back since")
        return found

    def _role(self, claims: dict[str, Any]) -> Role:
        claim = _claim(claims, self._settings.role_claim)
        if claim is None:
            return self._settings.default_role
        names = claim if isinstance(claim, list) else [claim]
        known = [role for role in get_args(Role) if role in names]
        if not known:
            raise CredentialRefusedError(f"the token is refused: `{self._settings.role_claim}` names no role of a site")
        role: Role = known[0]
        return role

    def _key(self, kid: object) -> Any:
        self._load()
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if kid not in self._keys:
            raise jwt.InvalidKeyError("it is signed by a key that the key set does not hold")
        return self._keys[str(kid)]

    def _load(self) -> None:
        try:
            found = self._path.stat()
            if (seen := (found.st_ino, found.st_mtime_ns)) == self._seen:
                return
            keys = _signing_keys(jwt.PyJWKSet.from_json(self._path.read_text("utf-8")))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            if self._seen is not None:  # a file that is being replaced: what was read before holds
                return
            raise OidcSettingsError(f"{self._path} is no key set: {error}") from error
        self._keys = keys
        self._seen = seen


def _signing_keys(found: jwt.PyJWKSet) -> dict[str, Any]:
    """The public keys that may sign, by id. Raises `ValueError` for a set by which somebody else could write tokens, or
    of which nobody knows which key is meant."""
    keys: dict[str, Any] = {}
    for each in found.keys:
        if each.key_type == "oct" or each.public_key_use not in (None, "sig"):
            continue
        name = str(each.key_id)
        if name in keys:
            raise ValueError(f"two keys are called {name[:64]!r}")
        if hasattr(each.key, "private_bytes"):
            raise ValueError(f"the key {name[:64]!r} is a private one: whoever reads the file could write tokens")
        if each.key_type == "RSA" and each.key.key_size < LEAST_RSA_BITS:
            raise ValueError(f"the key {name[:64]!r} has {each.key.key_size} bits; at least {LEAST_RSA_BITS} are taken")
        keys[name] = each
    return keys


def _claim(claims: dict[str, Any], path: str) -> Any:
    """The value at a path of claims; None where there is none."""
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
