"""The switches to evidence-only that a site has, in files that every process of the site reads.

Two files: what the hub has signed, which the sync worker writes, and what an incident has raised here, which stays on
until the hub signs the next epoch of the same scope. Next: schemas/switch.py; sync/shells/switch_sync.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decoder_of
from tidegate.schemas.switch import Switch
from tidegate.sync.trust.files import replace_file

FILE, INCIDENTS = "switches.msgpack", "incidents"
_SUFFIX = ".msgpack"


class HeldSwitch(msgspec.Struct, frozen=True):
    """A switch, the epoch of its scope, and the digest of its artefact; empty: an incident has raised it here, after
    that epoch."""

    switch: Switch
    epoch: int = 0
    digest: str = ""


class SwitchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The newest switch of each scope that the hub has signed, on or off."""

    held: tuple[HeldSwitch, ...] = ()


_read_record, _read_held = decoder_of(SwitchRecord), decoder_of(HeldSwitch)


def switches_in(artefacts: Iterable[ArtefactDescriptor]) -> tuple[HeldSwitch, ...]:
    """The switches among signed artefacts, by tenant and scope."""
    held = [HeldSwitch(each.switch, each.epoch, each.digest) for each in artefacts if each.switch is not None]
    return tuple(sorted(held, key=lambda each: (each.switch.tenant, each.switch.name)))


def write_switches(directory: Path, held: tuple[HeldSwitch, ...]) -> None:
    """Write what the hub has signed. Raises `OSError`."""
    replace_file(directory / FILE, msgspec.msgpack.encode(SwitchRecord(held=held)))


def read_switches(directory: Path) -> tuple[HeldSwitch, ...]:
    """What was written last; nothing where nothing ever was. Raises `UnreadableError`."""
    try:
        return _read_record((directory / FILE).read_bytes()).held
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise UnreadableError(f"{directory / FILE}: {error}", "restart the site's sync worker") from error


def write_incident(directory: Path, raised: HeldSwitch) -> None:
    """Write a switch that an incident has raised at this site. Raises `OSError`."""
    switch = raised.switch
    replace_file(directory / INCIDENTS / f"{switch.tenant}.{switch.name}{_SUFFIX}", msgspec.msgpack.encode(raised))


def read_incidents(directory: Path) -> tuple[HeldSwitch, ...]:
    """All that were ever raised at this site. Raises `UnreadableError`."""
    found = []
    for file in sorted((directory / INCIDENTS).glob(f"[!.]*{_SUFFIX}")):
        try:
            found.append(_read_held(file.read_bytes()))
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{file}: {error}", "delete it, and raise the switch at the hub") from error
    return tuple(found)


def switches_on(signed: Iterable[HeldSwitch], incidents: Iterable[HeldSwitch]) -> tuple[HeldSwitch, ...]:
    """The switches that are on: those that the hub has signed last as on, and those of incidents that came after the
    hub's last word on their scope. Pure."""
    newest: Mapping[tuple[str, str], HeldSwitch] = {(each.switch.tenant, each.switch.name): each for each in signed}

    def is_open(raised: HeldSwitch) -> bool:
        known = newest.get((raised.switch.tenant, raised.switch.name))
        return known is None or known.epoch <= raised.epoch

    return tuple(each for each in (*newest.values(), *filter(is_open, incidents)) if each.switch.is_on)
