"""Where the files of this machine lie below `state_dir`; nobody else spells these paths. Next: prepare.py."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.settings import Settings


class StatePaths:
    """The paths of one site (or of the hub, whose `settings.site` is `hub`)."""

    def __init__(self, settings: Settings) -> None:
        self.state = Path(settings.state_dir)
        self.fleet = self.state / "fleet.json"
        self.home = self.state / settings.site
        self.models = Path(settings.models_dir)
        self.pack = Path(settings.pack_dir)
        self.key = self.state / "keys" / f"{settings.site}.key"
        self.vault = self.home / "vault.sqlite"
        self.intent_head = self.home / "intent.safetensors"
        self.published = self.home / "published.txt"
        self.calibration = self.home / "calibration.json"
        self.planner = self.home / "planner.json"
        self.gateway = self.home / "gateway.json"
        self.gateway_port = self.home / "gateway.port"
        self.logs = self.home / "logs"
        self.ready = self.home / "ready"
        self.nats = self.home / "nats"

    def index(self, tenant: str) -> Path:
        """The tenant's own index directory; tenants never share one."""
        return self.home / "index" / tenant

    def prepared_sites(self) -> tuple[str, ...]:
        """The domains, hub included, that were prepared below the state directory."""
        return tuple(path.parent.name for path in self.state.glob(f"*/{self.calibration.name}"))

    def tuned_calibration(self, tenant: str) -> Path:
        """The calibration of a tenant whose reader has weights of its own."""
        return self.home / "tuned" / tenant / self.calibration.name
