"""Rewrites a question into a search query. Next: thesaurus.py, which adds the documents' own words."""

from __future__ import annotations

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.knowledge.index.sentences import split_sentences

_MOST_WORDS = 60


def rewrite_query(text: str) -> str:
    """A question without its vault tokens; of a long text, its sentences with a question mark, where there are any.

    The rest of a short text often names what the question is about; an embedding can hold about sixty words.
    """
    bare = " ".join(VAULT_TOKEN.sub(" ", text).split())
    if len(bare.split()) <= _MOST_WORDS:
        return bare
    asked = [bare[start:end] for start, end in split_sentences(bare, 0, len(bare)) if "?" in bare[start:end]]
    return " ".join(asked) or bare
