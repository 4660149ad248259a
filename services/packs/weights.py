"""A folder of weights as one file, to be published: the same files make the same bytes.

An uncompressed tar of plain files: weights do not compress, and chunks of it stay the same where a file did. Next:
services/fleet/artefacts.py, which publishes it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO

from tidegate.schemas import TidegateError


class WeightsFolderError(TidegateError, ValueError):
    """The folder holds nothing that could be published as weights, or something that is no plain file."""

    hint = "publish a folder that holds the files of one model or adapter, and nothing else: no links, no devices"


def write_weights(directory: Path, target: BinaryIO) -> int:
    """Write the files of a folder, in the order of their names; how many. Raises `WeightsFolderError`, `OSError`."""
    found = sorted(each for each in directory.rglob("*") if not each.is_dir() or each.is_symlink())
    if not found:
        raise WeightsFolderError(f"there is no file in {directory}")
    odd = [each for each in found if each.is_symlink() or not each.is_file()]
    if odd:
        raise WeightsFolderError(f"{odd[0]} is no plain file")
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in found:
            member = tarfile.TarInfo(file.relative_to(directory).as_posix())
            member.size = file.stat().st_size
            with file.open("rb") as source:
                archive.addfile(member, source)
    return len(found)
