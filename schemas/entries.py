"""The subjects by which clients ask a site: the tenant and the credential of who asks are tokens of the subject.

A client publishes `ask`, `stream` or `resume`; its account on the server imports each from the site's as
`<entry>.<tenant>.<credential>`. So both are what the server knows of the user, and nothing that a client can choose.
Next: subjects.py, all others; brokers/servers/applications.py, the accounts.
"""

from __future__ import annotations

from tidegate.schemas.subjects import ASK, RESUME, STREAM

ENTRIES = (ASK, STREAM, RESUME)
OPERATOR = "operator"
"""In the place of a credential's id: the operator of the site's server, who may ask for any tenant."""
ANY = "*"


def entry(name: str, tenant: str = ANY, credential: str = ANY) -> str:
    """Where requests of this tenant and credential arrive at the site; of all where none is named."""
    return f"{name}.{tenant}.{credential}"


def asker_in(subject: str) -> tuple[str, str]:
    """The tenant and the id of the credential in a subject of `entry`."""
    _, tenant, credential = subject.split(".")
    return tenant, credential
