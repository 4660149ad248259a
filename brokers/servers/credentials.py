"""Nkeys: the credentials that a server admits, each seed in a file that only its owner reads.

Next: conf.py, which names them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nkeys

from tidegate.schemas import TidegateError


class NkeySeedError(TidegateError, ValueError):
    """The file does not hold the seed of a user nkey."""

    hint = "delete the file to have a new seed made; a user's starts with SU"


@dataclass(frozen=True)
class Credential:
    """An Ed25519 user nkey: the seed stays in its file, the public half goes into the server's configuration."""

    seed_file: Path
    public: str

    def seed(self) -> str:
        """The seed in NATS' base32 form; whoever has it is the user."""
        return self.seed_file.read_text().strip()


def load_credential(seed_file: Path) -> Credential:
    """The credential kept in `seed_file`, made now (mode 0600) when there is none yet. Raises `NkeySeedError`."""
    try:
        text = seed_file.read_text().strip()
    except FileNotFoundError:
        text = _create(seed_file)
    try:
        public = nkeys.from_seed(bytearray(text.encode())).public_key.decode()
    except (nkeys.NkeysError, ValueError) as error:
        raise NkeySeedError(f"{seed_file} holds no nkey seed") from error
    if not public.startswith("U"):
        raise NkeySeedError(f"{seed_file} holds the seed of another kind of nkey")
    return Credential(seed_file, public)


def _create(seed_file: Path) -> str:
    seed_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).decode()
    descriptor = os.open(seed_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text
