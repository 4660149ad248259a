"""A name that looks like a tenant's or a site's is nobody's, at every door that takes one; nor is a site a folder."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from tidegate import schemas
from tidegate.brokers.servers.fleet import BadSiteNameError, check_site_name
from tidegate.schemas import Asked, Resume, UnreadableError, decode
from tidegate.schemas.access import AccessRegister, Asker
from tidegate.schemas.message import END, Name, Rid
from tidegate.schemas.pack import Document, IsoDay, ItemId
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


def patterns_of(kind: object, seen: set[type]) -> Iterator[str]:
    """The patterns of all texts that a type holds, whatever it is made of."""
    found = kind if isinstance(kind, inspect.Type) else inspect.type_info(kind)
    if isinstance(found, inspect.StrType):
        yield from [found.pattern] if found.pattern else []
    elif isinstance(found, inspect.StructType):
        if found.cls not in seen:
            seen.add(found.cls)
            for field in found.fields:
                yield from patterns_of(field.type, seen)
    else:
        inner = [getattr(found, name, None) for name in ("item_type", "key_type", "value_type", "type")]
        parts = [*inner, *getattr(found, "item_types", ()), *getattr(found, "types", ())]
        for part in parts:
            if isinstance(part, inspect.Type):
                yield from patterns_of(part, seen)


def all_patterns() -> set[str]:
    """Those of every message, and of every setting."""
    seen: set[type] = set()
    roots = [AccessRegister, Document, Settings, *structs_of_schemas()]
    return {pattern for root in roots for pattern in patterns_of(root, seen)}


def structs_of_schemas() -> list[type]:
    modules = [importlib.import_module(f"tidegate.schemas.{each.name}") for each in iter_modules(schemas.__path__)]
    return [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__struct_fields__
    ]


def test_no_pattern_takes_a_line_feed_at_the_end_or_digits_of_another_alphabet() -> None:
    found = all_patterns()
    assert len(found) > 15
    assert {pattern for pattern in found if not pattern.startswith("^") or not pattern.endswith(END)} == set()
    assert {pattern for pattern in found if r"\d" in pattern or r"\w" in pattern} == set()


@pytest.mark.parametrize("kind", [ItemId, Asker, IsoDay, Name, Rid])
@given(st.text("abc019-_@.\n\r ٢", max_size=12))
def test_what_is_a_name_with_a_line_feed_behind_it_is_none(kind: object, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{text}\n", kind)
