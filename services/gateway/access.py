"""Holds what a request says of its tenant and its asker against the credential that it came with.

Promises that a request which is accepted has the credential's tenant, and an asker that is the credential's own.
Next: http/access.py, which reads credentials."""

from __future__ import annotations

from typing import TypeVar

from tidegate.schemas import Asked, Resume, replace
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import refusal
from tidegate.services.access.callers import asker_of
from tidegate.services.gateway.refusals import RequestRefusedError

R = TypeVar("R", Asked, Resume)


def claim_tenant(caller: Caller, named: str, rid: str = "") -> str:
    """The caller's tenant. Raises `RequestRefusedError` where another one is named."""
    if named not in ("", caller.tenant):
        raise RequestRefusedError(refusal("not_your_tenant", rid, tenant=named[:32]), "tenant")
    return caller.tenant


def claim_asker(caller: Caller, named: str, rid: str = "") -> str:
    """The asker of a request of this caller. Raises `RequestRefusedError` where it would be somebody else."""
    asker = asker_of(caller, named)
    if asker is None:
        raise RequestRefusedError(refusal("not_your_asker", rid), "asker")
    return asker


def claim(request: R, caller: Caller) -> R:
    """The request as this caller's. Raises `RequestRefusedError`."""
    tenant = claim_tenant(caller, request.tenant, request.rid)
    return replace(request, tenant=tenant, asker=claim_asker(caller, request.asker, request.rid))
