"""A request as it may be stored: its words encrypted under the site's key, the asker replaced by a digest.

Next: services/gateway/ingress.py, which seals; services/stages/prefilter, which unseals."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked
from tidegate.services.privacy.vault import TamperedError, asker_digest, seal, unseal


def seal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` without any text in clear: text and schema sealed together, the asker replaced by a digest."""
    return msgspec.structs.replace(
        asked,
        sealed=seal(key, f"{len(asked.text)}:{asked.text}{asked.schema}", asked.tenant, asked.rid),
        asker=asker_digest(key, asked.tenant, asked.asker, asked.rid),
        text="",
        schema="",
    )


def unseal_request(key: bytes, asked: Asked) -> Asked:
    """`asked` with its text and schema in clear; the digest stays. Raises `TamperedError`.

    A request that was never sealed comes back as it is.
    """
    if not asked.sealed:
        return asked
    length, colon, content = unseal(key, asked.sealed, asked.tenant, asked.rid).partition(":")
    if not (colon and length.isdecimal()):
        raise TamperedError("the sealed request")
    return msgspec.structs.replace(asked, text=content[: int(length)], schema=content[int(length) :])
