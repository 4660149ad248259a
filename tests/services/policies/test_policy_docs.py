"""What is written about policies names every part and every fact, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.policy_files import policy
from tidegate.services.packs.policy_folder import read_policies, run_policy_tests
from tidegate.services.policies.facts import FACTS
from tidegate.services.policies.language import KEYS

PAGE = (ROOT / "docs" / "policies.md").read_text("utf-8")
PACKS = (ROOT / "infra" / "packs" / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TYPES = {"str": "string", "int": "int", "float": "double", "bool": "bool", "tuple[str, ...]": "list(string)"}


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if "expect:" not in each], ids=lambda each: each.split("\n")[0]
)
def test_an_example_is_a_policy(tmp_path: Path, example: str) -> None:
    assert policy(tmp_path, example if "policy_id" in example else f"policy_id: p\n{example}").version


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    [example] = [each for each in EXAMPLES if "expect:" in each]
    (tmp_path / "p.yaml").write_text("policy_id: p\nblock: [speculative_financial_promises]\n")
    (tmp_path / "p_test.yaml").write_text(example)
    assert run_policy_tests(read_policies(tmp_path), ("GB",)).coverage == 1.0


def test_every_key_is_explained() -> None:
    assert [key for key in KEYS if f"`{key}`" not in PACKS] == ["policy_id"]


def test_every_fact_stands_in_the_table_with_its_type() -> None:
    rows = re.findall(r"^\| (`.*`) \| (\S.*?) \|", PAGE, re.MULTILINE)
    listed = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == {name: TYPES.get(kind, "map(string, double)") for name, kind in FACTS.items()}
