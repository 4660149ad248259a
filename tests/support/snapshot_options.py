"""Options of a fleet of sync workers that write and read snapshots; see sync_fleet.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.sync_fleet import QUICK
from tests.support.trust_hub import TrustHub
from tests.support.trusted_snapshots import RepositoryBlobs, RepositorySnapshots
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.sync.shells.hub_shell import HubPorts


def with_snapshots(path: Path, *sites: str, **settings: Any) -> dict[str, Any]:
    """Workers that write and read snapshots of a repository below `path`."""
    hub = TrustHub(path / "trust")
    blobs = RepositoryBlobs(hub)
    options: dict[str, Any] = {HUB: {"ports": HubPorts(blobs=lambda _tenant: blobs)}}
    for site in sites:
        options[site] = {"snapshots": RepositorySnapshots(hub, path / "trust" / site)}
    return {"options": options, "settings": replace(QUICK, **settings)}
