"""The mean of several weights: of moments of one run, which stands in for a falling rate, or of runs from one start.

Kaddour, "Stop wasting my time! Saving days of ImageNet and BERT training with latest weight averaging", 2022; Wortsman
et al., "Model soups", ICML 2022.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tidegate.infra.models.export import int8_weights
from tidegate.infra.models.export.building import say


def average(moments: Sequence[Path], out: Path) -> None:
    """Write the mean of each weight."""
    found = [int8_weights.load(path) for path in moments]
    mean = {name: np.stack([each[name] for each in found]).mean(axis=0) for name in found[0]}
    int8_weights.save(out, mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "moments", type=Path, nargs="+", help="weights of one run, the last few, or of several from one start"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    average(arguments.moments, arguments.out)
    say(f"{arguments.out}: the mean of {len(arguments.moments)}")


if __name__ == "__main__":
    main()
