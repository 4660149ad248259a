"""`tidegate pack calibrate`: fits a pack's confidence and says which thresholds hold a stated risk.

Next: services/fleet/calibrate.py, which does it; services/packs/thresholds.py, which writes them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from tidegate.brokers.servers.fleet import check_free
from tidegate.services.cli.options import CommandOptions
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole, echo
from tidegate.services.fleet.calibrate import CalibrationJob, DomainRisk, PackCalibration, TuningReport, calibrate_pack
from tidegate.services.fleet.models import check_models
from tidegate.services.knowledge.reader.risk import SHARES, RiskRow
from tidegate.services.packs.load import load_pack
from tidegate.services.packs.thresholds import Thresholds, find_stricter, write_thresholds

WIDTH = 140


def run_calibrate(
    options: CommandOptions, directory: Path, risk: float, *, train: bool, write: bool, keep: bool
) -> int:
    """See `tidegate pack calibrate --help`."""
    options = msgspec.structs.replace(options, pack_dir=directory)
    settings = options.settings()
    pack = load_pack(directory)
    check_models(settings)
    check_free(Path(settings.state_dir))
    job = CalibrationJob(
        settings=settings,
        pack=pack,
        tenant=options.tenant or settings.tenants[0],
        risk=risk,
        is_trained=train,
        is_kept=keep,
    )
    with show_progress() as progress:
        found = calibrate_pack(job, progress)
    thresholds = Thresholds(threshold=found.threshold, class_thresholds=found.class_thresholds)
    written = write_thresholds(directory, thresholds) if write else ()
    notes = find_stricter(pack.policy_files, thresholds)
    if options.as_json:
        more = {
            "policy": thresholds.policy(),
            "settings": {"drafter": thresholds.settings()},
            "written": written,
            "notes": notes,
        }
        echo(msgspec.json.encode({**msgspec.to_builtins(found), **more}))
    else:
        _print(found, thresholds, written, notes)
    return 0


def _print(found: PackCalibration, thresholds: Thresholds, written: tuple[str, ...], notes: tuple[str, ...]) -> None:
    console = ReadableConsole(
        highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH
    )
    if found.tuning is not None:
        _print_tuning(console, found.tuning, found.tenant)
    if found.ignored:
        console.print(f"the pack's own reader for {found.tenant} is not used: {found.ignored}")
    for domain in found.domains:
        shares = tuple(f"risk at {share:.0%}" for share in SHARES)
        columns = ("", "questions", "right", "threshold", "answered", "wrong", *shares)
        title = f"{domain.domain}: AUC {domain.fit.auc:.3f}, calibration error {domain.fit.error:.3f}"
        console.print(make_table(title, columns, _rows(domain)))
    console.print(
        f"* fewer than {found.least_questions} questions cannot hold a risk of {found.risk:g}: that of all is used"
    )
    if found.without_own:
        console.print(f"  so for the classes {', '.join(found.without_own)}")
    for note in notes:
        console.print(f"note: {note}")
    if written:
        console.print(f"written: {', '.join(written)}; in force when the site starts again")
        return
    lines = "\n".join(f"{key} = {value}" for key, value in thresholds.settings().items())
    console.print(f"\nTo hold a risk of {found.risk:g} (or with --write), a policy:\n\n{thresholds.policy()}")
    console.print(f"and in site.toml:\n\n[drafter]\n{lines}")


def _rows(domain: DomainRisk) -> Iterator[tuple[str, ...]]:
    for row in domain.rows:
        yield (
            row.group,
            str(row.questions),
            f"{row.right:.1%}",
            _threshold(row),
            f"{row.answered:.1%}",
            f"{row.wrong:.1%}",
            *(f"{risk:.1%}" for risk in row.risk_at_coverage),
        )


def _threshold(row: RiskRow) -> str:
    return "none" if row.threshold is None else f"{row.threshold:.3f}{'*' if row.from_group else ' '}"


def _print_tuning(console: Console, tuning: TuningReport, tenant: str) -> None:
    rows = [
        (name, f"{each.first_right:.3f}", f"{each.auc:.3f}", f"{each.right_at_tenth:.3f}")
        for name, each in {"as shipped": tuning.shipped, **tuning.tried}.items()
    ]
    columns = ("tuned", "first right", "AUC", "right at 10 % of unanswerable")
    console.print(make_table(f"reader for {tenant}, on questions that its weights have not seen", columns, rows))
    if tuning.kept:
        console.print(f"kept: {tuning.kept}, version {tuning.version}, in {tuning.path}")
    else:
        console.print("nothing was kept: no way of tuning is as good as the shipped reader in every figure")
