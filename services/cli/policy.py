"""`tidegate policy`: checks policies, runs their tests, asks them, and says what past answers they would change.

Next: services/packs/policy_folder.py, services/policies/decision_log.py, services/policies/replay.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import OPTIONS, CommandOptions, print_result, with_options

PATHS = click.argument("path", type=click.Path(exists=True, path_type=Path))
MOST_INPUT = 16_000_000


class BadInputError(TidegateError, ValueError):
    """What is to be decided on is no input of a policy."""

    hint = 'give JSON with an answer and its facts, as {"text": "...", "language": "en", "checks": {"entailment": 0.9}}'


class PolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with policies and their tests, and the version of each policy that is in order."""

    policies: dict[str, str]
    tests: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        listed = [f"{name} {revision}" for name, revision in self.policies.items()]
        counts = f"{len(listed)} policies, {self.tests} tests, {len(self.faults)} faults"
        return "\n".join((*self.faults, *listed, counts))


@click.group(cls=CommandGroup)
def policy() -> None:
    """Check policies, run their tests, ask them, or say what past answers they would change."""


@policy.command("check")
@PATHS
@OPTIONS["as_json"]
def policy_check(path: Path, as_json: bool) -> int:
    """Say everything that is wrong with the policies in PATH and with their tests: a file, a folder, or a pack."""
    from tidegate.services.packs.policy_folder import read_policies

    found = read_policies(path)
    report = PolicyReport(
        policies={each.id: each.version for each in found.policies},
        tests=len(found.tests),
        faults=tuple(f"{fault.reason} ({fault.hint})" for fault in found.faults),
    )
    show(report, report, as_json)
    return 1 if report.faults else 0


@policy.command("test")
@PATHS
@click.option(
    "--cover",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    help="The share of rules, at least, that have to act in a test.",
)
@OPTIONS["as_json"]
def policy_test(path: Path, cover: float, as_json: bool) -> int:
    """Run the tests (`*_test.yaml`) beside the policies in PATH, and say which rules never acted in one."""
    from tidegate.services.packs.policy_folder import read_policies, run_policy_tests

    report = run_policy_tests(read_policies(path, with_others=True), find_regions(path))
    show({**msgspec.to_builtins(report), "coverage": report.coverage}, report, as_json)
    return 1 if report.failed or report.coverage < cover else 0


@policy.command("eval")
@PATHS
@click.option(
    "--input", "given", type=click.File("rb"), default="-", help="A file with JSON, one input or many [default: stdin]."
)
@OPTIONS["as_json"]
def policy_eval(path: Path, given: BinaryIO, as_json: bool) -> None:
    """Say what the policies in PATH decide on an answer, given as JSON; with --json as lines of OPA's decision log."""
    from tidegate.services.packs.policy_folder import find_by_rules, read_policies
    from tidegate.services.policies.decision_log import record_decision

    folder = read_policies(path)
    if folder.faults:
        raise folder.faults[0]
    find_personal = find_by_rules(find_regions(path))
    for each in read_inputs(given):
        record = record_decision(each, folder.policies, find_personal, at_s=time.time(), version=version("tidegate"))
        result = record.result
        lines = [f"{result.verb}{f' ({result.reason})' if result.reason else ''}: {(result.text or each.text)!r}"]
        lines += [f"  {made.verb:<9} {made.rule}: {made.reason}" for made in result.decisions]
        lines += [f"  notice    {notice}" for notice in result.notices]
        show(record, "\n".join(lines), as_json)


@policy.command("diff")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_options("site", "tenant", "as_json")
@click.option("--since", default="", help="Only what was answered since: 24h, 7d, or a date as 2026-03-01 (UTC).")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="The most changes to list.")
@click.option("--only", is_flag=True, help="Judge by PATHS alone, without the policies that are in force.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where a past answer would change.")
def policy_diff(options: CommandOptions, paths: tuple[Path, ...], since: str, limit: int, **flags: bool) -> int:
    """Say which answers of a site would be other ones with the policies in PATHS in force.

    Each takes the place of the policy of its id, or comes beside those in force. Nothing is changed at the site.
    """
    from tidegate.services.cli.gaps import read_since
    from tidegate.services.cli.policy_diff import describe_diff, run_diff

    since_s = read_since(since, time.time())
    diff = run_diff(options, paths, since_s=since_s, most=limit, only=flags["only"])
    show(diff, describe_diff(diff), options.as_json)
    return 1 if flags["exit_code"] and diff.changed else 0


def show(result: object, text: object, as_json: bool) -> None:
    """Print it."""
    print_result(result, str(text), as_json)


def read_inputs(file: BinaryIO) -> Iterator[Any]:
    """The inputs in a file: one, a list of them, or one on each line. Raises `BadInputError`."""
    from tidegate.services.policies.decision_log import PolicyInput

    data = file.read(MOST_INPUT + 1)
    if len(data) > MOST_INPUT:
        raise BadInputError(f"the input has more than {MOST_INPUT} bytes", "give it in several files")
    try:
        try:
            raw = msgspec.json.decode(data)
        except msgspec.DecodeError:
            raw = msgspec.json.Decoder().decode_lines(data)
        yield from msgspec.convert(raw if isinstance(raw, list) else [raw], list[PolicyInput])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInputError(f"the input cannot be read: {error}") from error


def find_regions(path: Path) -> tuple[str, ...]:
    """The telephone regions of the pack that a path is of; the defaults where it is of none. Raises `PackError`."""
    from tidegate.services.packs.findings import PackFindings
    from tidegate.services.packs.load import read_site_settings

    folders = (path, path.parent, path.parent.parent)
    pack = next((folder for folder in folders if (folder / "site.toml").is_file()), path)
    findings = PackFindings(pack)
    settings = read_site_settings(findings)
    findings.raise_faults(pack)
    return settings.prefilter.phone_regions
