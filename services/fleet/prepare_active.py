"""Makes what a site's stages need beside the parts of a pack in force: intent head, published text, confidence.

It takes seconds and models, so it is made in a folder of its own, beside what is in force: nothing waits for it.
Next: made_files.py, what of it is taken over; apply.py, which brings it into force."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tidegate.schemas.pack import Document, Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.made_files import MadeFolder, WantedFiles, has_outgrown, record_held
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge import intent_classifier
from tidegate.services.knowledge.index.changes import read_held
from tidegate.services.knowledge.index.limits import EXACT_BELOW
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.texts import list_documents
from tidegate.services.knowledge.index.thesaurus import Thesaurus, save_thesaurus
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.fit import prepare_kept_confidence
from tidegate.services.knowledge.reader.tuning import find_tuning
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.active import CALIBRATION, INTENT_HEAD, PUBLISHED
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import PackPart, load_parts, write_parts
from tidegate.services.privacy.dlp.published import PublishedText

MOST_PUBLISHED = 20_000_000
"""Characters of documents whose names are known as published: a name is looked for in them in some 10 ms at most. Names
of documents beyond are taken for personal data, which is the safe side."""
_DRAFT = ".making-"
LoadUnits = Callable[[], UnitReader]


def make_files(paths: StatePaths, tenant: str, parts: Iterable[PackPart], load_units: LoadUnits) -> MadeFolder:
    """Make what belongs beside these parts and is not in force already, out of them and of the documents that the
    tenant's index holds; where so many documents came, went or changed that it is outgrown, all of it.

    The folder is the caller's, who removes it. One at a time for a tenant: what a maker that was killed has left is
    removed. Raises `PackError`, `PartNameError`, `PartUnreadableError`, `EmbeddingModelMissingError`,
    `IndexDamagedError`, `OSError`, and `ValueError` for intents that cannot be learned.
    """
    store = GenerationStore(paths.active(tenant))
    store.directory.mkdir(parents=True, exist_ok=True)
    for left in store.directory.glob(f"{_DRAFT}*"):
        shutil.rmtree(left)
    directory = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=store.directory))
    try:
        write_parts(parts, directory)
        pack = load_parts(directory)
        save_thesaurus(directory, pack.thesaurus)
        wanted, held = WantedFiles.of_parts(paths, directory, pack), read_held(paths.index(tenant))
        known = store.usable()
        before = [] if known is None else [MadeFolder.of_generation(store, known)]
        is_outgrown = known is not None and has_outgrown(known.made_of, paths.index(tenant))
        missing, made_of = wanted.take_over([] if is_outgrown else before, directory)
        if missing:
            vectors = [each.folder / intent_classifier.VECTORS for each in before]
            _Maker(paths, tenant, directory, pack, load_units()).make(missing, vectors)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return MadeFolder(directory, made_of | record_held(missing, held))


class _Maker:
    """Makes the files that are missing."""

    def __init__(self, paths: StatePaths, tenant: str, directory: Path, pack: Pack, units: UnitReader) -> None:
        self._index = paths.index(tenant)
        self._is_hub = paths.home.name == HUB
        self._tenant = tenant
        self._directory = directory
        self._pack = pack
        self._units = units

    def make(self, missing: Iterable[str], vectors: list[Path]) -> None:
        """`vectors`: of intent heads before, for `prepare_intents`."""
        makers: dict[str, Callable[[Path], None]] = {
            INTENT_HEAD: lambda file: self._train_intents(file, vectors),
            PUBLISHED: self._write_published,
            CALIBRATION: self._calibrate,
        }
        for name in sorted(missing):
            makers[name](self._directory / name)

    def _train_intents(self, file: Path, vectors: list[Path]) -> None:
        documents = tuple(list_documents(self._index))
        pack = load_parts(self._directory, documents)
        intent_classifier.prepare_intents(pack, self._units.embedder, file, vectors)

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


def _within(most: int, documents: Iterable[Document]) -> Iterable[str]:
    for document in documents:
        most -= len(document.text)
        if most < 0:
            return
        yield f"{document.title} | {document.text}"
