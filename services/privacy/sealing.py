"""A request as it may be stored: its words encrypted under the site's key, the asker replaced by a digest.

Next: services/gateway/ingress.py, which seals; services/stages/prefilter, which unseals."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked, Turn
from tidegate.services.privacy.vault import TamperedError, asker_digest, seal, unseal


def seal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` without any text in clear: text, schema and history sealed together, the asker replaced by a digest."""
    lengths, history = f"{len(asked.text)}", ""
    if asked.history:
        lengths, history = f"{lengths},{len(asked.schema)}", msgspec.json.encode(asked.history).decode()
    return msgspec.structs.replace(
        asked,
        sealed=seal(key, f"{lengths}:{asked.text}{asked.schema}{history}", asked.tenant, asked.rid),
        asker=asker_digest(key, asked.tenant, asked.asker, asked.rid),
        text="",
        schema="",
        history=(),
    )


def unseal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` with its text, schema and history in clear; the digest stays. Raises `TamperedError`.

    A request that was never sealed comes back as it is.
    """
    if not asked.sealed:
        return asked
    lengths, colon, content = unseal(key, asked.sealed, asked.tenant, asked.rid).partition(":")
    length, comma, schema_length = lengths.partition(",")
    if not (colon and length.isdecimal() and (not comma or schema_length.isdecimal())):
        raise TamperedError("the sealed request")
    text, rest = content[: int(length)], content[int(length) :]
    if not comma:
        return msgspec.structs.replace(asked, text=text, schema=rest)
    schema, turns = rest[: int(schema_length)], rest[int(schema_length) :]
    try:
        history = msgspec.json.decode(turns, type=tuple[Turn, ...])
    except msgspec.DecodeError as error:
        raise TamperedError("the sealed request") from error
    return msgspec.structs.replace(asked, text=text, schema=schema, history=history)
