"""The days on which a document holds are read from its front matter, and are part of its version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_pack import read_document
from tidegate.services.packs.findings import PackError


def write(path: Path, *front: str) -> Path:
    path.write_text("\n".join(("---", "id: prices", "language: en", *front, "---", "A draft costs £9.")), "utf-8")
    return path


def test_the_days_are_read_and_make_another_version(tmp_path: Path) -> None:
    plain = read_document(write(tmp_path / "a.md"))
    dated = read_document(write(tmp_path / "b.md", "valid_from: 2026-01-01", 'valid_until: "2026-12-31"'))
    begun = read_document(write(tmp_path / "c.md", "valid_from: 2026-01-01"))
    assert (plain.valid_from, plain.valid_until) == ("", "")
    assert (dated.valid_from, dated.valid_until) == ("2026-01-01", "2026-12-31")
    assert (begun.valid_from, begun.valid_until) == ("2026-01-01", "")
    assert len({plain.version, dated.version, begun.version}) == 3


@pytest.mark.parametrize(
    "line", ["valid_from: next year", "valid_until: 31.12.2026", 'valid_from: "2026-02-30"', "valid_form: 2026-01-01"]
)
def test_a_day_that_cannot_be_read_is_a_fault(tmp_path: Path, line: str) -> None:
    with pytest.raises(PackError):
        read_document(write(tmp_path / "a.md", line))


def test_a_document_is_public_contact_where_it_says_so_and_that_is_another_version(tmp_path: Path) -> None:
    plain = read_document(write(tmp_path / "a.md"))
    public = read_document(write(tmp_path / "b.md", "public_contact: true"))
    assert (plain.is_public_contact, public.is_public_contact) == (False, True)
    assert plain.version != public.version
    for wrong in ("public_contact: 1", "public_contact: everybody", "public_contacts: true"):
        with pytest.raises(PackError):
            read_document(write(tmp_path / "c.md", wrong))
