"""A site's directory as it is, with generations in it that it never had: one with one artefact of another.

Promises that the site's own directory stays as it is: the view is of links, and is taken away when it is left.
Next: reanswering.py, which answers by it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tidegate.schemas import TidegateError, replace
from tidegate.services.evidence.bisect import ArtefactChange
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.thesaurus import FILE as THESAURUS
from tidegate.services.packs.active import CALIBRATION, INTENT_HEAD, PUBLISHED
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import PackPart, parts_of, write_parts
from tidegate.services.settings import Settings

MADE_OF = {
    "intents": (INTENT_HEAD,),
    "calibration": (CALIBRATION,),
    "confidence": (CALIBRATION,),
    "thesaurus": (THESAURUS,),
}
"""By the kind of a part what is made of it."""
DOCUMENTS = "index/documents"
"""The name of what is made of the documents alone: it changes without any part."""
MADE = (INTENT_HEAD, PUBLISHED, CALIBRATION, THESAURUS)
FIRST_MIXED = 1_000_000_000
"""No site has so many generations."""


class GenerationNotHeldError(TidegateError, LookupError):
    """A generation is not in the site's directory any more, or never was."""

    hint = "a site keeps its last three, and those that ended less than an hour ago"


class GenerationView:
    """The generations of one tenant, as they are and mixed. `settings` are the site's, over the view."""

    def __init__(self, settings: Settings, store: GenerationStore, own: Path) -> None:
        self.settings = settings
        self._store = store
        self._own = own
        self._mixed = FIRST_MIXED

    @property
    def numbers(self) -> tuple[int, ...]:
        """The generations that are held, in order. Raises `GenerationDamagedError`."""
        return tuple(record.number for record in self._store.held())

    def between(self, first: int, last: int) -> tuple[int, ...]:
        """Those from one to another, which both are held. Raises `GenerationNotHeldError`."""
        held = self.numbers
        for number in (first, last):
            if number not in held:
                known = ", ".join(map(str, held)) or "none"
                raise GenerationNotHeldError(f"generation {number} is not held here; there are: {known}")
        return tuple(number for number in held if first <= number <= last)

    def changes(self, before: int, after: int) -> list[ArtefactChange]:
        """What a generation has in another version than one before it. Raises `GenerationDamagedError`, `OSError`."""
        old, new = self._parts(before), self._parts(after)
        epochs = [self._store.record(number).epochs for number in (before, after)]
        found = [
            ArtefactChange(name=name, before=_epoch(epochs[0], name), after=_epoch(epochs[1], name))
            for name in sorted({*old, *new})
            if _data(old, name) != _data(new, name)
        ]
        made = {name for change in found for name in MADE_OF.get(change.name.partition("/")[0], ())}
        if any(self._made(before, name) != self._made(after, name) for name in MADE if name not in made):
            found.append(ArtefactChange(name=DOCUMENTS, before=f"as of {before}", after=f"as of {after}"))
        return found

    def mix(self, before: int, after: int, name: str) -> int:
        """The number of a generation that is the first one but for an artefact of the second. Raises as `changes`."""
        self._mixed += 1
        folder = self._own / str(self._mixed)
        parts = {**self._parts(before), name: self._parts(after).get(name)}
        folder.mkdir()
        write_parts([part for part in parts.values() if part is not None], folder)
        source = self._store.path(before)
        shutil.copyfile(source / "generation.json", folder / "generation.json")
        kind = name.partition("/")[0]
        taken = MADE if name == DOCUMENTS else MADE_OF.get(kind, ())
        for made in MADE:
            origin = self._store.path(after if made in taken else before) / made
            if origin.exists():
                shutil.copyfile(origin, folder / made)
        return self._mixed

    def _parts(self, number: int) -> dict[str, PackPart | None]:
        return {part.path: part for part in parts_of(self._store.path(number))}

    def _made(self, number: int, name: str) -> bytes:
        file = self._store.path(number) / name
        return file.read_bytes() if file.exists() else b""


@contextmanager
def open_view(settings: Settings, tenant: str) -> Iterator[GenerationView]:
    """A view of the site of the settings, until left. Raises `OSError`."""
    paths = StatePaths(settings)
    with tempfile.TemporaryDirectory(prefix="tidegate-bisect-") as directory:
        view = replace(settings, state_dir=directory)
        home = StatePaths(view).home
        home.mkdir()
        _link(paths.state, Path(directory), without=(paths.home.name,))
        _link(paths.home, home, without=("active",))
        own = StatePaths(view).active(tenant)
        own.mkdir(parents=True)
        store = GenerationStore(paths.active(tenant))
        _link(store.directory, own, without=())
        yield GenerationView(view, store, own)


def _link(source: Path, target: Path, *, without: Sequence[str]) -> None:
    for path in source.absolute().glob("*"):
        if path.name not in without:
            (target / path.name).symlink_to(path)


def _data(parts: dict[str, PackPart | None], name: str) -> bytes | None:
    part = parts.get(name)
    return None if part is None else part.data


def _epoch(epochs: dict[str, int], name: str) -> str:
    return f"epoch {epochs[name]}" if name in epochs else ""
