"""A good small pack, and the same pack with some of its files changed."""

from __future__ import annotations

from pathlib import Path

from tidegate.schemas.pack import Document
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.packs.documents import read_documents
from tidegate.services.packs.findings import PackFindings

UTTERANCES = "\n".join(f"    - example number {number}" for number in range(8))
GOOD = {
    "site.toml": '[prefilter]\nlanguages = ["en", "de"]\n',
    "documents/hours.md": "---\nid: hours\ntitle: Hours\nlanguage: en\nscope: shared\n---\n\nWe open at 09:30.\n",
    "documents/far/board.md": "---\nid: board\ntitle: Board\nlanguage: en\nscope: hub\n---\n\nThe chair is Ann Lee.\n",
    "policies/safe.yaml": "policy_id: p1\nallow: [grounded_claims]\nabstain_thresholds: {entailment: 0.8}\n",
    "intents.yaml": f"- id: hours\n  utterances:\n{UTTERANCES}\n",
    "questions.yaml": (
        "- id: q1\n  text: When do you open?\n  kind: answerable\n  documents: [hours]\n  facts: ['09:30']\n"
        "- id: q2\n  text: Who is the chair?\n  kind: hub\n  documents: [board]\n  facts: [Ann Lee]\n"
        "- id: q3\n  text: I am Jo Day, when do you open?\n  kind: personal\n  documents: [hours]\n"
        "  facts: ['09:30']\n  personal: [Jo Day]\n"
        "- id: q4\n  text: Czy jest otwarte?\n  kind: unsupported_language\n  language: pl\n"
    ),
    "calibration.yaml": "- text: Is it open at ten?\n  documents: [hours]\n- text: What is the moon made of?\n",
}


def pack_at(path: Path, **changed: str) -> Path:
    """A good small pack in a new folder, with some files replaced."""
    for name, text in {**GOOD, **changed}.items():
        file = path / "small" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return path / "small"


def read_document(file: Path) -> Document:
    """The document in a file; raises `PackError` with what is wrong with it."""
    findings = PackFindings(file.parent)
    documents = list(read_documents([file], LANGUAGES, findings))
    findings.raise_faults(file)
    [document] = documents
    return document


def changed(path: Path, name: str, old: str, new: str) -> Path:
    assert old in GOOD[name]
    return pack_at(path, **{name: GOOD[name].replace(old, new, 1)})
