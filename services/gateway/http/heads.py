"""Heads of requests that a proxy and this server may read differently: so one request is smuggled inside another.

Pure. Source: RFC 9110, 5.3 (a field that is no list is sent once), RFC 9112, 3.2 (Host) and 6.1 (transfer codings).
Next: protocol.py, which refuses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

OWN = b"x-tidegate-"
SENT_ONCE = frozenset(
    (b"host", b"authorization", b"content-type", b"content-encoding", b"content-length", b"transfer-encoding")
) | {b"x-request-id", b"last-event-id", b"origin"}
VERSIONS = ("1.0", "1.1")


def is_ambiguous(headers: Sequence[tuple[bytes, bytes]], version: str) -> bool:
    """Whether the head can be read in two ways; the names of `headers` are in small letters.

    Of a header that is there twice a proxy may go by the first and an application by the last; a body with another
    transfer coding than `chunked` would be taken for what it says once decoded.
    """
    counts = Counter(name for name, _ in headers)
    if any(count > 1 and (name in SENT_ONCE or name.startswith(OWN)) for name, count in counts.items()):
        return True
    if version not in VERSIONS or (version == "1.1" and not counts[b"host"]):
        return True
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    return bool(codings) and (codings != [b"chunked"] or version == "1.0")
