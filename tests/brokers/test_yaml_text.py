"""YAML that users write is read within limits: what is too deep, too long or repeats itself too often is named."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.support.paths import ROOT
from tidegate.brokers.process.yaml_text import LIMITS, YamlError, YamlLimits, compose_yaml, load_yaml

PLAIN = YamlLimits(depth=4, is_plain=True)
SMALL = YamlLimits(characters=200, depth=5, aliases=3, repeated=20)


def bomb(width: int, height: int, join: str = "[{}]") -> str:
    """A text in which every list repeats the one before it `width` times."""
    lines = [f"a0: &a0 {join.format(', '.join('x' * width)) if join == '[{}]' else '{x: 1}'}"]
    lines += [f"a{n}: &a{n} {join.format(', '.join([f'*a{n - 1}'] * width))}" for n in range(1, height)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (bomb(9, 9), 6, "aliases repeat"),
        (bomb(9, 9, "{{<<: [{}]}}"), 6, "aliases repeat"),
        ("a: &a [*a]", 1, "the alias a stands within itself"),
        ("a: &a {<<: *a}", 1, "stands within itself"),
        ("x: 1\ny: " + "[" * 100_000, 2, "nested too deeply"),
        ("{" * 100_000, 1, "nested too deeply"),
        ("- " * 50_000, 1, "nested too deeply"),
        ("? " * 50_000, 1, "nested too deeply"),
        ("[" * 1_000 + '"', 1, "not YAML"),
        ("a: &x 1\nb: &x 2", 2, "the anchor x is there twice"),
        ("a: &x 1\nb: [" + "*x," * 1_001 + "]", 2, "too many aliases"),
        ("a: 2026-99-99", 0, "month"),
        ("a: " + "9" * 5_000, 0, "digits"),
        ('a: "\\ud800"', 1, "not YAML"),
        ("a: 1\na: 2", 2, "duplicate key"),
        ("a: !python/name:os.system b", 1, "constructor"),
        ("---\na: 1\n---\nb: 2", 3, "a second document"),
        ("x" * 8_000_001, 0, "8000001 characters"),
    ],
)
def test_what_is_too_much_or_no_yaml_is_refused_at_once_with_its_line(text: str, line: int, reason: str) -> None:
    began_s = time.process_time()
    with pytest.raises(YamlError) as refused:
        load_yaml(text)
    assert time.process_time() - began_s < 5
    assert refused.value.line == line
    assert reason in refused.value.reason
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1", "an anchor"),
        ("a: *x", "an alias"),
        ("a: !!str 1", "a tag"),
        ("%YAML 1.1\n---\na: 1", "a directive"),
        ("[[[[[1]]]]]", "nested too deeply"),
    ],
)
def test_a_plain_text_holds_nothing_that_is_not_as_it_is_written(text: str, reason: str) -> None:
    with pytest.raises(YamlError, match=reason):
        compose_yaml(text, PLAIN)
    with pytest.raises(YamlError, match=reason):
        load_yaml(text, PLAIN)


def test_what_lies_within_the_limits_is_read_as_before() -> None:
    assert load_yaml("a: &x [no, 1, 2.5]\nb: *x\nc: {<<: {d: 1}}") == {
        "a": ["no", 1, 2.5],
        "b": ["no", 1, 2.5],
        "c": {"d": 1},
    }
    assert load_yaml("") is None
    assert compose_yaml("# nothing") is None
    for file in sorted((ROOT / "infra/packs/kiosk").rglob("*.yaml")):
        text = file.read_text("utf-8")
        assert load_yaml(text) == YAML(typ="safe").load(text)


TREES = st.recursive(
    st.integers(0, 9) | st.sampled_from(["x", "y", "*a", "*b"]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(st.sampled_from("ab"), st.lists(inner, max_size=4)),
    max_leaves=30,
)


def write(tree: object) -> str:
    """The tree as flow YAML; a pair is a list with an anchor."""
    if isinstance(tree, tuple):
        return f"&{tree[0]} {write(tree[1])}"
    return f"[{', '.join(map(write, tree))}]" if isinstance(tree, list) else str(tree)


def measure(value: object) -> tuple[int, int]:
    """How many values a value holds, itself included, and how deep it is."""
    inner = [measure(each) for each in value] if isinstance(value, list) else []
    return 1 + sum(size for size, _ in inner), (1 + max((depth for _, depth in inner), default=0)) * bool(
        isinstance(value, list)
    )


@given(TREES)
def test_nothing_that_is_read_exceeds_what_it_says_and_what_aliases_may_repeat(tree: object) -> None:
    text = write(tree)
    try:
        value = load_yaml(text, SMALL)
    except YamlError:
        return
    size, depth = measure(value)
    assert size <= len(text) + SMALL.repeated
    assert text.count("*") <= SMALL.aliases
    assert len(text) <= SMALL.characters
    assert depth <= SMALL.depth * (1 + SMALL.aliases)
    assert load_yaml(text, LIMITS) == value


def test_no_other_file_of_the_product_reads_yaml() -> None:
    reading = {
        file.relative_to(ROOT).as_posix()
        for floor in ("brokers", "infra/containers", "schemas", "services", "sync")
        for file in (ROOT / floor).rglob("*.py")
        if "import YAML" in (text := file.read_text("utf-8")) or "msgspec.yaml" in text
    }
    assert reading == {"brokers/process/yaml_text.py"}
