"""The base of every message, the types of its identifiers, and the one codec: MessagePack inside, JSON for clients.

Next: schemas/facts.py, the messages of the pipeline."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any, TypeVar, overload

import msgspec

from tidegate.schemas.errors import UnreadableError

END = r"$(?!\n)"
"""The end of a pattern: `$` alone also matches before a line feed, which ends a command of NATS in the middle."""
Rid = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9_-]{{1,64}}{END}", description="request id; one subject token")]
Name = Annotated[
    str, msgspec.Meta(pattern=rf"^[a-z0-9][a-z0-9_-]{{0,31}}{END}", description="tenant or site; one subject token")
]
Millis = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """Base of every message on the wire; the type's name in lower case is its tag.

    Unknown fields are ignored, so that a newer hub can talk to an older site; a new meaning is a new type.
    """


M = TypeVar("M", bound=Message)
S = TypeVar("S", bound=msgspec.Struct)
_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_building = threading.Lock()
"""Held while msgspec learns a type: a thread that decodes it meanwhile sees half of it, and the process dies (seen with
msgspec 0.22: `msgspec.msgpack.decode(data, type=T)` in two threads, where `T` was never decoded before)."""
_learned: set[type[msgspec.Struct]] = set()
"""A type is learned for good."""
_decoders: dict[tuple[str, tuple[type[Message], ...]], Any] = {}


def replace(struct: S, **fields: Any) -> S:
    """A copy of a message, or of a part of one, with other values in some fields, which are not validated."""
    return msgspec.structs.replace(struct, **fields)


def encode(message: Message) -> bytes:
    """MessagePack: the form between our processes."""
    return _to_msgpack.encode(message)


def encode_json(message: Message) -> bytes:
    """JSON: the form for people, and for clients that ask in JSON."""
    return _to_json.encode(message)


def is_json(data: bytes) -> bool:
    """Whether the bytes look like a JSON object; a MessagePack map never starts with `{` or white space."""
    return data[:64].lstrip()[:1] == b"{"


def learn_types() -> None:
    """Have msgspec know all structs of the product that are defined by now, while no other thread can be at it: see
    `_building`. A process does so once it has imported what it runs; it is nothing where no module came since."""
    _learn_types(len(sys.modules))


@lru_cache(maxsize=1)  # a look at each type, all of them known, copies 1.2 MB of a forked worker's memory
def _learn_types(modules: int) -> None:  # noqa: ARG001 - of the cache
    waiting = [msgspec.Struct]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind not in _learned and kind.__module__.startswith("tidegate."):
            _learned.add(kind)
            with _building, suppress(Exception):  # what cannot be decoded is not
                msgspec.msgpack.Decoder(kind)


def decoder_of(kind: type[S]) -> Callable[[bytes], S]:
    """What reads a struct that is no message from MessagePack, in any thread. Raises `msgspec.DecodeError` then."""
    with _building:
        return msgspec.msgpack.Decoder(kind).decode


@overload
def decode(data: bytes, only: type[M], /) -> M: ...
@overload
def decode(data: bytes, *types: type[Message]) -> Any: ...
def decode(data: bytes, *types: type[Message]) -> Any:
    """Read one of `types` from JSON or MessagePack; the first byte tells which.

    Raises `UnreadableError` with the path of the first fault.
    """
    form = "json" if is_json(data) else "msgpack"
    decoder = _decoders.get((form, types))
    if decoder is None:
        union: Any = types[0]
        for other in types[1:]:
            union = union | other
        with _building:
            decoder = msgspec.json.Decoder(union) if form == "json" else msgspec.msgpack.Decoder(union)
        _decoders[(form, types)] = decoder
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        expected = ", ".join(kind.__name__.lower() for kind in types)
        raise UnreadableError(str(error), f"expected {form} of type {expected}") from error
