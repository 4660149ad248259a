"""Puts the asker's own words back in place of vault tokens, at the last moment, for the one who asked."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas import Citation, Published
from services.vault import TOKEN, Vault


def restored(published: Published, vault: Vault, asker: str) -> Published:
    """`published` with tokens restored in its text and citations; `asker` is the digest under the site's key.

    The receipt stays as it was stored, so that it can be checked. Neither logged nor stored. Restore before cutting
    the text into pieces, never after: a token may straddle a cut.
    """
    if not TOKEN.search(published.text) and not any(TOKEN.search(citation.quote) for citation in published.citations):
        return published

    def restore(text: str) -> str:
        return vault.restore(text, published.tenant, asker) if TOKEN.search(text) else text

    def quoted(citation: Citation) -> Citation:
        return msgspec.structs.replace(citation, quote=restore(citation.quote))

    text = _in_json(published.text, restore) if published.format == "json" else restore(published.text)
    citations = tuple(quoted(citation) for citation in published.citations)
    return msgspec.structs.replace(published, text=text, citations=citations)


def _in_json(text: str, restore: Any) -> str:
    """Restore inside the strings of a JSON document, so that a quotation mark in a value cannot break it."""

    def walk(value: Any) -> Any:
        match value:
            case str():
                return restore(value)
            case list():
                return [walk(item) for item in value]
            case dict():
                return {walk(name): walk(item) for name, item in value.items()}
        return value

    return msgspec.json.encode(walk(msgspec.json.decode(text))).decode()
