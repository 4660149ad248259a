"""What of the hub's streams a site may hold, and how fast it may come: as filters and limits of the carrying consumers.

Promises that a site which nothing was granted to is sent nothing. Next: streams.py, which has the consumers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.schemas.subjects import ARTEFACTS, BUCKETS, CORPUS, object_stream

COLLECTION_BUCKET = "index"
"""The bucket whose objects, snapshots, are of one collection each; those of the others are of a tenant."""
_PREFIXES = {CORPUS: "corpus", ARTEFACTS: "artefacts", **{object_stream(name): f"$O.{name}.*" for name in BUCKETS}}


class Downlink(msgspec.Struct, frozen=True, kw_only=True):
    """Which `(tenant, collection)` a site may hold, of which `tenants` it gets artefacts, and `rates` in bits per
    second, by bucket; a bucket without one comes as fast as the link lets it.

    Filters are spelt out, one for each collection: what is not named does not leave the hub.
    """

    tenants: tuple[str, ...] = ()
    collections: tuple[tuple[str, str], ...] = ()
    rates: Mapping[str, int] = {}

    def filters(self, stream: str) -> list[str]:
        """The subjects of `stream` that are sent; never none, as a consumer without a filter takes everything."""
        prefix = _PREFIXES[stream]
        if stream in (CORPUS, object_stream(COLLECTION_BUCKET)):
            named = [f"{prefix}.{tenant}.{collection}.>" for tenant, collection in sorted(set(self.collections))]
        else:
            named = [f"{prefix}.{tenant}.>" for tenant in sorted(set(self.tenants))]
        return named or [nothing_of(stream)]

    def limits(self, stream: str) -> dict[str, Any]:
        """The other fields of the carrying consumer."""
        bucket = stream.removeprefix("OBJ_")
        return {"rate_limit_bps": self.rates[bucket]} if bucket in self.rates else {}


def nothing_of(stream: str) -> str:
    """A filter that the stream takes and that no message in it has: real subjects have more tokens."""
    return f"{_PREFIXES[stream].replace('*', 'M')}.nothing"


def downlink_of(filters: Mapping[str, list[str]], limits: Mapping[str, Mapping[str, Any]]) -> Downlink:
    """The downlink behind the filters of a site's consumers, by stream, and behind their other fields."""
    corpus = [subject.split(".") for subject in filters.get(CORPUS, ()) if subject != nothing_of(CORPUS)]
    tenants = [subject.split(".") for subject in filters.get(ARTEFACTS, ()) if subject != nothing_of(ARTEFACTS)]
    rates = {bucket: limits.get(object_stream(bucket), {}).get("rate_limit_bps") or 0 for bucket in BUCKETS}
    return Downlink(
        tenants=tuple(tokens[1] for tokens in tenants),
        collections=tuple((tokens[1], tokens[2]) for tokens in corpus),
        rates={bucket: rate for bucket, rate in rates.items() if rate},
    )


def is_granted(subject: str, filters: Iterable[str]) -> bool:
    """Whether one of the filters of a downlink covers the subject: their `*` is one token, their last `>` the rest."""
    tokens = subject.split(".")
    for each in filters:
        wanted = each.removesuffix(".>").split(".")
        if len(tokens) > len(wanted) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=False)):
            return True
    return False
