"""Who calls over HTTP: the credential of a request, and the roles that an operation is for.

A browser cannot give a socket a header: there the credential is a subprotocol beside `tidegate`. Next: routes.py."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from tidegate.schemas.access import Caller, Role
from tidegate.schemas.refusals import refusal
from tidegate.services.access.callers import Callers
from tidegate.services.access.faults import CredentialRefusedError
from tidegate.services.gateway.http.errors import Endpoint
from tidegate.services.gateway.refusals import RequestRefusedError

SUBPROTOCOL = "tidegate"
BEARER_PROTOCOL = "tidegate.bearer."


class AccessGate:
    """Lets callers in. `operator_key` is that of whoever may read this machine's state directory."""

    def __init__(self, callers: Callers, operator_key: str, tenant: str) -> None:
        self._callers = callers
        self._operator = hashlib.sha256(operator_key.encode()).digest()
        self._tenant = tenant

    def admit(self, connection: HTTPConnection, roles: Sequence[Role]) -> Caller:
        """The caller, who has one of the roles. Raises `RequestRefusedError`."""
        credential = read_credential(connection)
        if secrets.compare_digest(hashlib.sha256(credential.encode()).digest(), self._operator):
            caller = Caller(
                tenant=self._tenant,
                role="operator",
                asker="",
                speaks_for_others=False,
                credential="operator of this machine",
                is_of_all_tenants=True,
            )
        else:
            try:
                caller = self._callers.check(credential)
            except CredentialRefusedError as error:
                refused = refusal("unauthenticated", fault=error.reason, hint=error.hint)
                raise RequestRefusedError(refused, "Authorization") from error
        if caller.role not in roles:
            raise RequestRefusedError(refusal("not_your_role", role=caller.role, roles=" or ".join(roles)))
        return caller

    def guard(self, endpoint: Endpoint, roles: Sequence[Role]) -> Endpoint:
        """The endpoint, for these roles alone; without any it is for everybody."""
        if not roles:
            return endpoint

        async def guarded(request: Request) -> Response:
            request.state.caller = self.admit(request, roles)
            return await endpoint(request)

        return guarded


def read_credential(connection: HTTPConnection) -> str:
    """What a request shows; empty where it shows nothing."""
    scheme, _, credential = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credential.strip()
    offered: list[str] = connection.scope.get("subprotocols", [])
    return next((each.removeprefix(BEARER_PROTOCOL) for each in offered if each.startswith(BEARER_PROTOCOL)), "")


def caller_of(connection: HTTPConnection) -> Caller:
    """Whom the gate has let in."""
    caller: Caller = connection.state.caller
    return caller
