"""A request as it may be stored: its words encrypted under the asker's key, asker and session replaced by digests.

Next: services/gateway/ingress.py, which seals; services/stages/prefilter, which unseals."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked, Turn
from tidegate.services.privacy.faults import TamperedError
from tidegate.services.privacy.vault import NOBODY, Vault

_MOST_LENGTHS = 3


def seal_request(vault: Vault, asked: Asked) -> Asked:
    """`asked` without any text in clear: its words sealed together, asker and session replaced by digests.

    Writes to the vault where the asker has no key there. Raises `sqlite3.Error`, `OSError`.
    """
    tenant, rid = asked.tenant, asked.rid
    asker = vault.digest_of_asker(tenant, asked.asker, rid)
    return msgspec.structs.replace(
        asked,
        sealed=vault.seal(tenant, asker if asked.asker else NOBODY, rid, _join(asked)),
        asker=asker,
        session=vault.digest_of_session(tenant, asked.asker, asked.session, rid),
        text="",
        schema="",
        history=(),
        instructions="",
    )


def unseal_request(vault: Vault, asked: Asked) -> Asked:
    """`asked` with its text, schema, history and instructions in clear; the digests stay. Raises `TamperedError`,
    `ErasedError` where the asker's key is gone.

    A request that was never sealed comes back as it is.
    """
    if not asked.sealed:
        return asked
    header, colon, content = vault.unseal(asked.tenant, asked.asker, asked.rid, asked.sealed).partition(":")
    lengths = header.split(",")
    if not (colon and len(lengths) <= _MOST_LENGTHS and all(map(str.isdecimal, lengths))):
        raise TamperedError("the sealed request")
    parts = []
    for length in map(int, lengths):
        parts.append(content[:length])
        content = content[length:]
    text, schema, history, instructions = (*parts, content, "", "", "")[:4]
    try:
        turns = msgspec.json.decode(history, type=tuple[Turn, ...]) if history else ()
    except msgspec.DecodeError as error:
        raise TamperedError("the sealed request") from error
    return msgspec.structs.replace(asked, text=text, schema=schema, history=turns, instructions=instructions)


def _join(asked: Asked) -> str:
    """Text, schema, history and instructions, as many as it takes for those that are there, behind the lengths of all
    but the last: a request that has no more than older versions knew is sealed as they sealed it."""
    history = msgspec.json.encode(asked.history).decode() if asked.history else ""
    parts = [asked.text, asked.schema, history, asked.instructions]
    while len(parts) > 2 and not parts[-1]:
        parts.pop()
    return ",".join(str(len(part)) for part in parts[:-1]) + ":" + "".join(parts)
