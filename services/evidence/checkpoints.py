"""Signed heads of a log: C2SP signed notes, checkpoints, and a witness's cosignatures (Ed25519). Pure.

A note is text, an empty line, and a line for each signature. Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint,
c2sp.org/tlog-cosignature. Next: witness.py, which decides what is cosigned."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.merkle import HASH_BYTES

ED25519, COSIGNED = b"\x01", b"\x04"
"""The types of a signature: of the log itself; of a witness, at a time."""
COSIGNATURE = "cosignature/v1"
DASH = "\N{EM DASH} "
_ORIGIN = re.compile(r"tidegate\.audit/([a-z0-9][a-z0-9_-]{0,31})(?:@([2-9]|[1-9][0-9]{1,8}))?")
LONGEST = 16_384
"""Characters of a note that is read."""
Sign = Callable[[bytes], bytes]
"""The Ed25519 signature of bytes."""


class BadCheckpointError(TidegateError, ValueError):
    """A head of a log is not in the form of a checkpoint, or no key that may sign it did."""

    hint = "the head was changed, or is another's: take it from the log, or from the hub, anew"


class Checkpoint(NamedTuple):
    """The head of a log: whose it is, how many entries it has, and the root of their tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class NoteSignature(NamedTuple):
    """One line below a note."""

    name: str
    key_hash: bytes
    data: bytes

    @property
    def line(self) -> str:
        """As the note has it."""
        return f"{DASH}{self.name} {b64encode(self.key_hash + self.data).decode()}\n"


class SignedNote(NamedTuple):
    """A text and who signed it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(each.line for each in self.signatures)

    @property
    def checkpoint(self) -> Checkpoint:
        """The head that the text states. Raises `BadCheckpointError`."""
        lines = self.text.split("\n")
        if len(lines) < 4 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]) or not lines[0]:
            raise BadCheckpointError("this is no checkpoint: it has no origin, size and root")
        root = _decode(lines[2])
        if len(root) != HASH_BYTES:
            raise BadCheckpointError(f"the root of a checkpoint has {len(root)} bytes")
        return Checkpoint(lines[0], int(lines[1]), root)


def origin_of(domain: str, incarnation: int = 1) -> str:
    """How the log of a domain is called, and the key that signs its heads. A site that was provisioned anew, because
    its disk was lost, begins another log than the one that the hub knows."""
    return f"tidegate.audit/{domain}" if incarnation <= 1 else f"tidegate.audit/{domain}@{incarnation}"


def source_of(origin: str) -> tuple[str, int]:
    """The domain whose log is called so, and its incarnation. Raises `BadCheckpointError`."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise BadCheckpointError(f"{origin[:64]!r} is no audit log of ours")
    return found[1], int(found[2] or 1)


def domain_of(origin: str) -> str:
    """The domain whose log is called so. Raises `BadCheckpointError`."""
    return source_of(origin)[0]


def parse_note(note: str) -> SignedNote:
    """Read a signed note. Raises `BadCheckpointError`."""
    text, empty, below = note.rpartition("\n\n")
    if not empty or not below.endswith("\n") or len(note) > LONGEST:
        raise BadCheckpointError("this is no signed note")
    return SignedNote(text + "\n", tuple(map(_parse_line, below[:-1].split("\n"))))


def sign_checkpoint(head: Checkpoint, public: bytes, sign: Sign) -> SignedNote:
    """The head, signed by the key of its log. Raises what `sign` raises."""
    signature = NoteSignature(head.origin, key_hash(head.origin, ED25519, public), sign(head.text.encode()))
    return SignedNote(head.text, (signature,))


def cosign(note: SignedNote, witness: str, public: bytes, sign: Sign, at_s: int) -> SignedNote:
    """The note with a witness's signature, which says when it saw it (Unix seconds). Raises what `sign` raises."""
    data = at_s.to_bytes(8, "big") + sign(_cosigned_bytes(note.text, at_s))
    return SignedNote(note.text, (*note.signatures, NoteSignature(witness, key_hash(witness, COSIGNED, public), data)))


def key_hash(name: str, kind: bytes, public: bytes) -> bytes:
    """By what a signature finds its key: 4 bytes of the hash of name, type and public key."""
    return sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def find_signer(note: SignedNote, keys: Iterable[TrustedKey]) -> TrustedKey:
    """The key of the log's own domain that signed the note. Raises `BadCheckpointError` where none of `keys` did."""
    name = note.checkpoint.origin
    for key, data in _candidates(note, name, ED25519, keys):
        if _is_signed(key.public, data, note.text.encode()):
            return key
    raise BadCheckpointError(f"no known key of {domain_of(name)} signed this head")


def witnessed_at_s(note: SignedNote, witness: str, keys: Iterable[TrustedKey]) -> int:
    """When a witness saw it, in Unix seconds; 0: none of `keys` cosigned it under that name."""
    for key, data in _candidates(note, witness, COSIGNED, keys):
        at_s = int.from_bytes(data[:8], "big")
        if _is_signed(key.public, data[8:], _cosigned_bytes(note.text, at_s)):
            return at_s
    return 0


def _candidates(
    note: SignedNote, name: str, kind: bytes, keys: Iterable[TrustedKey]
) -> Iterator[tuple[TrustedKey, bytes]]:
    for key in keys:
        wanted = key_hash(name, kind, key.public)
        yield from ((key, each.data) for each in note.signatures if (each.name, each.key_hash) == (name, wanted))


def _is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _cosigned_bytes(text: str, at_s: int) -> bytes:
    return f"{COSIGNATURE}\ntime {at_s}\n{text}".encode()


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(DASH).partition(" ")
    data = _decode(encoded)
    if not line.startswith(DASH) or not space or not name or "+" in name or len(data) < 5:
        raise BadCheckpointError("a signature of this note is in no known form")
    return NoteSignature(name, data[:4], data[4:])


def _decode(encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadCheckpointError("a part of this note is not in base64") from error
