"""What a log of this machine can be held against: heads that others have kept, policies that receipts name.

Promises to read only. Next: verification.py and export.py, which are given it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidegate.schemas import TidegateError
from tidegate.services.evidence.checkpoints import SignedNote
from tidegate.services.evidence.log_file import LOG
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.policy import Policy
from tidegate.services.settings import Settings


def logs_below(settings: Settings) -> dict[str, Path]:
    """The audit logs of this machine, by domain."""
    found = sorted(Path(settings.state_dir).glob(f"*/{StatePaths(settings).audit.name}/{LOG}"))
    return {file.parent.parent.name: file.parent for file in found}


def known_heads(settings: Settings) -> dict[str, SignedNote]:
    """The newest head of a domain's log that each log of this machine has kept, by whose log that is.

    Raises `BadCheckpointError`, `AuditDamagedError`, `AuditMissingError`.
    """
    heads = dict[str, SignedNote]()
    with AuditReader.open(StatePaths(settings).audit) as own:
        origin = own.state().origin
    for domain, directory in logs_below(settings).items():
        with AuditReader.open(directory) as reader:
            if (note := reader.head_of(origin)) is not None:
                heads["the hub, as the log itself has it" if domain == settings.site else f"the log of {domain}"] = note
    return heads


def known_policies(settings: Settings, tenant: str) -> dict[str, str]:
    """The policies of a tenant of which anything is held here, as canonical JSON by version; damaged ones are left
    out, whoever needs one is told that it is not here."""
    return {policy.version: policy.canonical for policy in _policies(settings, tenant)}


def _policies(settings: Settings, tenant: str) -> Iterator[Policy]:
    store = GenerationStore(StatePaths(settings).active(tenant))
    numbers = [int(path.name) for path in store.directory.glob("*") if path.name.isdigit()]
    for number in sorted(numbers):
        try:
            record = store.record(number)
            yield from PackInForce.of_generation(tenant, store.path(number), record).policies
        except TidegateError:
            continue
    try:
        yield from load_policies(sorted(StatePaths(settings).pack.glob("policies/*.y*ml")))
    except TidegateError:
        return
