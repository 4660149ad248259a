"""A request as it may be stored: what the asker wrote is under the site's key, a digest stands for the asker."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked
from tidegate.services.privacy.vault import Tampered, asker_digest, seal, unseal


def closed(key: bytes, asked: Asked) -> Asked:
    """`asked` without a word in clear: text and schema sealed together, the asker replaced by a digest."""
    return msgspec.structs.replace(
        asked,
        sealed=seal(key, f"{len(asked.text)}:{asked.text}{asked.schema}", asked.tenant, asked.rid),
        asker=asker_digest(key, asked.tenant, asked.asker, asked.rid),
        text="",
        schema="",
    )


def opened(key: bytes, asked: Asked) -> Asked:
    """`asked` with its text and schema in clear; the digest stays. Raises `Tampered`.

    A request that was never closed comes back as it is.
    """
    if not asked.sealed:
        return asked
    length, colon, words = unseal(key, asked.sealed, asked.tenant, asked.rid).partition(":")
    if not (colon and length.isdecimal()):
        raise Tampered("the sealed request")
    return msgspec.structs.replace(asked, text=words[: int(length)], schema=words[int(length) :])
