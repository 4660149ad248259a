"""Why nobody is let in by a credential, and what keeps keys from being issued. Next: access_keys.py, oidc.py."""

from __future__ import annotations

from tidegate.schemas.errors import TidegateError


class CredentialRefusedError(TidegateError):
    """No request is taken with this credential. The reason does not say whether there ever was such a key."""

    hint = "send `Authorization: Bearer KEY`; `tidegate keys issue --tenant T` makes a key"


class AccessRegisterError(TidegateError):
    """The file of the access keys holds something else than this version writes there."""

    hint = "restore it from a backup, or move it away and issue new keys; until then nobody is let in"


class NoSuchAccessKeyError(TidegateError, LookupError):
    """No access key, or more than one, has this id."""

    hint = "`tidegate keys issued` lists them"


class OidcSettingsError(TidegateError, ValueError):
    """The issuer of tokens is not configured so that any token could be checked."""

    hint = "see `gateway.oidc` in `tidegate config reference`"
