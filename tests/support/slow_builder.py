"""The other party: a model builder that is slow, or fails, as its output directory is named."""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished."):
        print("fetching", flush=True)
        if out.name == "fails":
            raise SystemExit("the package index is not reachable")
        if out.name == "waits":
            signal.pause()
        out.mkdir()
        (out / "manifest.json").write_text("{}")
    print("ready", flush=True)


if __name__ == "__main__":
    main()
