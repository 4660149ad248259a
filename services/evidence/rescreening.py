"""The prefilter of a site as it is on its disk, to screen recorded questions again.

Promises that nothing is stored: a question is read under its asker's key in memory, and the tokens that follow from
that key are made and not kept. Next: screening_replay.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from tidegate.schemas import Asked, Message, Replied, Screened, TidegateError, Withheld
from tidegate.services.evidence.screening_replay import First
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import ErasedError, TamperedError
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.stages.prefilter import Screening, ScreeningLoader, ScreeningModels
from tidegate.services.stages.prefilter.admission import Admission
from tidegate.services.stages.prefilter.handler import refuse_closed, screen


class NoSiteKeyError(TidegateError, FileNotFoundError):
    """The key that the site's questions are encrypted under is not on this machine."""

    hint = "replay where the site runs"


class Rescreening:
    """Screens by the generations that are held in the site's directory."""

    def __init__(self, screenings: TenantParts[Screening], vault: Vault) -> None:
        self._screenings = screenings
        self._vault = vault

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Rescreening]:
        """The models are loaded when this is entered. Raises `NoSiteKeyError`, `EmbeddingModelMissingError`,
        `NameModelMissingError`, and what `open_vault` raises."""
        paths = StatePaths(settings)
        if not paths.key.exists():
            raise NoSiteKeyError(f"there is no key of {settings.site} in {paths.key.parent}")
        with closing(open_vault(settings)) as vault:
            models = ScreeningModels(paths.models, finds_names=settings.prefilter.name_model)
            yield cls(TenantParts(settings, ScreeningLoader(settings, models, vault, stores_values=False).load), vault)

    async def screen(self, asked: Asked, recorded: First) -> First:
        """See `ScreenAgain`. Raises `GenerationGoneError`, `ErasedError` where its asker was erased since, and what its
        parts raise as they are read."""
        return await self.screen_under(asked, Admission(recorded.generation, recorded.degradations))

    async def screen_under(self, asked: Asked, admission: Admission) -> First:
        """The first fact of a request that is admitted so. Raises as `screen`."""
        _check_not_erased(self._vault, asked)
        await self._screenings.refresh(asked.tenant)
        own = await self._screenings.at(asked.tenant, admission.generation)
        if own is None:
            return _checked(refuse_closed(asked, admission))
        [fact] = await screen(asked, own.ports, own.rules, admission)
        return _checked(fact)


def _check_not_erased(vault: Vault, asked: Asked) -> None:
    try:
        unseal_request(vault, asked)
    except ErasedError:
        raise
    except TamperedError:  # that is what the prefilter decided on then, too
        pass


def _checked(fact: Message) -> First:
    assert isinstance(fact, (Screened, Withheld, Replied))  # the prefilter leaves no other
    return fact
