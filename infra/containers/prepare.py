"""Makes what a site (or the hub) needs before its workers can start: index, calibration, intents.

    prepare.py site1

Settings come from the pack and the environment, as a worker's do; only what changed is made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate.schemas import TidegateError
from tidegate.services.cli.errors import report
from tidegate.services.cli.options import CommandOptions
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.models import check_models
from tidegate.services.fleet.prepare import prepare
from tidegate.services.packs.load import load_pack


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: prepare.py SITE")
    try:
        settings = CommandOptions().load(site=sys.argv[1]).settings
        check_models(settings)
        prepare(settings, load_pack(Path(settings.pack_dir)), LineProgress())
    except (TidegateError, OSError) as error:
        sys.exit(report(error, ()))


if __name__ == "__main__":
    main()
