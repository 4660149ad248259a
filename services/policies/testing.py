"""Tests of policies, which lie beside them: inputs, what is expected of each, and which rules were ever seen to act.

Pure once the files are read. Next: decision_log.py, the inputs; services/packs/policy_folder.py, the files of a pack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from tidegate.brokers.process.yaml_text import YamlError, YamlLimits, compose_yaml, load_yaml
from tidegate.services.policies.boundaries import LANGUAGES, RESIDENCY, TOOLS
from tidegate.services.policies.decision_log import PolicyInput, PolicyResult, PolicyVerdict, decide
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import FindPersonal, Policy

MAX_BYTES = 1_000_000
LIMITS = YamlLimits(characters=MAX_BYTES, depth=8, is_plain=True)


class ExpectedResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has to come of an input: the verb and, where they are given, the code of the refusal, rules that have to
    act (with the policy's id, or without), the text, and the notices."""

    verb: PolicyVerdict
    reason: str | None = None
    rules: tuple[str, ...] = ()
    text: str | None = None
    notices: tuple[str, ...] | None = None


class PolicyTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test, under all policies of the folder, or under those that `policies` names."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    input: PolicyInput
    expect: ExpectedResult
    policies: tuple[str, ...] = ()


class LocatedTest(msgspec.Struct, frozen=True):
    """A test, and where it stands."""

    file: Path
    line: int
    test: PolicyTest


class PolicyTestOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a test; `fault` is empty where it passed."""

    file: str
    line: int
    name: str
    fault: str = ""


class RuleUse(msgspec.Struct, frozen=True):
    """In how many tests a rule was seen to act: to change, refuse or oblige, not only to let pass."""

    rule: str
    tests: int


class PolicyTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all tests, and how often each rule of the policies acted in them."""

    tests: tuple[PolicyTestOutcome, ...]
    rules: tuple[RuleUse, ...]

    @property
    def failed(self) -> tuple[PolicyTestOutcome, ...]:
        """Those that did not pass."""
        return tuple(each for each in self.tests if each.fault)

    @property
    def coverage(self) -> float:
        """The share of rules that acted in a test; 1.0 where there are no rules."""
        return sum(each.tests > 0 for each in self.rules) / len(self.rules) if self.rules else 1.0

    def __str__(self) -> str:
        idle = [each.rule for each in self.rules if not each.tests]
        lines = [f"{each.file}:{each.line}: {each.name}: {each.fault}" for each in self.failed]
        lines.append(f"{len(self.tests) - len(self.failed)} of {len(self.tests)} tests passed")
        lines.append(f"{len(self.rules) - len(idle)} of {len(self.rules)} rules acted in a test ({self.coverage:.0%})")
        return "\n".join((*lines, *(f"  never: {rule}" for rule in idle)))


def read_tests(path: Path) -> tuple[list[LocatedTest], list[PolicyError]]:
    """The tests in a file that can be read, and a fault for each that cannot."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig") if len(data) <= MAX_BYTES else None
        if text is None:
            raise YamlError(0, f"the file has {len(data)} bytes", f"at most {MAX_BYTES} are read")
        listed, root = load_yaml(text, LIMITS), compose_yaml(text, LIMITS)
    except OSError as error:
        return [], [PolicyError(path, 0, f"the file cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return [], [PolicyError(path, 0, "the file is not UTF-8")]
    except YamlError as error:
        return [], [PolicyError(path, error.line, error.reason, error.hint)]
    if not isinstance(listed, list) or root is None:
        return [], [PolicyError(path, 1, "tests are a list", "- {name: ..., input: {...}, expect: {verb: allow}}")]
    return _convert(path, listed, [node.start_mark.line + 1 for node in root.value])


def _convert(path: Path, listed: Iterable[object], lines: Iterable[int]) -> tuple[list[LocatedTest], list[PolicyError]]:
    found: dict[str, LocatedTest] = {}
    faults: list[PolicyError] = []
    for line, item in zip(lines, listed, strict=True):
        try:
            test = msgspec.convert(item, PolicyTest)
        except msgspec.ValidationError as error:
            hint = f"an input has {', '.join(PolicyInput.__struct_fields__)}"
            faults.append(PolicyError(path, line, str(error), hint))
            continue
        if test.name in found:
            faults.append(PolicyError(path, line, f"the test {test.name!r} is there twice", "give each its own name"))
        found[test.name] = LocatedTest(path, line, test)
    return list(found.values()), faults


def run_tests(
    tests: Iterable[LocatedTest], policies: Sequence[Policy], find_personal: FindPersonal
) -> PolicyTestReport:
    """Put every test to the policies."""
    acted = dict.fromkeys((rule for policy in policies for rule in list_rules(policy)), 0)
    outcomes = []
    for located in tests:
        test = located.test
        unknown = sorted({*test.policies} - {policy.id for policy in policies})
        chosen = [policy for policy in policies if policy.id in test.policies or not test.policies]
        result = decide(test.input.to_case(), chosen, find_personal)
        for rule in {each.rule for each in result.decisions if each.verb != "allow"} & acted.keys():
            acted[rule] += 1
        fault = f"there is no policy {unknown[0]}" if unknown else find_difference(test.expect, result)
        outcomes.append(PolicyTestOutcome(file=str(located.file), line=located.line, name=test.name, fault=fault))
    return PolicyTestReport(tests=tuple(outcomes), rules=tuple(RuleUse(*use) for use in acted.items()))


def find_difference(expected: ExpectedResult, result: PolicyResult) -> str:
    """How a result is other than expected; empty where it is not."""
    acting = {each.rule for each in result.decisions if each.verb != "allow"}
    acting |= {rule.partition("/")[2] for rule in acting}
    why = "; ".join(f"{each.rule} {each.verb}: {each.reason}" for each in result.decisions) or "no rule acted"
    if result.verb != expected.verb:
        return f"expected {expected.verb}, got {result.verb} ({why})"
    if expected.reason is not None and result.reason != expected.reason:
        return f"expected the reason {expected.reason}, got {result.reason or 'none'} ({why})"
    idle = [rule for rule in expected.rules if rule not in acting]
    if idle:
        return f"{idle[0]} did not act ({why})"
    if expected.text is not None and result.text != expected.text:
        return f"expected the text {expected.text!r}, got {result.text!r}"
    if expected.notices is not None and result.notices != expected.notices:
        return f"expected the notices {list(expected.notices)}, got {list(result.notices)}"
    return ""


def list_rules(policy: Policy) -> Iterator[str]:
    """Every rule of a policy, by the name under which decisions speak of it."""
    scores = {*policy.abstain_thresholds, *(score for own in policy.class_thresholds.values() for score in own)}
    names = [*policy.allow, *policy.transform, *policy.block, *sorted(scores)]
    names += [rule.name for part in ("allow", "block") for rule in policy.stated_under(part).rules]
    names += [policy.sources.rule] if policy.sources.rule else []
    boundaries = policy.boundaries
    parts = (
        (LANGUAGES, boundaries.languages),
        (RESIDENCY, boundaries.residency),
        (TOOLS, boundaries.tools is not None),
    )
    names += [key for key, is_there in parts if is_there]
    names += [each.name for each in policy.obligations]
    return (f"{policy.id}/{name}" for name in dict.fromkeys(names))
