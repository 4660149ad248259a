"""Re-identifies an answer for the one who asked: their own values in place of vault tokens, at the last moment.

Nobody else ever gets them; next: streaming/reidentify.py, the same for a text in pieces."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Citation, Published
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.privacy.vault import Vault
from tidegate.services.streaming.reidentify import reidentify_text


def reidentify(published: Published, vault: Vault, asker: str) -> Published:
    """`published` with the values of its tokens in text and citations; `asker` is the digest under the site's key.

    The receipt stays as it was stored, so that it can be checked. Neither logged nor stored. In a JSON answer a value
    is escaped, so that a quotation mark in it cannot break the document; all else stays as it is, to the character, so
    that the text equals that of a stream of it.
    """
    if not VAULT_TOKEN.search(published.text) and not any(
        VAULT_TOKEN.search(citation.quote) for citation in published.citations
    ):
        return published

    def value(token: str) -> str:
        return vault.detokenise(token, published.tenant, asker)

    def quoted(citation: Citation) -> Citation:
        return msgspec.structs.replace(citation, quote=reidentify_text(citation.quote, value))

    text = reidentify_text(published.text, value, is_json=published.format == "json")
    citations = tuple(quoted(citation) for citation in published.citations)
    return msgspec.structs.replace(published, text=text, citations=citations)
