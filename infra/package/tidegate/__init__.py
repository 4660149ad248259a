"""AI that answers at the edge and asks the cloud only for what the edge cannot vouch for.

`from tidegate import EdgeRuntime` is the in-process API; read `tidegate.services.pipeline` first.
"""

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reads it when it is imported; it reports otherwise

if TYPE_CHECKING:
    from tidegate.services.runtime import EdgeRuntime

__all__ = ["EdgeRuntime"]


def __getattr__(name: str) -> Any:
    """Import the runtime when it is asked for: a worker that needs none of it pays nothing for it."""
    if name in __all__:
        from tidegate.services import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
