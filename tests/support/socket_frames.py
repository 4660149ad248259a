"""Frames of a WebSocket client (RFC 6455, 5.2), as no library would send them, too."""

from __future__ import annotations

import struct


def frame(payload: bytes, *, opcode: int = 1, bits: int = 0x80) -> bytes:
    """A frame of a client, with a mask of zeros."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + struct.pack("!H", size) if size < 65_536 else b"\xff" + struct.pack("!Q", size)
    return bytes([bits | opcode]) + length + bytes(4) + payload
