"""`tidegate audit`: reads, checks and hands out the audit log of a domain of this machine.

Promises to change no entry, and that no control character of an entry reaches a terminal. Next: services/evidence."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from tidegate.schemas.audit import ActKind, AuditedAct, AuditedAnswer, AuditEntry, EntryKind
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.evidence import format_time
from tidegate.services.cli.groups import CommandGroup, check_choice
from tidegate.services.cli.keys import check_owner
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.terminal import echo
from tidegate.services.evidence.answer_proof import ProvenAnswer, check_proof, prove_answer, read_proof
from tidegate.services.evidence.archive_check import ArchiveReport, check_archive
from tidegate.services.evidence.checkpoints import SignedNote, origin_of, parse_note, witnessed_at_s
from tidegate.services.evidence.entries import is_about, plain
from tidegate.services.evidence.export import ExportWish, export_log
from tidegate.services.evidence.known_heads import known_heads, known_policies
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.verification import Expectation, LogReport, verify_log
from tidegate.services.evidence.witness import author_keys
from tidegate.services.fleet.answer_archive import AnswerArchive
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.author_keys import known_author_keys
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PRIVATE, replace_file

KINDS: tuple[str, ...] = (*typing.get_args(typing.get_args(EntryKind)[0]), *typing.get_args(ActKind))
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=CommandGroup)
def audit() -> None:
    """Read, check and hand out the audit log of a site, or of the hub."""


@audit.command("list")
@with_options("site", "tenant", "as_json")
@click.option("--kind", help="Only entries of this kind, as `answered` or `key_rotated`.")
@click.option("--rid", default="", help="Only what is about this request.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The most entries, the newest.")
def audit_list(options: CommandOptions, kind: str | None, rid: str, limit: int) -> None:
    """List the newest entries, oldest first. Nothing is checked: see `verify`."""
    if kind is not None:
        check_choice("there is no kind of entry", kind, KINDS)
    settings = options.settings()

    def is_wanted(entry: AuditEntry) -> bool:
        wanted = (kind in (None, entry.kind), options.tenant in (None, entry.tenant), not rid or is_about(entry, rid))
        return all(wanted)

    with AuditReader.open(StatePaths(settings).audit) as reader:
        unreadable: list[int] = []
        found = list(itertools.islice(filter(is_wanted, _newest_first(reader, unreadable)), limit))[::-1]
    if unreadable:
        echo(f"warning: {len(unreadable)} entries cannot be read: see `tidegate audit verify`", err=True)
    lines = list(map(describe_entry, found))
    lines.append(f"{len(found)} entries of the audit log of {settings.site}")
    print_result(found, "\n".join(lines), options.as_json)


@audit.command("verify")
@with_options("site", "as_json")
@click.option(
    "--head", "heads", multiple=True, type=EXISTING, help="A head that somebody has kept: a file; repeatable."
)
@click.option("--proof", type=EXISTING, help="Check a file of `audit prove` in place of the log.")
def audit_verify(options: CommandOptions, heads: tuple[Path, ...], proof: Path | None) -> int:
    """Read the whole log, and check it against its own tree, its signed heads, and the heads that others have kept.

    Those of every log on this machine, the hub's and other sites', and of every file that --head names. The exit code
    is 1 when anything was edited, deleted, cut off, reordered, forked or replaced; each fault names its entries.

    With --proof check, by the keys that this machine knows, that one answer stands in the log of its domain.
    """
    settings = options.settings()
    if proof is not None:
        proven = check_proof(read_proof(proof.read_bytes()), known_author_keys(settings))
        print_result(proven, describe_proven(proven), options.as_json)
        return 0
    witnessed = {**known_heads(settings), **{str(file): _read_head(file) for file in heads}}
    expected = Expectation(domain=settings.site, keys=known_author_keys(settings), witnessed=witnessed)
    with show_progress() as progress, AuditReader.open(StatePaths(settings).audit) as reader:
        progress.start(f"checking the audit log of {settings.site}")
        report = verify_log(reader, expected, lambda count: progress.show(f"{count} entries"))
        progress.step()
    result = {**msgspec.to_builtins(report), "is_good": report.is_good, "heads": sorted(witnessed)}
    print_result(result, describe_report(report, witnessed), options.as_json)
    return 0 if report.is_good else 1


@audit.command("head")
@with_options("site", "as_json")
@click.option("--out", type=FILE, help="Write the head into this file too, for whoever is to keep it.")
def audit_head(options: CommandOptions, out: Path | None) -> None:
    """Print the newest signed head: whoever keeps it can tell later whether the log was changed since."""
    settings = options.settings()
    with AuditReader.open(StatePaths(settings).audit) as reader:
        own = reader.head_of(reader.state().origin)
        signed = reader.newest_checkpoint()
        others = {origin: note.checkpoint.size for origin, note in reader.heads().items() if note != own}
    witnessed = _witnessed(own, settings) if own else 0
    if out is not None and signed is not None:
        replace_file(out, str(signed).encode())
    result = {
        "domain": settings.site,
        "head": str(signed or ""),
        "size": signed.checkpoint.size if signed else 0,
        "witnessed_size": own.checkpoint.size if own and witnessed else 0,
        "witnessed_at_s": witnessed,
        "others": others,
    }
    seen = (
        f"the hub witnessed {result['witnessed_size']} entries at {format_time(witnessed)}" if witnessed else "none yet"
    )
    text = f"{plain_lines(str(signed or 'no head was signed yet'))}\nwitnessed: {seen}"
    print_result(result, text, options.as_json)


@audit.command("archive")
@with_options("site", "as_json")
def audit_archive(options: CommandOptions) -> int:
    """Hold the archive of answers of a site against its log, which has the digests of each. The exit code is 1 where
    one was changed or was never logged. Check the log itself with `verify`."""
    settings = options.settings()
    paths = StatePaths(settings)
    report = ArchiveReport()
    if paths.answer_archive.is_file():
        with AuditReader.open(paths.audit) as reader, AnswerArchive.open(paths.answer_archive) as archive:
            report = check_archive(archive, reader)
    lines = [
        f"{report.answers} answers are archived at {settings.site}, {report.as_logged} of them as they were logged",
        *(f"fault: {fault}" for fault in report.faults),
        *([f"fault: {report.unlogged} are in no entry of the log"] if report.unlogged else []),
    ]
    print_result({**msgspec.to_builtins(report), "is_good": report.is_good}, "\n".join(lines), options.as_json)
    return 0 if report.is_good else 1


@audit.command("export")
@click.argument("file", type=FILE)
@with_options("site", "tenant", "as_json")
@click.option("--rid", default="", help="Disclose only what is about this request.")
def audit_export(options: CommandOptions, file: Path, rid: str) -> None:
    """Write what an auditor of one tenant may see into FILE: entries, policies, keys and signed heads, as JSON lines.

    Entries of other tenants are there as hashes only. `infra/audit/verify_export.py` checks the file by itself.
    """
    settings = options.settings()
    tenant = options.tenant or settings.tenants[0]
    own = known_heads(settings).get("the hub, as the log itself has it")
    keys = tuple(key for key in known_author_keys(settings) if key.owner in (settings.site, HUB))
    wish = ExportWish(tenant=tenant, rid=rid, keys=keys, policies=known_policies(settings, tenant), witnessed=own)
    with show_progress() as progress, AuditReader.open(StatePaths(settings).audit) as reader:
        progress.start(f"writing {file}")
        report = export_log(reader, wish, file, lambda count: progress.show(f"{count} entries"))
        progress.step()
    text = (
        f"{file}: {report.entries} entries of {report.size} for {report.tenant}, the others as hashes; "
        f"{report.policies} policies, {report.unknown_policies} that are no longer held here\n"
        "check it with: python infra/audit/verify_export.py FILE " + " ".join(f"--trust {key.key_id}" for key in keys)
    )
    print_result(
        {**msgspec.to_builtins(report), "file": str(file), "trust": [key.key_id for key in keys]}, text, options.as_json
    )


@audit.command("prove")
@click.argument("rid")
@with_options("site", "tenant", "as_json")
@click.option("--out", "-o", type=FILE, required=True, help="The file that the proof is written into.")
def audit_prove(options: CommandOptions, rid: str, out: Path) -> None:
    """Write a proof that the answer to the request RID stands in the log, for whoever was given that answer.

    It has the receipt, without what was asked or quoted, and shows nothing of any other entry. `tidegate audit verify
    --proof FILE` and `infra/audit/verify_export.py` check it.
    """
    settings = options.settings()
    keys = tuple(key for key in known_author_keys(settings) if key.owner in (settings.site, HUB))
    with AuditReader.open(StatePaths(settings).audit) as reader:
        proof = prove_answer(reader, rid, options.tenant or settings.tenants[0], keys)
    replace_file(out, msgspec.json.format(msgspec.json.encode(proof)) + b"\n", PRIVATE)
    trust = [key.key_id for key in keys]
    proven = check_proof(proof, keys)
    trusting = " ".join(f"--trust {each}" for each in trust)
    text = f"{out}: {describe_proven(proven)}\ncheck it with: python infra/audit/verify_export.py {out} {trusting}"
    print_result({**msgspec.to_builtins(proven), "file": str(out), "trust": trust}, text, options.as_json)


@audit.command("accept")
@click.argument("domain")
@with_options("site", "as_json")
@click.option("--reason", required=True, help="Why; it is logged.")
def audit_accept(options: CommandOptions, domain: str, reason: str) -> None:
    """Take the log of DOMAIN for what it is now, though it is not what was witnessed: its disk was lost or put back.

    Given at the hub (--site hub) for a site's log, at a site for the hub's. What was witnessed is known no longer, and
    that is logged here, with who did it and why. First keep what the old head proves: `tidegate audit verify` there.
    """
    check_owner(domain)
    settings = options.settings()
    log_act(options, settings.site, act_event("head_accepted", domain, reason=reason))
    text = f"{settings.site} takes the log of {domain} for what it is, when its audit worker runs"
    print_result({"at": settings.site, "accepted": domain}, text, options.as_json)


def describe_entry(entry: AuditEntry) -> str:
    """One line of a list."""
    body = entry.body
    if isinstance(body, AuditedAnswer):
        policies = ", ".join(f"{part.id}@{part.epoch}" for part in body.receipt.lineage if part.kind == "policy")
        what = f"{body.rid} {body.reason} {policies}"
    elif isinstance(body, AuditedAct):
        times = f" x{body.count}" if body.count > 1 else ""
        epoch = f"@{body.epoch}" if body.epoch and entry.kind == "published" else ""
        what = f"{body.about}{epoch}{times} {body.reason} {body.by}"
    else:
        what = f"{body.rid} by {body.stage}: {body.reason}"
    when = format_time(entry.logged_at_ms / 1000)
    return f"{entry.counter:>8}  {when}  {entry.kind:<17} {entry.tenant or '-':<12} {plain(' '.join(what.split()))}"


def describe_report(report: LogReport, witnessed: dict[str, SignedNote]) -> str:
    """What a check found, for people."""
    lines = [
        f"{report.domain}: {report.size} entries, root {report.root}",
        f"signed: {report.signed} entries; behind the last signed head: {report.size - report.signed}",
        *([f"trimmed: of the first {report.trimmed} entries the hashes are kept alone"] if report.trimmed else []),
        f"held against {len(witnessed)} heads that others have kept, up to {report.witnessed} entries",
        *(plain(f"fault: {fault}") for fault in report.faults),
    ]
    return "\n".join([*lines, "good" if report.is_good else f"NOT GOOD: {len(report.faults)} faults"])


def describe_proven(proven: ProvenAnswer) -> str:
    """What a proof proves, for people."""
    seen = [f"{domain} witnessed that at {format_time(at_s)}" for domain, at_s in proven.witnessed.items()]
    lines = [
        f"good: the answer to {proven.rid} of {proven.tenant} is entry {proven.counter} of the log of {proven.domain}",
        f"{proven.outcome} at {format_time(proven.logged_at_ms / 1000)}; sha256 of its text {proven.text_digest}",
        f"under a signed head of {proven.size} entries; {', '.join(seen) or 'nobody is known to have witnessed that'}",
    ]
    return plain_lines("\n".join(lines))


def plain_lines(text: str) -> str:
    """A note, with nothing in it that a terminal would act on."""
    return "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in text.split("\n"))


def _newest_first(reader: AuditReader, unreadable: list[int]) -> Iterator[AuditEntry]:
    """The entries, the last one first; the numbers of those that somebody made unreadable are noted."""
    for stored in reader.newest_first():
        try:
            yield stored.entry
        except UnreadableError:
            unreadable.append(stored.counter)


def _witnessed(note: SignedNote, settings: Settings) -> int:
    return witnessed_at_s(note, origin_of(HUB), author_keys(known_author_keys(settings), HUB))


def _read_head(file: Path) -> SignedNote:
    return parse_note(file.read_text("utf-8"))
