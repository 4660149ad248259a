"""Makes what a site (or the hub) needs before its workers can start: index, calibration, intents.

    prepare.py site1

Settings come from the pack and the environment, as a worker's do; only what changed is made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.cli.settings import load_settings
from services.packs import load_pack
from services.prepare import prepare


class Lines:
    """One line for each thing that is made."""

    def start(self, what: str, total: int | None = None) -> None:
        print(what if total is None else f"{what} ({total})", flush=True)

    def step(self, detail: str = "") -> None:
        """Nothing: a log is not a progress bar."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: prepare.py SITE")
    settings = load_settings(None, site=sys.argv[1])
    prepare(settings, load_pack(Path(settings.pack_dir)), Lines())


if __name__ == "__main__":
    main()
