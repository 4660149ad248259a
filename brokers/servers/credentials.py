"""Nkeys: the credentials that a server admits, each seed in a file that only its owner reads.

Next: conf.py, which names them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nkeys

from tidegate.schemas import TidegateError

OPERATOR, LEAF = "operator", "leaf"
SETTING_HINT = "let the setting nats.nkey_seed_file name the file with the seed (SU…) of a user of the server"


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


def seed_file_of(state_dir: Path, domain: str, role: str = OPERATOR) -> Path:
    """Where a machine keeps the seed of a domain's user with this role. The only place that spells the path."""
    return state_dir / "keys" / f"{domain}.{role}.nk"


def applications_file_of(state_dir: Path) -> Path:
    """Where the accounts of a machine's applications are, which the servers of its sites include."""
    return state_dir / "keys" / "applications.conf"


def own_inbox(prefix: str, seed_file: str) -> str:
    """The prefix of the inboxes of the user with this seed, where no other user of its account may listen: below
    `prefix`, or `prefix` itself where there is no file. Raises `NkeySeedError` where the file holds no user's seed."""
    return f"{prefix}.{public_key_of(seed_file)}" if seed_file else prefix


def public_key_of(seed_file: str) -> str:
    """The public half of the seed in the file. Raises `NkeySeedError`, also where the file cannot be read."""
    path = Path(seed_file)
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise NkeySeedError(f"{seed_file} cannot be read: {reason}", SETTING_HINT) from error
    return _public_of(text, path, SETTING_HINT)


def load_credential(seed_file: Path) -> Credential:
    """The credential kept in `seed_file`, made now (mode 0600) when there is none yet. Raises `NkeySeedError`."""
    try:
        text = seed_file.read_text().strip()
    except FileNotFoundError:
        text = _create(seed_file)
    return Credential(seed_file, _public_of(text, seed_file))


def create_credential(seed_file: Path) -> Credential:
    """A new credential in `seed_file` (mode 0600). Raises `FileExistsError` for a file, or a link, that is there: its
    seed may be somebody else's; `OSError`."""
    return Credential(seed_file, _public_of(_create(seed_file), seed_file))


def _public_of(seed: str, seed_file: Path, hint: str = "") -> str:
    try:
        public: str = nkeys.from_seed(bytearray(seed.encode())).public_key.decode()
    except (nkeys.NkeysError, ValueError) as error:
        raise NkeySeedError(f"{seed_file} holds no nkey seed", hint) from error
    if not public.startswith("U"):
        raise NkeySeedError(f"{seed_file} holds the seed of another kind of nkey", hint)
    return public


def _create(seed_file: Path) -> str:
    seed_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).decode()
    descriptor = os.open(seed_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    except OSError:  # half a seed would be taken for one
        seed_file.unlink(missing_ok=True)
        raise
    return text
