"""The subjects under which a site has the hub verify at once, beside the stream of escalations.

cloud.<site>.verify.<tenant>               core    Escalated: the fast lane over the leaf
cloud.<site>.verify                        core    the same of a site older than its hub, which names no tenant
cloud.<site>.session.<tenant>.<any|worker> core    Begin and Propose: a draft verified round by round
cloud.<site>.session.<any|worker>          core    the same of an older site

The server lets a site publish under its own name only, and under its tenants where the hub's configuration names them.
Next: subjects.py, all others.
"""

from __future__ import annotations

from collections.abc import Collection

ANY_WORKER = "any"


def fast_lane(site: str, tenant: str) -> str:
    """Where a site asks the hub for a verdict without waiting for the durable lane."""
    return f"cloud.{site}.verify.{tenant}"


def older_fast_lane(site: str) -> str:
    """Where a site asks so that does not know yet that the tenant belongs into the subject."""
    return f"cloud.{site}.verify"


def all_fast_lanes(site: str, tenants: Collection[str] = ()) -> tuple[str, ...]:
    """All that a site may send so, for these tenants; without any, for all. Not `.*`, as for sessions. The older one is
    among them, so that the hub says what is wrong, where the server would be silent."""
    named = [fast_lane(site, tenant) for tenant in sorted(tenants)] or [fast_lane(site, ">")]
    return (older_fast_lane(site), *named)


def tenant_of_fast_lane(subject: str) -> str:
    """The tenant in the subject of a fast lane; empty in the older one."""
    return "".join(subject.split(".")[3:4])


def verification_session(site: str, tenant: str, worker: str = ANY_WORKER) -> str:
    """Where a site begins a verification session of a tenant, or continues the one that `worker` holds."""
    return f"cloud.{site}.session.{tenant}.{worker}"


def older_verification_session(site: str, worker: str = ANY_WORKER) -> str:
    """Where a site does so that does not know yet that the tenant belongs into the subject."""
    return f"cloud.{site}.session.{worker}"


def all_verification_sessions(site: str, tenants: Collection[str] = ()) -> tuple[str, ...]:
    """All that a site may send so, for these tenants; without any, for all. Not `.*`: where only that is allowed, a
    leaf does not learn of an interest in `cloud.*.session.…` (seen on nats-server 2.15). The beginning of an older one
    is among them, for the reason that `all_fast_lanes` gives."""
    if not tenants:
        return (older_verification_session(site, ">"),)
    return (older_verification_session(site), *(verification_session(site, each, ">") for each in sorted(tenants)))


def tenant_of_session(subject: str) -> str:
    """The tenant in the subject of a verification session; empty in the older one."""
    tokens = subject.split(".")
    return tokens[3] if len(tokens) > len(older_verification_session("").split(".")) else ""
