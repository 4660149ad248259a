"""Every test belongs to a suite that CI runs."""

from __future__ import annotations

import re
import tomllib

from tests.support.paths import ROOT


def test_every_directory_of_tests_is_in_one_suite_and_ci_runs_each() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    usual = [path.removeprefix("tests/") for path in options["testpaths"]]
    commands = (ROOT / ".ci" / "run").read_text("utf-8").split()
    of_their_own = [word.removeprefix("test-") for word in commands if word.startswith("test-")]
    found = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert "test" in commands
    assert sorted([*usual, *of_their_own]) == sorted(found)


def test_a_suite_of_its_own_is_a_target_that_the_readme_names() -> None:
    targets = re.findall(r"^(test-\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert targets
    assert not [target for target in targets if f"`make {target}`" not in readme]
