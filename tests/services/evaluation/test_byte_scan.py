"""A value that is written anywhere is found, however it is spelled and wherever a block of the file ends."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtests.personal_requests import personal_requests
from tests.support.paths import ROOT
from tidegate.services.evaluation import byte_scan
from tidegate.services.evaluation.byte_scan import find_excerpt, find_values

VALUE = "Ada.M\u00f6or@example.org"
WRITTEN: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "utf-16": lambda value: value.encode("utf-16-le"),
    "hex": lambda value: value.encode().hex().encode(),
    "json": lambda value: json.dumps(value).encode(),
    "percent": lambda value: quote(value, safe="").encode(),
    "base64": lambda value: base64.b64encode(value.encode()),
    "base64 after one": lambda value: base64.b64encode(b"x" + value.encode() + b"..."),
    "base64 after two": lambda value: base64.b64encode(b"xy" + value.encode() + b".."),
    "base64 for a URL": lambda value: base64.urlsafe_b64encode(b"<<<<" + value.encode() + b">>>>>"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_each_spelling_is_found_in_a_deep_file(tmp_path: Path, written: Callable[[str], bytes]) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "store.blk").write_bytes(bytes(range(256)) + written(VALUE) + bytes(99))
    (deep / "other.blk").write_bytes(written("Ben.Moor@example.org") * 3)
    (tmp_path / "link").symlink_to(deep)
    assert find_values(tmp_path, [VALUE, "nobody@example.org", ""]) == {VALUE: [str(deep / "store.blk")]}


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(st.text(alphabet="ab1 \u00e9", min_size=1, max_size=14), min_size=1, max_size=6, unique=True),
    before=st.integers(0, 40),
    there=st.integers(0, 5),
)
def test_wherever_a_block_ends_what_is_found_is_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[str], before: int, there: int
) -> None:
    monkeypatch.setattr(byte_scan, "BLOCK", 16)
    data = b"z" * before + "".join(values[: there + 1]).encode() + b"z" * 9
    (tmp_path / "file").write_bytes(data)
    plain = {value for value in values if value.encode() in data}
    assert set(find_values(tmp_path, values)) >= plain
    assert not find_values(tmp_path, ["q" * 9, "q"])


def test_thousands_of_values_and_a_file_of_megabytes(tmp_path: Path) -> None:
    values = [f"person-{number:05d}@example.org" for number in range(3000)]
    (tmp_path / "file").write_bytes(bytes(3_000_000) + values[1234].encode() + bytes(3_000_000))
    assert set(find_values(tmp_path, values)) == {values[1234]}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_an_excerpt_shows_what_stands_around_a_value_however_it_is_spelled(
    tmp_path: Path, written: Callable[[str], bytes]
) -> None:
    file = tmp_path / "store.blk"
    file.write_bytes(bytes(500) + b"asked of " + written(VALUE) + b" and no more" + bytes(500))
    excerpt = find_excerpt(file, VALUE)
    assert "asked of " in excerpt
    assert " and no more" in excerpt
    assert not find_excerpt(file, "nobody@example.org")


def test_no_value_that_the_scan_asks_with_is_published_by_a_shipped_pack() -> None:
    values = [value for seed in range(20) for request in personal_requests(seed, 200) for value in request.values]
    assert find_values(ROOT / "infra" / "packs", values) == {}
