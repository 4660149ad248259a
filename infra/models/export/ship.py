"""Rounds a trained model to float16 and puts it, as it will be evaluated, into the directory that is shipped."""

from __future__ import annotations

import argparse
from pathlib import Path

from tidegate.infra.models.training import llama


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path)
    parser.add_argument("shipped", type=Path)
    arguments = parser.parse_args()
    llama.save(llama.load(arguments.trained), arguments.shipped, half=True)
    for stale in ("precision.json", "quantisation.json", "figures.json", "MODEL_CARD.md"):
        (arguments.shipped / stale).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
