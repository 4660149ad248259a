"""What decoding returns; next: `speculative`, which makes it."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Speculation


class Generated(msgspec.Struct, frozen=True):
    """An answer: token ids without the prompt and without the end mark; `is_finished`: the end mark was generated.

    The end mark counts among the speculation's tokens: it was chosen as every other one.
    """

    ids: tuple[int, ...]
    speculation: Speculation
    is_finished: bool
