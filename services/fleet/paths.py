"""Where the files of this machine lie below `state_dir`; nobody else spells these paths. Next: prepare.py."""

from __future__ import annotations

from pathlib import Path

from tidegate.brokers.servers.credentials import LEAF, applications_file_of, seed_file_of
from tidegate.services.settings import Settings


class StatePaths:
    """The paths of one site (or of the hub, whose `settings.site` is `hub`); a gateway's are those of its replica."""

    def __init__(self, settings: Settings) -> None:
        self.state = Path(settings.state_dir)
        self.fleet = self.state / "fleet.json"
        self.home = self.state / settings.site
        self.models = Path(settings.models_dir)
        self.pack = Path(settings.pack_dir)
        self.key = self.state / "keys" / f"{settings.site}.key"
        self.vault = self.home / "vault.sqlite"
        self.vault_keys = self.state / "keys" / f"{settings.site}.vault.keys"
        """The keys of the tenants, without which no copy of the vault opens."""
        self.vault_mark = self.state / "keys" / f"{settings.site}.vault.mark"
        """How often the vault was changed: by it an older file is known."""
        self.intent_head = self.home / "intent.safetensors"
        self.published = self.home / "published.txt"
        self.calibration = self.home / "calibration.json"
        self.planner = self.home / "planner.json"
        own = "" if settings.replica == 1 else f"-{settings.replica}"
        self.gateway = self.home / f"gateway{own}.json"
        self.gateway_port = self.home / f"gateway{own}.port"
        self.logs = self.home / "logs"
        self.ready = self.home / "ready"
        self.nats = self.home / "nats"
        self.replicas = self.home / "replicas"
        """The stores of the tenants' collections, one file each, and the lock of who writes them."""
        self.trust = self.home / "trust"
        """At a site: what it believes of the hub's repository, the keys it knows, its leases."""
        self.audit = self.home / "audit"
        """The audit log, its lock, and what its worker says of itself."""
        self.audit_events = self.audit / "events"
        """What waits to be logged, one file for each event."""
        self.known_keys = self.trust / "known_keys.json"
        """At a site: the keys that the hub has published, as they were when its sync worker last looked."""
        self.site_records = self.home / "sites"
        """At the hub: what is known of each site."""
        self.allowed = self.home / "allowed.json"
        """At the hub: the digests that sites may run."""
        self.repository = self.state / "repository"
        """At the hub: the TUF repository."""
        self.keys = self.state / "keys"
        self._applications = settings.applications_file

    @property
    def answer_archive(self) -> Path:
        """Answers that have left their stream."""
        return self.home / "archive" / "answers.sqlite"

    @property
    def access_keys(self) -> Path:
        """The access keys of this machine's sites, as digests."""
        return self.keys / "access.json"

    @property
    def site_sources(self) -> Path:
        """At the hub: which processes of each site have escalated."""
        return self.home / "sources"

    @property
    def applications(self) -> Path:
        """The accounts of those that ask over NATS, which the servers of this machine's sites include."""
        return Path(self._applications) if self._applications else applications_file_of(self.state)

    def index(self, tenant: str) -> Path:
        """The tenant's own index directory; tenants never share one."""
        return self.home / "index" / tenant

    def replica(self, tenant: str) -> Path:
        """The store of a tenant's collections."""
        return self.replicas / f"{tenant}.sqlite"

    def active(self, tenant: str) -> Path:
        """The parts of the tenant's pack that are in force: one directory for each generation, and which it is."""
        return self.home / "active" / tenant

    @property
    def tls(self) -> Path:
        """At the hub: the authority that signs the certificates of the fleet's servers."""
        return self.keys / "tls"

    def leaf_seed(self, site: str) -> Path:
        """The seed by which the hub knows a site's leaf."""
        return seed_file_of(self.state, site, LEAF)

    def prepared_sites(self) -> tuple[str, ...]:
        """The domains, hub included, that were prepared or filled below the state directory."""
        prepared = self.state.glob(f"*/{self.calibration.name}")
        return tuple(sorted({path.parent.name for path in (*prepared, *self.state.glob("*/replicas"))}))

    def provisioned_sites(self) -> tuple[str, ...]:
        """The sites below the state directory that the hub knows."""
        return tuple(path.parent.parent.name for path in self.state.glob(f"*/{self.trust.name}/identity.json"))

    def tuned_calibration(self, tenant: str) -> Path:
        """The calibration of a tenant whose reader has weights of its own."""
        return self.home / "tuned" / tenant / self.calibration.name
