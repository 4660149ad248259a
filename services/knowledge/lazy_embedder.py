"""The embedding model for who may never need it: its version is known at once, the model read at the first text.

Promises the vectors of `Embedder`. A process that is given vectors stays small by it. Next: embedding.py."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.knowledge.embedding import Embedder, read_version
from tidegate.services.knowledge.text_embedder import TextRole, Vector


class LazyEmbedder:
    """An `Embedder` that is loaded when it is first asked. Safe to use from several threads."""

    def __init__(self, models_dir: Path) -> None:
        """Raises `EmbeddingModelMissingError`."""
        self._models_dir = models_dir
        self.version = read_version(models_dir)

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        """See `Embedder.embed`."""
        return Embedder.load(self._models_dir).embed(text, role)
