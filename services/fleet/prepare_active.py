"""Makes what a site's stages need beside the parts of a pack in force: intent head, published text, confidence.

Promises that what is made of parts that did not change is not made again: a new policy takes milliseconds. Next:
apply.py, which brings generations into force; prepare.py, which does it for the folder of a pack."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tidegate.schemas.pack import Document, Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import MULTILINGUAL
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge import intent_classifier
from tidegate.services.knowledge.index.database import read_head_of
from tidegate.services.knowledge.index.limits import EXACT_BELOW
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.texts import list_documents
from tidegate.services.knowledge.index.thesaurus import Thesaurus, save_thesaurus
from tidegate.services.knowledge.reader.fit import digest_questions, prepare_kept_confidence
from tidegate.services.knowledge.reader.reader import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.tuning import FOLDER as ARTEFACTS
from tidegate.services.knowledge.reader.tuning import find_tuning
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.active import CALIBRATION, INTENT_HEAD, PUBLISHED
from tidegate.services.packs.folder import list_files
from tidegate.services.packs.parts import load_parts
from tidegate.services.privacy.dlp.published import PublishedText

MOST_PUBLISHED = 20_000_000
"""Characters of documents whose names are known as published: a name is looked for in them in some 10 ms at most. Names
of documents beyond are taken for personal data, which is the safe side."""
GREW_BY = 10
MODELS, INTENTS, CONFIDENCE = "models", "intents", "confidence"
DOCUMENTS = "documents of "
"""Before the name of what was made: how many documents there were then."""
LoadUnits = Callable[[], UnitReader]


def prepare_active(
    paths: StatePaths,
    tenant: str,
    directory: Path,
    before: tuple[Path, Mapping[str, str]] | None = None,
    load_units: LoadUnits | None = None,
) -> dict[str, str]:
    """Make what belongs beside the parts in `directory`, out of them and of the documents that the tenant's index
    holds; what each was made of.

    `before` is the generation before and what that was made of: what it made of the same parts is taken over, whatever
    became of the documents since. Raises `PackError`, `EmbeddingModelMissingError`, `IndexDamagedError`, `OSError`.
    """
    pack = load_parts(directory)
    save_thesaurus(directory, pack.thesaurus)
    made_of = {
        MODELS: digest_models(paths),
        INTENTS: _digest([directory / "intents.yaml"]),
        CONFIDENCE: f"{digest_questions(pack)}-{_digest(list_files(directory / ARTEFACTS))}",
    }
    made: dict[str, tuple[str, ...]] = {CALIBRATION: (MODELS, CONFIDENCE), PUBLISHED: ()}
    if paths.home.name != HUB:
        made |= {INTENT_HEAD: (MODELS, INTENTS)}
    missing = set(made)
    if before is not None:
        missing -= {name for name, keys in made.items() if _take_over(name, directory, before, made_of, keys)}
    if missing:
        units = (load_units or (lambda: UnitReader.load(paths.models)))()
        _Maker(paths, tenant, directory, pack, units).make(missing)
    documents, known = str(read_head_of(paths.index(tenant)).documents), before[1] if before else {}
    counts = {name: documents if name in missing else known.get(f"{DOCUMENTS}{name}", "0") for name in made}
    return made_of | {f"{DOCUMENTS}{name}": count for name, count in counts.items()}


def has_outgrown(made_of: Mapping[str, str], documents: int) -> bool:
    """Whether one in `GREW_BY` of the documents came or went since something was made of them."""
    counts = [int(count) for key, count in made_of.items() if key.startswith(DOCUMENTS)]
    return any(abs(documents - count) * GREW_BY > count for count in counts)


def digest_models(paths: StatePaths) -> str:
    """Tells the models apart that everything is made with; empty where there are none. Their manifest has the digest of
    each: they need not be read."""
    manifest = paths.models / MULTILINGUAL / "manifest.json"
    return _digest([manifest]) if manifest.is_file() else ""


class _Maker:
    """Makes the files that are missing."""

    def __init__(self, paths: StatePaths, tenant: str, directory: Path, pack: Pack, units: UnitReader) -> None:
        self._index = paths.index(tenant)
        self._is_hub = paths.home.name == HUB
        self._tenant = tenant
        self._directory = directory
        self._pack = pack
        self._units = units

    def make(self, missing: Iterable[str]) -> None:
        makers = {INTENT_HEAD: self._train_intents, PUBLISHED: self._write_published, CALIBRATION: self._calibrate}
        for name in sorted(missing):
            makers[name](self._directory / name)

    def _train_intents(self, file: Path) -> None:
        documents = tuple(list_documents(self._index))
        intent_classifier.prepare_intents(load_parts(self._directory, documents), self._units.embedder, file)

    def _write_published(self, file: Path) -> None:
        published = PublishedText.of(_within(MOST_PUBLISHED, list_documents(self._index)))
        file.write_text(str(published), "utf-8")

    def _calibrate(self, file: Path) -> None:
        own = self._units.tuned(find_tuning(self._directory, self._tenant, self._units.version))
        indexes = TenantIndexes(
            (self._tenant,), lambda _: self._index, self._units.embedder, exact_below=EXACT_BELOW
        ).rewritten_by(Thesaurus(self._pack.thesaurus))
        index = indexes.index(self._tenant)
        assert index is not None  # its tenant is on the list
        prepare_kept_confidence(self._pack, index, own, file, AT_HUB if self._is_hub else AT_SITE)


def _take_over(
    name: str,
    directory: Path,
    before: tuple[Path, Mapping[str, str]],
    made_of: Mapping[str, str],
    keys: tuple[str, ...],
) -> bool:
    """Whether a file of the generation before is of the same things; it is then in the new one too. The files of a
    generation never change, so that one file may be in several."""
    folder, known = before
    if any(known.get(key) != made_of[key] for key in keys):
        return False
    with suppress(FileNotFoundError):
        try:
            os.link(folder / name, directory / name)
        except OSError:  # a file system without links
            shutil.copyfile(folder / name, directory / name)
        return True
    return False


def _within(most: int, documents: Iterable[Document]) -> Iterable[str]:
    for document in documents:
        most -= len(document.text)
        if most < 0:
            return
        yield f"{document.title} | {document.text}"


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
