"""An adapter is used with a model that it was made for, or not at all; why not is said."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.trust_hub import NOW, TrustHub, at, describe, publish_bytes
from tidegate.schemas.artefact import ArtefactKind
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import BaseModelMissingError
from tidegate.sync.trust.holdings import Holdings

pytestmark = pytest.mark.anyio
ADAPTER, MODEL = "artefacts/kiosk/adapter/branch", "artefacts/kiosk/model/small"
OWN, OTHER, INSTALLED = b"a model", b"another model", b"the models of this machine"


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


class Site:
    """A site that believes `hub`, and has models of its own."""

    def __init__(self, hub: TrustHub, directory: Path) -> None:
        self.hub = hub
        self.client: RepositoryClient = hub.client(directory)
        self.holdings = Holdings(directory, self.client.blobs, lambda: [digest(INSTALLED)])

    async def take(
        self, kind: ArtefactKind, name: str, data: bytes, epoch: int = 1, bases: tuple[str, ...] = ()
    ) -> None:
        """Have the hub publish an artefact, fetch it, and activate it. Raises what that raises."""
        artefact = describe(data, epoch, kind, name, bases)
        publish_bytes(self.hub.repository, artefact, data, self.hub.signers(), NOW)
        generation = await self.client.refresh(at(NOW))
        path = f"artefacts/kiosk/{kind}/{name}"
        await self.client.fetch(path)
        self.holdings.activate(path, generation)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(TrustHub(tmp_path / "hub"), tmp_path / "site")


@pytest.mark.parametrize(
    ("model", "bases", "is_used"),
    [
        pytest.param(None, [], True, id="it needs none"),
        pytest.param(None, [OWN], False, id="no model at all"),
        pytest.param(OWN, [OWN], True, id="its model"),
        pytest.param(OTHER, [OWN], False, id="another model"),
        pytest.param(OTHER, [OWN, OTHER], True, id="one of its models"),
        pytest.param(None, [INSTALLED], True, id="what is installed"),
        pytest.param(OTHER, [INSTALLED], True, id="what is installed beside another"),
    ],
)
async def test_an_adapter_is_activated_with_its_model_only(
    site: Site, model: bytes | None, bases: list[bytes], is_used: bool
) -> None:
    if model is not None:
        await site.take("model", "small", model)
    wanted = tuple(digest(each) for each in bases)
    if is_used:
        await site.take("adapter", "branch", b"deltas", bases=wanted)
    else:
        with pytest.raises(BaseModelMissingError, match=f"{ADAPTER} fits the models {wanted[0][:12]}"):
            await site.take("adapter", "branch", b"deltas", bases=wanted)
    assert (ADAPTER in site.holdings.activated()) is is_used


async def test_a_model_of_another_name_or_tenant_does_not_serve(site: Site) -> None:
    await site.take("policy", "default", OWN)  # its bytes, and no model
    with pytest.raises(BaseModelMissingError):
        await site.take("adapter", "branch", b"deltas", bases=(digest(OWN),))


async def test_an_adapter_goes_with_the_model_that_it_fits_and_comes_back_with_it(site: Site) -> None:
    await site.take("model", "small", OWN)
    await site.take("adapter", "branch", b"deltas", bases=(digest(OWN),))
    await site.take("adapter", "any", b"fits all")
    await site.take("model", "small", OTHER, epoch=2)
    assert set(site.holdings.activated()) == {MODEL, "artefacts/kiosk/adapter/any"}
    await site.take("model", "small", OWN, epoch=3)
    await site.take("adapter", "branch", b"deltas", epoch=2, bases=(digest(OWN),))
    assert ADAPTER in site.holdings.activated()
