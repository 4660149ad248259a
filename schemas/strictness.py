"""Reads a message and refuses what a plain read passes over: fields that its type does not have.

A newer site's new fields are unknown to an older hub: the hub is brought up to date first. Next: message.py."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import M, decode, is_json


class UnknownFieldError(UnreadableError):
    """The message has a field that its type does not have."""

    hint = "both sides must run versions that know the field; the hub is brought up to date first"


def decode_strictly(data: bytes, *types: type[M]) -> M:
    """Read one of `types`, with no field beside its own, at any depth.

    Raises `UnknownFieldError`, whose reason names no field that somebody made up, and `UnreadableError` as `decode`.
    """
    message: M = decode(data, *types)
    raw = msgspec.json.decode(data) if is_json(data) else msgspec.msgpack.decode(data)
    if not is_known(raw, message):
        raise UnknownFieldError(f"a {type(message).__name__.lower()} has a field that is unknown here")
    return message


def is_known(raw: Any, read: Any) -> bool:
    """Whether all that is in `raw` was taken into `read`, what it was decoded to."""
    if isinstance(read, msgspec.Struct):
        config = read.__struct_config__
        if config.array_like:
            return len(raw) <= len(read.__struct_encode_fields__) + (config.tag is not None)
        names = dict(zip(read.__struct_encode_fields__, read.__struct_fields__, strict=True))
        own = {config.tag_field} if config.tag is not None else set()
        return all(
            key in own or (key in names and is_known(value, getattr(read, names[key]))) for key, value in raw.items()
        )
    if isinstance(read, tuple | list):
        return len(raw) == len(read) and all(map(is_known, raw, read))
    return True
