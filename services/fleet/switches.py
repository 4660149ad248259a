"""The switches to evidence-only as a process of a site sees them: what is on now, read anew only where it changed.

Promises that what the sync worker has written is seen by the next answer. Next: sync/trust/switches.py, the files;
services/stages/publisher/switched.py, what they do."""

from __future__ import annotations

from pathlib import Path

from tidegate.schemas.artefact import ArtefactKind
from tidegate.schemas.switch import Switch, SwitchStatus
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.switches import (
    FILE,
    INCIDENTS,
    HeldSwitch,
    read_incidents,
    read_switches,
    switches_on,
    write_incident,
)

KIND: ArtefactKind = "switch"


class SiteSwitches:
    """Those of one site."""

    def __init__(self, settings: Settings) -> None:
        self._directory = StatePaths(settings).trust
        self._site = settings.site
        self._seen: tuple[object, object] | None = None
        self._on: tuple[HeldSwitch, ...] = ()

    def on(self) -> tuple[HeldSwitch, ...]:
        """All that are on, of this site and of others. Raises `UnreadableError`: then nobody may publish."""
        seen = (_look(self._directory / FILE), _look(self._directory / INCIDENTS))
        if seen != self._seen:
            self._on = switches_on(read_switches(self._directory), read_incidents(self._directory))
            self._seen = seen
        return self._on

    def find(self, tenant: str, class_name: str | None) -> HeldSwitch | None:
        """The first that is on here for this tenant and class of questions, for any class where that is not known.
        Raises as `on` does."""
        for each in self.on():
            if each.switch.covers(tenant, self._site, each.switch.class_name if class_name is None else class_name):
                return each
        return None

    def raise_here(self, switch: Switch) -> bool:
        """Put one on by ourselves: until the hub signs the next epoch of its scope. False where one of this scope is
        on already. Raises as `on` does, and `OSError`."""
        if any((each.switch.tenant, each.switch.name) == (switch.tenant, switch.name) for each in self.on()):
            return False
        signed = read_switches(self._directory)
        known = (
            each.epoch for each in signed if (each.switch.tenant, each.switch.name) == (switch.tenant, switch.name)
        )
        write_incident(self._directory, HeldSwitch(switch, max(known, default=0)))
        self._seen = None
        return True

    def status(self) -> tuple[SwitchStatus, ...]:
        """Those that are on and concern this site. Raises as `on` does."""
        return tuple(
            SwitchStatus(switch=each.switch, epoch=each.epoch, raised_by="hub" if each.digest else "incident")
            for each in self.on()
            if each.switch.site in ("", self._site)
        )


def _look(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file was replaced, there or in a folder."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
