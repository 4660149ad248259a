"""Who may use a site: access keys as they are kept, and the caller that a credential stands for.

Next: services/access, which issues and checks them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import END, Millis, Name

Role = Literal["app", "operator", "auditor"]
"""`app` asks, and reads its own answers; `operator` sees how a site is; `auditor` sees what was decided."""
AccessKeyId = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-z]{{12}}{END}")]
Asker = Annotated[str, msgspec.Meta(max_length=64, pattern=rf"^[A-Za-z0-9@._+-]*{END}")]


class AccessKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An access key: `digest` is the sha256 of its secret, in hex; the secret is nowhere.

    A key with an `asker` is that person's. One without is an application's, which speaks for its own users: they are
    told apart by what it calls them, and are never another key's. `nkey` is the public nkey by which it asks over NATS.
    """

    id: AccessKeyId
    digest: Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{END}")]
    tenant: Name
    role: Role
    issued_at_ms: Millis
    expires_at_ms: Millis
    asker: Asker = ""
    nkey: Annotated[str, msgspec.Meta(pattern=rf"^(U[A-Z2-7]{{55}})?{END}")] = ""
    note: Annotated[str, msgspec.Meta(max_length=80)] = ""
    revoked_at_ms: Millis = 0


class AccessRegister(msgspec.Struct, frozen=True, kw_only=True):
    """All access keys of a machine, the expired and revoked ones too."""

    keys: tuple[AccessKey, ...] = ()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a request comes from, as its credential says. `credential` names it in logs, and holds no secret. Whoever
    operates the machine `is_of_all_tenants`, and asks as `tenant`."""

    tenant: Name
    role: Role
    asker: str
    speaks_for_others: bool
    credential: str
    is_of_all_tenants: bool = False
