"""What was prepared lies on disk whole: its directory can be copied while nobody has it open."""

from __future__ import annotations

from pathlib import Path


def test_no_database_of_what_was_prepared_has_its_log_beside_it(prepared: Path) -> None:
    databases = sorted(prepared.rglob("index.sqlite"))
    assert len(databases) == 3
    assert [path.name for each in databases for path in each.parent.glob("index.sqlite*")] == ["index.sqlite"] * 3
