"""A few small documents of a branch, and an embedder that needs no model, for what does not rest on meaning."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.text_embedder import TextRole

FEES = """# Fees

What you pay at the counter. Anything that is not listed here is free.

| Service | Fee | Paid |
|---|---|---|
| Banker's draft | £12 | at once |
| Replacement card after loss | £6 | with the next statement |

## When fees are taken

Fees are collected on the 20th of the following month. You are told 14 days before, e.g. in the app.

## What you need

To open an account you bring:

- a passport or an identity card
- proof of your address that is
  not older than three months

Both are copied, and given back at once.
"""
HOURS = """# Opening hours

The branch is open from 09:30 to 16:30 on weekdays. On Saturday it closes at 12:30.

## The lobby

The lobby with the cash machines is open every day from 06:00 to 23:00.
"""
STUNDEN = """# Öffnungszeiten

Die Filiale ist montags bis freitags von 09:30 bis 16:30 Uhr geöffnet. Am 1. Januar bleibt sie geschlossen.
"""
COINS = """# Coin machine

The machine counts about 600 coins a minute. Foreign coins are neither counted nor exchanged.
"""


def document(name: str, text: str, language: str = "en", title: str = "") -> Document:
    """A document with the version that a pack would give it."""
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    title = title or text.splitlines()[0].lstrip("# ") if text.strip() else name
    return Document(id=name, title=title, language=language, scope="shared", text=text, version=version)


BRANCH = (
    document("fees", FEES),
    document("hours", HOURS),
    document("stunden", STUNDEN, "de"),
    document("coins", COINS),
)


class Letters:
    """Embeds a text by counting its pairs of letters: a real, if modest, embedding, and quick."""

    def __init__(self, version: str = "letters-1") -> None:
        self.version = version

    def embed(self, text: str, role: TextRole = "query") -> NDArray[np.float32]:  # noqa: ARG002 - one for both
        counts = np.full(384, 1e-3, np.float32)
        words = text.casefold()
        for first, second in pairwise(words):
            counts[(ord(first) * 31 + ord(second)) % 384] += 1.0
        return counts / np.linalg.norm(counts)
