"""The policies of a pack with their tests, read and run together. Next: services/policies/testing.py; load.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tidegate.schemas import TidegateError
from tidegate.services.packs.findings import PackFindings
from tidegate.services.policies.files import is_test, list_policies, list_tests
from tidegate.services.policies.language import read_policy
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.testing import LocatedTest, PolicyTestReport, read_tests, run_tests
from tidegate.services.privacy.dlp.detector import WrittenTextDetector

FOLDER = "policies"


class NoPoliciesError(TidegateError, FileNotFoundError):
    """There is no policy where one was looked for."""

    hint = "name a policy's file, a folder with policies, or a pack"


class PolicyFolder(NamedTuple):
    """Policies that are in force together, tests of them, and all that is wrong with either."""

    policies: tuple[Policy, ...]
    tests: tuple[LocatedTest, ...]
    faults: tuple[PolicyError, ...]
    files: int
    """How many files were read."""


def read_policies(path: Path, *, with_others: bool = False) -> PolicyFolder:
    """The policies of a pack, of a folder, or of one file with its tests beside it; `with_others`: of a file, the other
    policies of its folder too, with which it is in force and tested. Raises `NoPoliciesError`."""
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if folder.is_dir():
        found = read_policy_files(folder.iterdir())
    else:
        tests = path if is_test(path) else path.with_name(f"{path.stem}_test{path.suffix}")
        others = list_policies(path.parent.iterdir()) if with_others else []
        found = read_policy_files({path, tests, *others})
    if not found.files:
        raise NoPoliciesError(f"there is no policy in {path}")
    return found


def read_policy_files(files: Iterable[Path]) -> PolicyFolder:
    """Those of the files that are policies and tests; the others are passed over."""
    listed = [file for file in files if file.is_file()]
    policies: dict[str, Policy] = {}
    tests: list[LocatedTest] = []
    faults: list[PolicyError] = []
    for file in list_policies(listed):
        policy, wrong = read_policy(file)
        faults += wrong
        if policy is not None and policy.id in policies:
            faults.append(
                PolicyError(file, 1, f"the policy {policy.id} is in another file too", "give each its own id")
            )
        elif policy is not None:
            policies[policy.id] = policy
    for file in list_tests(listed):
        read, wrong = read_tests(file)
        tests += read
        faults += wrong
    count = len(list_policies(listed)) + len(list_tests(listed))
    return PolicyFolder(tuple(policies.values()), tuple(tests), tuple(faults), count)


def find_by_rules(phone_regions: Iterable[str]) -> FindPersonal:
    """What finds personal data in the policy stage of a site with these regions. Raises `PhoneRegionError`."""
    return WrittenTextDetector(tuple(phone_regions)).find


def run_policy_tests(folder: PolicyFolder, phone_regions: Iterable[str]) -> PolicyTestReport:
    """Run the tests. Raises the first fault, `PolicyError`, and `PhoneRegionError`."""
    if folder.faults:
        raise folder.faults[0]
    return run_tests(folder.tests, folder.policies, find_by_rules(phone_regions))


def check_policy_tests(files: Iterable[Path], phone_regions: Iterable[str], findings: PackFindings) -> None:
    """A fault of the pack for each test that cannot be read or fails; where a policy is faulty, none is run."""
    folder = read_policy_files(files)
    if not folder.tests and not any(folder.faults):
        return
    faulty = {fault.path for fault in folder.faults}
    for fault in folder.faults:
        if fault.path in list_tests([fault.path]):
            findings.fault(findings.name_of(fault.path), fault.fault, fault.hint, line=fault.line)
    if not faulty:
        for outcome in run_policy_tests(folder, phone_regions).failed:
            hint = "`tidegate policy test` says what acted: change the policy, or what is expected"
            name = findings.name_of(Path(outcome.file))
            findings.fault(name, f"{outcome.name}: {outcome.fault}", hint, line=outcome.line)
