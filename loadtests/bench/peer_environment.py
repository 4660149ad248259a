"""An environment of a peer's own: what it needs beside ours would fight with what we need.

Made once by `python -m venv` and pip, and again when its list of packages changes. Next: dlp_vs_presidio.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def make_environment(directory: Path, packages: Sequence[str]) -> Path:
    """The Python of the environment with these packages. Raises `OSError` with pip's last line where it cannot be."""
    python, stamp = directory / "bin" / "python", directory / "packages.txt"
    wanted = "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    _run(sys.executable, "-m", "venv", "--clear", str(directory))
    _run(str(python), "-m", "pip", "install", "--quiet", *packages)
    stamp.write_text(wanted)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip() or "no word of why").splitlines()[-1])
