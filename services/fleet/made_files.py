"""What belongs beside the parts of a pack in force and is made of them: of what each file is made, and taking it over.

Promises that a file is taken over only where it is of the same things and can be read. Next: prepare_active.py, which
makes them; apply.py, which brings generations into force with them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tidegate.schemas.artefact import ArtefactKind
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import MULTILINGUAL
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.changes import HeldThen, count_changes
from tidegate.services.knowledge.intent_classifier import VECTORS, IntentHead
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.fit import digest_questions
from tidegate.services.knowledge.reader.tuning import FOLDER as ARTEFACTS
from tidegate.services.packs.active import CALIBRATION, INTENT_HEAD, PUBLISHED
from tidegate.services.packs.folder import list_files
from tidegate.services.packs.generations import GenerationRecord, GenerationStore

GREW_BY = 10
MODELS, INTENTS, CONFIDENCE = "models", "intents", "confidence"
_DOCUMENTS, _NUMBERS = "documents of ", "numbers of "
"""Before the name of what was made: how many documents there were then, and where the numbers of later ones begin."""
MADE_WITH: tuple[ArtefactKind, ...] = ("intents", "calibration", "thesaurus", "confidence")
"""The kinds of parts of which something is made. All others can change without any model at hand."""
_BESIDE = {INTENT_HEAD: VECTORS}
"""What only helps to make a file the next time goes with it, where it is there."""
_READ: dict[str, Callable[[Path], object]] = {
    INTENT_HEAD: IntentHead.load,
    PUBLISHED: lambda file: file.read_text("utf-8"),
    CALIBRATION: Calibration.load,
}


class MadeFolder(NamedTuple):
    """A folder with files that were made, and what of."""

    folder: Path
    made_of: Mapping[str, str]

    @classmethod
    def of_generation(cls, store: GenerationStore, record: GenerationRecord) -> MadeFolder:
        """What lies in a generation."""
        return cls(store.path(record.number), record.made_of)


class WantedFiles(NamedTuple):
    """What is to lie beside some parts: digests of what it is made of, and by file which of these it depends on."""

    made_of: Mapping[str, str]
    keys: Mapping[str, tuple[str, ...]]

    @classmethod
    def of_parts(cls, paths: StatePaths, directory: Path, pack: Pack) -> WantedFiles:
        """For the parts that are laid out in a folder, and were read from there as `pack`."""
        made_of = {
            MODELS: digest_models(paths),
            INTENTS: digest_files([directory / "intents.yaml"]),
            CONFIDENCE: f"{digest_questions(pack)}-{digest_files(list_files(directory / ARTEFACTS))}",
        }
        keys: dict[str, tuple[str, ...]] = {CALIBRATION: (MODELS, CONFIDENCE), PUBLISHED: ()}
        return cls(made_of, keys if paths.home.name == HUB else keys | {INTENT_HEAD: (MODELS, INTENTS)})

    def take_over(self, sources: Sequence[MadeFolder], directory: Path) -> tuple[set[str], dict[str, str]]:
        """Put into `directory` what the first source has of the same things; what none has, and what the others were
        made of. Raises `OSError`."""
        missing, made_of = set(self.keys), dict(self.made_of)
        for name, keys in self.keys.items():
            for source in sources:
                if all(source.made_of.get(key) == self.made_of[key] for key in keys) and _take(name, source, directory):
                    missing.discard(name)
                    made_of |= record_held([name], _read_record(source.made_of, name))
                    break
        return missing, made_of


def take_all(source: MadeFolder, names: Iterable[str], directory: Path) -> list[str]:
    """Put into `directory` what the source has, whatever it was made of; what it has not. Raises `OSError`."""
    return [name for name in names if not _take(name, source, directory)]


def record_held(names: Iterable[str], held: HeldThen) -> dict[str, str]:
    """What `has_outgrown` has to know of files that are made of the documents held now."""
    return {key: str(number) for name in names for key, number in zip(_held_keys(name), held, strict=True)}


def has_outgrown(made_of: Mapping[str, str], index: Path) -> bool:
    """Whether one in `GREW_BY` of the documents came, went or became another one since something was made of them.

    What an earlier version made, which noted less, counts as made of none. Raises what `IndexDatabase` does.
    """
    names = [key.removeprefix(_DOCUMENTS) for key in made_of if key.startswith(_DOCUMENTS)]
    then = {_read_record(made_of, name) for name in names}
    return any(count_changes(index, each) * GREW_BY > each.documents for each in then)


def digest_models(paths: StatePaths) -> str:
    """Tells the models apart that everything is made with; empty where there are none. Their manifest has the digest of
    each: they need not be read."""
    manifest = paths.models / MULTILINGUAL / "manifest.json"
    return digest_files([manifest]) if manifest.is_file() else ""


def digest_files(files: Iterable[Path]) -> str:
    """The first 16 hex digits of a sha256 over what they hold. Raises `OSError`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _read_record(made_of: Mapping[str, str], name: str) -> HeldThen:
    return HeldThen(*(int(made_of.get(key, "0")) for key in _held_keys(name)))


def _held_keys(name: str) -> tuple[str, str]:
    return _DOCUMENTS + name, _NUMBERS + name


def _take(name: str, source: MadeFolder, directory: Path) -> bool:
    """Whether a file of a source is there and can be read; it is then in the directory too. What is damaged is made
    anew, as what is missing is."""
    try:
        _READ[name](source.folder / name)
    except (TidegateError, OSError, ValueError):
        return False
    _link(source.folder / name, directory / name)
    if beside := _BESIDE.get(name):
        with suppress(FileNotFoundError):  # it saves time the next time, and no more
            _link(source.folder / beside, directory / beside)
    return True


def _link(source: Path, target: Path) -> None:
    """The files of a generation never change, so that one file may be in several."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
