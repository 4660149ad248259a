"""Puts the asker's own words back in place of vault tokens, at the last moment, for the one who asked."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Citation, Published
from tidegate.services.privacy.vault import TOKEN, Vault
from tidegate.services.streaming.reidentify import restored as in_text


def restored(published: Published, vault: Vault, asker: str) -> Published:
    """`published` with tokens restored in its text and citations; `asker` is the digest under the site's key.

    The receipt stays as it was stored, so that it can be checked. Neither logged nor stored. In a JSON answer a value
    is escaped, so that a quotation mark in it cannot break the document; all else stays as it is, to the character, so
    that the text is the one that a stream of it told.
    """
    if not TOKEN.search(published.text) and not any(TOKEN.search(citation.quote) for citation in published.citations):
        return published

    def value(token: str) -> str:
        return vault.restore(token, published.tenant, asker)

    def quoted(citation: Citation) -> Citation:
        return msgspec.structs.replace(citation, quote=in_text(citation.quote, value))

    text = in_text(published.text, value, is_json=published.format == "json")
    citations = tuple(quoted(citation) for citation in published.citations)
    return msgspec.structs.replace(published, text=text, citations=citations)
