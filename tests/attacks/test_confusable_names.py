"""A name that looks like a tenant's or a site's is nobody's, at every door that takes one; nor is a site a folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.servers.fleet import BadSiteNameError, check_site_name
from tidegate.schemas import Asked, Resume, UnreadableError, decode
from tidegate.schemas.message import Name
from tidegate.schemas.subject_claims import claim_of
from tidegate.services.fleet.nats_users import SeedFileExistsError, make_seed
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords, UnknownSiteRecordError

CONFUSABLE = [
    "kiоsk",  # a Cyrillic o
    "kiosk\u200b",
    "ｋｉｏｓｋ",
    "kio\u017fk",  # a long s, which is an s in lower case of its upper case
    "KIOSK",
    "kiosk ",
    "kiosk\n",
    "kiosk\0",
    "\u202ekiosk",
    "kiosk.r1",
    "*",
    ">",
    "../bank",
    "k" * 33,
    "",
]


@pytest.mark.parametrize("name", CONFUSABLE)
def test_what_looks_like_a_tenant_or_a_site_is_refused_wherever_it_is_named(name: str, tmp_path: Path) -> None:
    for message in (Asked, Resume):
        body = msgspec.json.encode({"type": message.__name__.lower(), "text": "x", "rid": "r1", "tenant": name})
        if name:  # without one it is the credential's
            with pytest.raises(UnreadableError, match=r"\$\.tenant"):
                decode(body, message)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"tenants": [name]}, Settings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"site": name}, Settings)
    with pytest.raises(BadSiteNameError):
        check_site_name(name)
    with pytest.raises(UnknownSiteRecordError):
        SiteRecords(tmp_path).load(name)
    assert claim_of(f"escalations.{name}.kiosk.r1") is None
    assert claim_of(f"escalations.site1.{name}.r1") is None


@given(st.text(max_size=40))
def test_a_name_is_ascii_and_its_own_lower_case_or_it_is_none(text: str) -> None:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return
    assert text.isascii()
    assert text == text.casefold().strip()
    assert not set(text) & set("./\\*> \r\n\0")


def test_no_site_is_called_as_a_folder_that_others_share() -> None:
    paths = StatePaths(Settings(site="hub"))
    shared = {path.name for path in (paths.keys, paths.repository, paths.home)} | {"errors"}
    for name in shared:
        with pytest.raises(BadSiteNameError):
            check_site_name(name)
    check_site_name("site1")


def test_a_seed_that_somebody_else_has_put_there_first_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    theirs, file = tmp_path / "theirs.nk", tmp_path / "app.nk"
    make_seed(theirs)
    for target in (theirs, tmp_path / "not yet"):
        file.symlink_to(target)
        with pytest.raises(SeedFileExistsError):
            make_seed(file)
        file.unlink()
    assert make_seed(file) != make_seed(tmp_path / "other.nk")
