"""How tokens of an OpenID provider are checked. Next: oidc.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.access import Role
from tidegate.schemas.message import Name


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider whose bearer tokens let somebody in; none where `issuer` is empty.

    Its public keys are a file, so that a site which is alone can check tokens: nothing is fetched.
    """

    issuer: str = ""
    """The `iss` of its tokens, exactly."""
    audience: str = "tidegate"
    """What `aud` must hold."""
    keys_file: str = ""
    """A JSON Web Key Set (RFC 7517) with the provider's public keys; read anew when it changes."""
    tenant_claim: str = "tenant"
    """The claim that names the tenant; a dot goes one object deeper."""
    role_claim: str = "role"
    """The claim that names the role, or a list of them; the first known one counts."""
    default_role: Role = "app"
    """The role of a token without that claim."""
    default_tenant: Name | None = None
    """The tenant of a token without that claim; none: it is refused."""
    leeway_s: Annotated[int, msgspec.Meta(ge=0, le=300)] = 30
    """How far the clocks of site and provider may be apart."""
