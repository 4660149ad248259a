"""Reports what a command has done to the audit log of its domain. Next: services/fleet/audit_spool.py.

Promises that the report is on the disk before the command says that it is done, with or without a server."""

from __future__ import annotations

from tidegate.schemas import replace
from tidegate.schemas.audit import AuditEvent
from tidegate.services.cli.options import CommandOptions
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths


def log_act(options: CommandOptions, domain: str, event: AuditEvent) -> None:
    """Have the audit worker of a domain of this machine log an act, when it runs. Raises `SettingsError`, `OSError`."""
    EventSpool(StatePaths(replace(options.settings(), site=domain)).audit_events).report(event)
