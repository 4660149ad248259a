"""The prefilter of a site as it is on its disk, to screen recorded questions again.

Promises that nothing is stored: a question is read under the site's key in memory, and vault tokens, which follow from
that key, are made in a vault that is thrown away. Next: screening_replay.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.schemas import Asked, Message, Replied, Screened, TidegateError, Withheld
from tidegate.services.evidence.screening_replay import First
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.privacy.vault import Vault, load_site_key
from tidegate.services.settings import Settings
from tidegate.services.stages.prefilter import Screening, ScreeningLoader, ScreeningModels
from tidegate.services.stages.prefilter.admission import Admission
from tidegate.services.stages.prefilter.handler import refuse_closed, screen


class NoSiteKeyError(TidegateError, FileNotFoundError):
    """The key that the site's questions are encrypted under is not on this machine."""

    hint = "replay where the site runs"


class Rescreening:
    """Screens by the generations that are held in the site's directory."""

    def __init__(self, screenings: TenantParts[Screening]) -> None:
        self._screenings = screenings

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Rescreening]:
        """The models are loaded when this is entered. Raises `NoSiteKeyError`, `SiteKeyError`,
        `EmbeddingModelMissingError`, `NameModelMissingError`."""
        paths = StatePaths(settings)
        if not paths.key.exists():
            raise NoSiteKeyError(f"there is no key of {settings.site} in {paths.key.parent}")
        key = load_site_key(paths.key)
        with tempfile.TemporaryDirectory(prefix="tidegate-replay-") as directory:
            vault = Vault.open(Path(directory) / "vault.sqlite", key)
            try:
                models = ScreeningModels(paths.models, finds_names=settings.prefilter.name_model)
                yield cls(TenantParts(settings, ScreeningLoader(settings, models, key, vault).load))
            finally:
                vault.close()

    async def screen(self, asked: Asked, recorded: First) -> First:
        """See `ScreenAgain`. Raises `GenerationGoneError`, and what its parts raise as they are read."""
        admission = Admission(recorded.generation, recorded.degradations)
        await self._screenings.refresh(asked.tenant)
        own = await self._screenings.at(asked.tenant, recorded.generation)
        if own is None:
            return _checked(refuse_closed(asked, admission))
        [fact] = await screen(asked, own.ports, own.rules, admission)
        return _checked(fact)


def _checked(fact: Message) -> First:
    assert isinstance(fact, (Screened, Withheld, Replied))  # the prefilter leaves no other
    return fact
