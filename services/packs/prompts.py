"""What a site tells the model that writes its answers, where the policies let one write: the prompts of its pack.

Promises that none is empty or too long. Next: load.py; services/stages/router, which sends them along."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.packs.findings import PackFindings, read_text

FOLDER = "prompts"
SUFFIX = ".prompt"
MOST_CHARS = 4000


def read_prompts(pack: Path, findings: PackFindings) -> dict[str, str]:
    """The prompts of a pack, by the names of their files and in that order."""
    found = {}
    for file in sorted((pack / FOLDER).glob(f"*{SUFFIX}")):
        text = read_text(file, findings)
        if text is None:
            continue
        if not 0 < len(text.strip()) <= MOST_CHARS:
            reason = f"the prompt has {len(text.strip())} characters"
            findings.fault(findings.name_of(file), reason, f"write from 1 to {MOST_CHARS}")
        found[file.stem] = text.strip()
    return found
