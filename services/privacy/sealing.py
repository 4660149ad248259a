"""A request as it may be stored: its words encrypted under the site's key, the asker replaced by a digest.

Next: services/gateway/ingress.py, which seals; services/stages/prefilter, which unseals."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked, Turn
from tidegate.services.privacy.vault import TamperedError, asker_digest, seal, unseal

_MOST_LENGTHS = 3


def seal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` without any text in clear: its words sealed together, the asker replaced by a digest."""
    return msgspec.structs.replace(
        asked,
        sealed=seal(key, _join(asked), asked.tenant, asked.rid),
        asker=asker_digest(key, asked.tenant, asked.asker, asked.rid),
        text="",
        schema="",
        history=(),
        instructions="",
    )


def unseal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` with its text, schema, history and instructions in clear; the digest stays. Raises `TamperedError`.

    A request that was never sealed comes back as it is.
    """
    if not asked.sealed:
        return asked
    header, colon, content = unseal(key, asked.sealed, asked.tenant, asked.rid).partition(":")
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
