"""From a credential to a caller, and from a caller to the one asker and tenant that a request may have.

Promises that neither is ever what a header or a body says: what they say is only held against the credential.
Next: services/gateway/http/access.py."""

from __future__ import annotations

from tidegate.schemas.access import Caller
from tidegate.services.access.access_keys import PREFIX, AccessKeys
from tidegate.services.access.faults import CredentialRefusedError
from tidegate.services.access.oidc import OidcTokens


class Callers:
    """Checks credentials: access keys, and the tokens of a provider where one is configured."""

    def __init__(self, keys: AccessKeys, tokens: OidcTokens | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    def holder(self, key_id: str) -> Caller:
        """Whose access key this is. Raises `CredentialRefusedError`, `AccessRegisterError`."""
        return self._keys.holder(key_id)

    def check(self, credential: str) -> Caller:
        """The caller. Raises `CredentialRefusedError`, `AccessRegisterError`."""
        if not credential:
            raise CredentialRefusedError("no credential was sent")
        if credential.startswith(f"{PREFIX}_") or self._tokens is None:
            return self._keys.check(credential)
        return self._tokens.check(credential)


def asker_of(caller: Caller, named: str) -> str | None:
    """The asker of a request in which `named` is what the client calls whoever asks; None: it may not be called so.

    An application's users are its own: the same name under another key is somebody else.
    """
    if not named or named == caller.asker:
        return caller.asker
    return f"{caller.asker}/{named}" if caller.speaks_for_others else None
