"""Every setting is described: in the reference of the command line, in the page, and by its own struct."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from tests.support.paths import ROOT
from tidegate.brokers.process.config import load
from tidegate.brokers.process.config_reference import SettingReference, describe_sections, describe_settings
from tidegate.services.cli.config import reference_markdown
from tidegate.services.settings import Settings

ROWS = describe_settings(Settings)
WITHOUT_UNIT = {
    "replica",
    "metrics_port",
    "gateway.port",
    "sync.snapshot_after_deltas",
    "prefilter.unsafe_threshold",
    "prefilter.distress_threshold",
    "prefilter.smalltalk_threshold",
    "drafter.escalate_below",
    "drafter.escalate_below_for",
    "router.economy",
    "publisher.incident_share",
}
"""Numbers that are no quantity: which one of several, ports, probabilities and ratios."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_setting_has_a_meaning_a_type_in_words_and_a_unit_where_it_is_a_quantity(row: SettingReference) -> None:
    assert row.meaning.endswith(".")
    assert "[" not in row.type.replace("^[a-z0-9][a-z0-9_-]{0,31}$", "").partition("of the form")[0]
    assert "typing" not in row.type
    is_quantity = "number" in row.type and row.key not in WITHOUT_UNIT
    assert bool(row.unit) == is_quantity


def test_every_key_that_can_be_loaded_is_described_and_no_other() -> None:
    assert [row.key for row in ROWS] == list(load(Settings).origins)


@pytest.mark.parametrize("row", [row for row in ROWS if row.type.startswith("text")], ids=lambda row: row.key)
def test_the_variable_of_a_setting_is_the_one_that_is_read(row: SettingReference) -> None:
    assert re.fullmatch("[A-Z0-9_]+", row.variable), "no name that a shell takes"
    assert load(Settings, None, {row.variable: "x1"}).origins[row.key] == row.variable


def test_the_page_has_a_row_for_every_key_in_its_own_section() -> None:
    page = reference_markdown()
    found, section = [], ""
    for line in page.splitlines():
        if heading := re.fullmatch(r"## `\[(\w+)\]`", line):
            section = f"{heading[1]}."
        elif row := re.match(r"\| `([\w.]+)` \| ", line):
            assert line.count(" | ") == 4, "a cell that is split by a bar of its own"
            found.append(section + row[1])
    assert sorted(found) == sorted(row.key for row in ROWS)
    assert all(describe_sections(Settings).values())


class Inner(msgspec.Struct, frozen=True):
    """A section."""

    wait_ms: int = 3
    """How long."""


class Base(msgspec.Struct):
    kept: str = "a|b"
    """Inherited."""


class Outer(Base):
    inner: Inner = Inner()
    loops: Annotated[int, msgspec.Meta(extra={"unit": "rounds"})] = 2
    no_meaning: bool = False
    kept: str = "c"


def test_a_struct_of_anybodys_is_described_by_its_own_source() -> None:
    rows = {row.key: row for row in describe_settings(Outer)}
    assert (rows["inner.wait_ms"].unit, rows["inner.wait_ms"].meaning) == ("ms", "How long.")
    assert (rows["loops"].unit, rows["loops"].meaning) == ("rounds", "")
    assert rows["no_meaning"].meaning == ""
    assert (rows["kept"].meaning, rows["kept"].default) == ("Inherited.", "'c'")
    assert describe_sections(Outer) == {"inner": "A section."}


def test_the_command_prints_json_and_text_and_writes_the_page(tmp_path: Path) -> None:
    def run(*args: str) -> str:
        command = [sys.executable, "-m", "tidegate.services.cli", "config", "reference", *args]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert [row["key"] for row in json.loads(run("--json"))] == [row.key for row in ROWS]
    assert "router.k = 8 passages\n" in run()
    run("--write")
    assert (tmp_path / "docs" / "configuration.md").read_text(encoding="utf-8") == reference_markdown()
    run("--write", "other.md")
    assert (tmp_path / "other.md").exists()
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference_markdown(), "stale"
