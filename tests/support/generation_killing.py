"""Activations that kill themselves, by SIGKILL, at each line: `python -m tests.support.generation_killing HOME`.

Prints a JSON list with, for each line, what is in force afterwards, what is wrong with that, and the next number.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.line_killer import LineKiller, run_forked
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.packs.parts import PackPart, digest_parts, parts_of

WATCHED = {
    "generations.py": {"activate", "_writing", "_flush_tree", "_remove_old"},
    "files.py": {"replace_file", "flush_folder"},
    "parts.py": {"write_parts"},
}
MADE = "intent.safetensors"


def parts(epoch: int) -> tuple[PackPart, ...]:
    return (
        PackPart("intents", "intents", b"[]"),
        PackPart("policy", "branch", f"policy_id: p{epoch}\nallow: [grounded_claims]\n".encode()),
    )


def activate(home: Path, epoch: int) -> int:
    def make(draft: Path, _: GenerationRecord | None) -> Mapping[str, str]:
        (draft / MADE).write_text(f"made of {epoch}")
        return {"of": str(epoch)}

    return GenerationStore(home).activate(parts(epoch), {"policy/branch": epoch}, make, lambda *_: None)


def faults_of(home: Path) -> tuple[int, list[str]]:
    """The epoch in force, and what of it is not as it was activated."""
    store = GenerationStore(home)
    record = store.current()
    if record is None:
        return 0, ["nothing is in force"]
    epoch, found, path = record.epochs["policy/branch"], list[str](), store.path(record.number)
    if digest_parts(parts_of(path)) != record.digest or record.digest != digest_parts(parts(epoch)):
        found.append("the parts are not those of the record")
    if (path / MADE).read_text() != f"made of {epoch}" or record.made_of != {"of": str(epoch)}:
        found.append("what was made is of other parts")
    return epoch, found


def leave_unsynced(fd: Any) -> None:
    """What a process that is killed has written is not lost: to wait for the disk would show nothing."""
    del fd


def main(home: Path) -> None:
    os.fsync = leave_unsynced
    whole = home / "whole"
    for epoch in (1, 2, 3, 4):
        activate(whole, epoch)
    for number in (1, 2, 3):  # as if they had ended long ago: the first is no longer held after the next one
        os.utime(whole / str(number), (0, 0))
    rows, n, is_over = [], 0, False
    while not is_over:
        n += 1
        killed = home / f"killed-{n}"
        shutil.copytree(whole, killed)
        is_over = run_forked(partial(activate, killed, 5), LineKiller(WATCHED, n))
        epoch, found = faults_of(killed)
        after = activate(killed, 6)
        found += faults_of(killed)[1]
        found += [f"{left.name} was left" for left in killed.glob(".draft-*")]
        rows.append([epoch, found, after, sorted(int(each.name) for each in killed.iterdir() if each.name.isdecimal())])
        shutil.rmtree(killed)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
