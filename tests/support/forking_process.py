"""A fork server whose workers do what their command line says: `exit CODE`, `show NAME`, `sleep`, `ignore` SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import time

from tidegate.services.cli.forking import serve_forks
from tidegate.services.settings import Settings


def act(arguments: list[str]) -> None:
    what, *more = arguments
    if what == "exit":
        sys.exit(int(more[0]))
    if what == "show":
        print(os.environ.get(more[0]), os.getppid() == int(more[-1]), os.getsid(0) == os.getpid(), flush=True)
        return
    if what == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("it runs", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    serve_forks(Settings(), (), act)
