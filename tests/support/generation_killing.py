"""Activations that kill themselves, by SIGKILL, at each line: `python -m tests.support.generation_killing HOME`.

Prints a JSON list with, for each line, what is in force afterwards, what is wrong with that, and the next number.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.packs.parts import PackPart, digest_parts, parts_of

WATCHED = {
    "generations.py": {"activate", "_writing", "_flush_tree", "_remove_old"},
    "files.py": {"replace_file", "flush_folder"},
    "parts.py": {"write_parts"},
}
MADE = "intent.safetensors"


class LineKiller:
    """A tracer that kills its process at the first execution of the n-th line that is watched."""

    def __init__(self, n: int) -> None:
        self._left = n
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        name = os.path.basename(frame.f_code.co_filename)
        if frame.f_code.co_name not in WATCHED.get(name, ()):
            return None
        line = (name, frame.f_lineno)
        if event == "line" and line not in self._seen:
            self._seen.add(line)
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


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


def run_killed(home: Path, epoch: int, killer: LineKiller) -> bool:
    """Activate in a process of its own; returns whether it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sys.settrace(killer)
            activate(home, epoch)
            sys.settrace(None)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status > 0:
        raise RuntimeError(f"the activation ended with {status}")
    return status == 0


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
        is_over = run_killed(killed, 5, LineKiller(n))
        epoch, found = faults_of(killed)
        after = activate(killed, 6)
        found += faults_of(killed)[1]
        found += [f"{left.name} was left" for left in killed.glob(".draft-*")]
        rows.append([epoch, found, after, sorted(int(each.name) for each in killed.iterdir() if each.name.isdecimal())])
        shutil.rmtree(killed)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
