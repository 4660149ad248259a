"""What the rooms of knowledge ask of an embedding model. Next: embedding.py, which is the one that is shipped."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
TextRole = Literal["query", "passage"]
"""Whether a text asks or is asked about: the model was trained to tell them apart."""


class TextEmbedder(Protocol):
    """Turns a whole text into a unit vector (384,); `version` changes whenever the vectors would."""

    @property
    def version(self) -> str: ...

    def embed(self, text: str, role: TextRole = ...) -> Vector: ...
