"""The data split as a table: who may hold, write and read what, and by which stream it goes."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from tests.support.document_authors import Author, content
from tidegate.schemas import Collection
from tidegate.schemas.sync import Owner
from tidegate.sync.rules.clock import NOTHING
from tidegate.sync.rules.ownership import NotOwnedError, check_read, check_relay, may_hold, may_write, stream_of_edit


def collection(owner: Owner, *sites: str, sites_write: bool = False) -> Collection:
    return Collection(tenant="kiosk", name="notices", owner=owner, sites=sites, sites_write=sites_write)


SITE, HUB_ONLY = collection("site"), collection("hub")
ALL, SOME = collection("shared"), collection("shared", "site1")
WRITTEN = collection("shared", "site1", sites_write=True)


@pytest.mark.parametrize(
    ("which", "domain", "holds", "stream"),
    [
        (SITE, "hub", False, None),
        (SITE, "site1", True, "LOCAL"),
        (collection("site", "site1"), "site1", True, "LOCAL"),
        (collection("site", "site1"), "site2", False, None),
        (collection("site", "hub"), "hub", False, None),  # no selector brings a site's documents to the hub
        (HUB_ONLY, "hub", True, "LOCAL"),
        (HUB_ONLY, "site1", False, None),
        (collection("hub", "site1"), "site1", False, None),
        (ALL, "hub", True, "CORPUS"),
        (ALL, "site2", True, None),
        (SOME, "site1", True, None),
        (SOME, "site2", False, None),
        (WRITTEN, "hub", True, "CORPUS"),
        (WRITTEN, "site1", True, "EDITS"),
        (WRITTEN, "site2", False, None),
    ],
)
def test_a_collection_s_rule_says_who_holds_it_and_how_it_is_written(
    which: Collection, domain: str, holds: bool, stream: str | None
) -> None:
    assert may_hold(which, domain) is holds
    assert may_write(which, domain) is (stream is not None)
    if stream is not None:
        assert stream_of_edit(which, domain) == stream
        return
    with pytest.raises(NotOwnedError, match=f"{domain} may not write to notices"):
        stream_of_edit(which, domain)


def test_what_never_leaves_its_domain_is_in_no_stream_that_does() -> None:
    for owner, domain in itertools.product(("site", "hub"), ("hub", "site1")):
        which = msgspec.structs.replace(SITE, owner=owner, sites_write=True)
        if may_write(which, domain):
            assert stream_of_edit(which, domain) == "LOCAL"


@pytest.mark.parametrize("reader", ["hub", "site2"])
def test_a_site_s_document_is_refused_to_the_hub_and_to_other_sites(reader: str) -> None:
    with pytest.raises(NotOwnedError, match=f"{reader} may not read notices, which is each site's own"):
        check_read(SITE, reader, home="site1")
    check_read(SITE, "site1", home="site1")
    check_read(SOME, "site1")
    with pytest.raises(NotOwnedError, match="shared with site1, written by the hub"):
        check_read(SOME, "site2")


def test_the_hub_relays_what_a_site_says_of_itself_in_what_it_may_share() -> None:
    operation = Author("site1@1").write("d", NOTHING, content("a")).operation
    check_relay(WRITTEN, operation, "site1")
    for which, sender, reason in (
        (WRITTEN, "site2", "site2 sent an operation of site1"),
        (SOME, "site1", "may not share"),
        (SITE, "site1", "may not share in notices, which is each site's own, at every site"),
        (HUB_ONLY, "site1", "the hub's alone"),
        (msgspec.structs.replace(WRITTEN, tenant="bank"), "site1", "kiosk/notices is not bank/notices"),
        (msgspec.structs.replace(WRITTEN, name="other"), "site1", "kiosk/notices is not kiosk/other"),
        (msgspec.structs.replace(WRITTEN, sites=("site2",)), "site1", "may not share"),
    ):
        with pytest.raises(NotOwnedError, match=reason):
            check_relay(which, operation, sender)
