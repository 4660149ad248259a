"""Everything that can be configured, composed of what each room can be configured to do; read from one TOML file plus
the environment by brokers/process/config.py. `tidegate config reference` prints it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.brokers.settings import Directory, ProcessSettings
from tidegate.schemas.message import Name
from tidegate.services.evidence.settings import AuditSettings
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.privacy.settings import PrivacySettings
from tidegate.services.stages.settings import (
    CloudVerifierSettings,
    DrafterSettings,
    PrefilterSettings,
    PublisherSettings,
    RetrieverSettings,
    RouterSettings,
)
from tidegate.sync.settings import SyncSettings


class Settings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of every process of a site or of the hub. Paths are relative to the working directory."""

    tenants: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)] = ("kiosk",)
    """The tenants that the site serves; each has an index, a vault and an answer cache of its own."""
    models_dir: Directory = ".models"
    """The directory of the models that are shipped or exported."""
    pack_dir: Directory = "infra/packs/kiosk"
    """The pack: documents, intents, questions and policies of the site."""
    gateway: GatewaySettings = GatewaySettings()
    prefilter: PrefilterSettings = PrefilterSettings()
    router: RouterSettings = RouterSettings()
    retriever: RetrieverSettings = RetrieverSettings()
    drafter: DrafterSettings = DrafterSettings()
    cloud_verifier: CloudVerifierSettings = CloudVerifierSettings()
    publisher: PublisherSettings = PublisherSettings()
    sync: SyncSettings = SyncSettings()
    audit: AuditSettings = AuditSettings()
    privacy: PrivacySettings = PrivacySettings()
