"""Reads the text and the YAML of a pack's files; what cannot be read is a fault, never an exception. Next: load.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tidegate.services.packs.findings import PackFindings


def read_yaml(path: Path, file: Path, findings: PackFindings) -> Any:
    """The file's value; None if it cannot be read, or holds nothing."""
    text = read_text(path, file, findings)
    return None if text is None else parse_yaml(file.relative_to(path).as_posix(), text, findings)


def read_text(path: Path, file: Path, findings: PackFindings) -> str | None:
    """The file's text; None if it cannot be read."""
    name = file.relative_to(path).as_posix()
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.fault(name, str(error), "save the file as UTF-8")
    except OSError as error:
        findings.fault(name, error.strerror or str(error), "let the file be read, or take it away")
    return None


def parse_yaml(name: str, text: str, findings: PackFindings, first_line: int = 1) -> Any:
    """YAML 1.2, in which `no` is a word; a key given twice is a fault. None if it cannot be read."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + first_line if error.problem_mark else 0
        hint = error.context or "see https://yaml.org for the form"
        findings.fault(name, error.problem or str(error), hint, line=line)
    except YAMLError as error:
        findings.fault(name, str(error), "see https://yaml.org for the form")
    return None
