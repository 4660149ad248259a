"""What simulated processes run on: a tiny pack, its models, indices, vault and rules, opened once for all runs.

Promises that what a model or an index says is what the real one says: it is computed when it is first asked for, and
remembered by what it was asked. Next: site_stages.py, hub_stages.py, which make stages of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from tidegate.brokers.process.config import load
from tidegate.schemas import Asked, encode
from tidegate.schemas import replace as with_fields
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare import prepare
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.tenant_parts import TenantParts, find_folder
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.packs.load import load_pack
from tidegate.services.privacy.sealing import seal_request, unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import JudgingRules
from tidegate.services.stages.prefilter import Screening, ScreeningLoader, ScreeningModels
from tidegate.services.stages.prefilter.screened_text import PersonalData
from tidegate.services.stages.router import RoutingRules

P = ParamSpec("P")
T = TypeVar("T")

PACK = Path(__file__).parent / "pack"
SITE = "site1"


class _Silent:
    """Nobody is shown the progress."""

    def start(self, what: str, total: int | None = None) -> None: ...
    def step(self, detail: str = "") -> None: ...
    def show(self, line: str) -> None: ...


def remember(function: Callable[P, T], key: Callable[P, Hashable]) -> Callable[P, T]:
    """The function, which is called once for each key and then gives the same again."""
    known: dict[Hashable, T] = {}

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        asked = key(*args, **kwargs)
        if asked not in known:
            known[asked] = function(*args, **kwargs)
        return known[asked]

    return call


def remember_awaited(function: Callable[P, Awaitable[T]], key: Callable[P, Hashable]) -> Callable[P, Awaitable[T]]:
    """As `remember`, for what is awaited."""
    known: dict[Hashable, T] = {}

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        asked = key(*args, **kwargs)
        if asked not in known:
            known[asked] = await function(*args, **kwargs)
        return known[asked]

    return call


@dataclass(frozen=True)
class SimulatedDomainParts:
    """What the stages of one domain share."""

    settings: Settings
    indexes: TenantIndexes
    readings: TenantParts[TenantReading]


@dataclass(frozen=True)
class SimulatedWorld:
    """Everything that no process of a simulation changes."""

    pack: Pack
    tenant: str
    site: SimulatedDomainParts
    hub: SimulatedDomainParts
    screening: Screening
    routing: TenantParts[RoutingRules]
    judging: TenantParts[JudgingRules]
    tokens: TokenText
    fields: FieldReader
    seal: Callable[[Asked], Asked]


@contextmanager
def open_world(models: Path, pack: Path = PACK) -> Iterator[SimulatedWorld]:
    """The world of a pack, in a directory that is deleted again.

    Raises `EmbeddingModelMissingError` where the models were never made, `PackError`.
    """
    with ExitStack() as stack:
        state = tempfile.mkdtemp(prefix="tidegate-sim-")
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        given = {"pack_dir": str(pack), "models_dir": str(models), "state_dir": state, "site": SITE}
        settings = load(Settings, pack / "site.toml", {}, **given).settings
        at_hub = with_fields(settings, site=HUB)
        loaded = load_pack(pack)
        for each in (settings, at_hub):
            prepare(each, loaded, _Silent())
        units, vault = UnitReader.load(models), stack.enter_context(closing(open_vault(settings)))
        yield SimulatedWorld(
            pack=loaded,
            tenant=settings.tenants[0],
            site=open_domain(settings, units),
            hub=open_domain(at_hub, units),
            screening=open_screening(settings, vault),
            routing=TenantParts(settings, partial(RoutingRules.load, settings)),
            judging=TenantParts(settings, partial(JudgingRules.load, settings)),
            tokens=TokenText.load(models / "lm" / "draft" / "tokenizer.json"),
            fields=FieldReader.load(models),
            seal=remember(partial(seal_request, vault), encode),
        )


def open_domain(settings: Settings, units: UnitReader) -> SimulatedDomainParts:
    """The indices of a domain, and how it reads."""
    exact_below = settings.retriever.exact_below
    return SimulatedDomainParts(
        settings,
        TenantIndexes(settings.tenants, StatePaths(settings).index, units.embedder, exact_below=exact_below),
        TenantParts(settings, partial(TenantReading.load, settings, units)),
    )


def open_screening(settings: Settings, vault: Vault) -> Screening:
    """What screens at the site, each thing that takes milliseconds remembered by the text that it was asked of."""
    paths = StatePaths(settings)
    models = ScreeningModels(paths.models, finds_names=settings.prefilter.name_model)
    made = ScreeningLoader(settings, models, vault).load(find_folder(paths, settings.tenants[0]))
    ports = made.ports

    def unseal(asked: Asked) -> Asked:
        return unseal_request(vault, asked)

    open_words = remember(unseal, lambda asked: (asked.asker, asked.rid, asked.sealed))
    return made._replace(
        ports=replace(
            ports,
            unseal=partial(unseal_words, open_words),
            find_personal=remember_awaited(ports.find_personal, lambda text: text),
            tokenise=remember_awaited(ports.tokenise, whose),
            detect_language=remember(ports.detect_language, lambda *asked: asked),
            classify=remember_awaited(ports.classify, lambda text: text),
        )
    )


def whose(asked: Asked, found: Sequence[PersonalData]) -> Hashable:
    """The values of one asker in a session, which have the same tokens there."""
    return (asked.asker, asked.session, *((each.kind, each.value) for each in found))


def unseal_words(open_words: Callable[[Asked], Asked], asked: Asked) -> Asked:
    """A request with its words in clear. Only those are remembered: its times are its own."""
    words = open_words(asked)
    return with_fields(
        asked, text=words.text, schema=words.schema, history=words.history, instructions=words.instructions
    )
