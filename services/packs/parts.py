"""A pack as artefacts: all that a site needs of it besides its documents, each part by kind and name, as bytes.

Promises the same bytes for the same files, and a folder that the readers of packs read. Next: active.py.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.artefact import ArtefactKind
from tidegate.schemas.message import Rid
from tidegate.schemas.pack import Document, Pack
from tidegate.services.knowledge.ingest.read import MOST_BYTES
from tidegate.services.knowledge.reader.fit import CONFIDENCE
from tidegate.services.knowledge.reader.tuning import FOLDER as ARTEFACTS
from tidegate.services.knowledge.reader.tuning import tuned_tenants, tuning_directory
from tidegate.services.packs.documents import make_slug
from tidegate.services.packs.findings import PackFault, PackFindings
from tidegate.services.packs.folder import list_files
from tidegate.services.packs.load import (
    CALIBRATION,
    LISTS,
    REPLIES,
    THESAURUS,
    read_list,
    read_optional,
    read_site_settings,
)
from tidegate.services.packs.prompts import FOLDER as PROMPTS
from tidegate.services.packs.prompts import SUFFIX as PROMPT
from tidegate.services.packs.prompts import read_prompts
from tidegate.services.policies.files import is_test
from tidegate.services.policies.language import read_policy

SINGLE: dict[ArtefactKind, str] = {
    "intents": "intents.yaml",
    "calibration": CALIBRATION,
    "thesaurus": THESAURUS,
    "replies": REPLIES,
    "site-settings": "site.toml",
}
"""The kinds of which a pack has one at most, and their files; the part's name is the file's."""
FOLDERS: dict[ArtefactKind, tuple[str, tuple[str, ...]]] = {
    "policy": ("policies", (".yaml", ".yml")),
    "prompt": (PROMPTS, (PROMPT,)),
}
"""The kinds of which there may be many: their folder, and how the files end; they are written with the first ending."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_READER = "reader"
_CONFIDENCE = re.compile(rf"{ARTEFACTS}/([a-z0-9][a-z0-9_-]{{0,31}})/{CONFIDENCE}/(site|hub)\.json")
_MADE_FOR = re.compile(rf"([a-z0-9][a-z0-9_-]{{0,31}})-(site|hub|{_READER})")
"""The name of what was fitted for a tenant."""


class PartNameError(TidegateError, ValueError):
    """Two files of a pack would be one artefact, or a part has a name that none of its kind can have."""

    hint = "give each policy and prompt a file name of its own, of a-z, 0-9, - and _"


class PartUnreadableError(TidegateError, ValueError):
    """The bytes of a part are not what its kind is made of."""

    hint = "publish the part anew, out of the pack that it belongs to"


class PackPart(msgspec.Struct, frozen=True, order=True):
    """One artefact of a pack, and its bytes: those of its file."""

    kind: ArtefactKind
    name: Rid
    data: bytes

    @property
    def path(self) -> str:
        """What it is called among the parts of one pack."""
        return f"{self.kind}/{self.name}"


def parts_of(pack: Path) -> tuple[PackPart, ...]:
    """The parts of the pack in a folder, in one order. Raises `PartNameError`, `OSError`."""
    found: dict[str, PackPart] = {}
    for file in list_files(pack):
        named = _name_part(file.relative_to(pack).as_posix())
        if named is None or file.stat().st_size > MOST_BYTES:
            continue
        part = PackPart(*named, file.read_bytes())
        if part.path in found:
            raise PartNameError(f"{pack}: two files are the artefact {part.path}")
        found[part.path] = part
    for tenant in tuned_tenants(pack):
        files = {file.name: file.read_bytes() for file in sorted(tuning_directory(pack, tenant).iterdir())}
        tuned = PackPart("confidence", f"{tenant}-{_READER}", msgspec.msgpack.encode(files, order="deterministic"))
        found[tuned.path] = tuned
    return tuple(sorted(found.values()))


def write_parts(parts: Iterable[PackPart], directory: Path) -> None:
    """Lay the parts out as a pack, each file on disk when this returns; the folders are not.

    Raises `PartNameError`, `PartUnreadableError`, `OSError`.
    """
    for part in parts:
        for name, data in _files_of(part).items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())


def _files_of(part: PackPart) -> dict[str, bytes]:
    """Where a part lies in its pack, with the bytes of each file."""
    kind, name = part.kind, part.name
    if _NAME.fullmatch(name):
        if kind in SINGLE and name == Path(SINGLE[kind]).stem:
            return {SINGLE[kind]: part.data}
        if kind in FOLDERS:
            folder, suffixes = FOLDERS[kind]
            return {f"{folder}/{name}{suffixes[0]}": part.data}
        if kind == "confidence" and (match := _MADE_FOR.fullmatch(name)):
            if match[2] != _READER:
                return {f"{ARTEFACTS}/{match[1]}/{CONFIDENCE}/{match[2]}.json": part.data}
            folder = tuning_directory(Path(), match[1]).as_posix()
            return {f"{folder}/{file}": data for file, data in _unpack(part).items()}
    raise PartNameError(f"a pack has no part {part.path}")


def _unpack(part: PackPart) -> dict[str, bytes]:
    try:
        files = msgspec.msgpack.decode(part.data, type=dict[str, bytes])
    except msgspec.DecodeError as error:
        raise PartUnreadableError(f"{part.path}: {error}") from error
    if any(Path(name).name != name or name.startswith(".") for name in files):
        raise PartUnreadableError(f"{part.path} holds files that are no files of a reader")
    return files


def digest_parts(parts: Iterable[PackPart]) -> str:
    """A sha256 over all of them, in whatever order they come."""
    rows = sorted((part.path, hashlib.sha256(part.data).hexdigest()) for part in parts)
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


def load_parts(directory: Path, documents: tuple[Document, ...] = ()) -> Pack:
    """The parts that were laid out in a folder, as a pack with these documents and without questions to measure it by.

    Raises `PackError` with all that is wrong with them: there must be a policy, and intents.
    """
    findings = PackFindings(directory)
    read_site_settings(findings)
    policies = tuple(sorted(map(str, (directory / FOLDERS["policy"][0]).glob("*.yaml"))))
    pack = Pack(
        name=directory.name,
        version="",
        path=str(directory),
        documents=documents,
        intents=tuple(read_list("intents.yaml", LISTS["intents.yaml"], findings)),
        questions=(),
        calibration=tuple(read_optional(CALIBRATION, findings)),
        policy_files=policies,
        thesaurus=tuple(read_optional(THESAURUS, findings)),
        replies=tuple(read_optional(REPLIES, findings)),
    )
    if not policies:
        findings.fault("policies", "there is no policy", "publish one: a site answers only under a policy")
    for file in map(Path, policies):
        findings.faults += _faults_of_policy(file, findings)
    read_prompts(directory, findings)
    findings.raise_faults(directory)
    return pack


def _faults_of_policy(file: Path, findings: PackFindings) -> Iterator[PackFault]:
    for fault in read_policy(file)[1]:
        yield PackFault(file=findings.name_of(file), reason=fault.fault, hint=fault.hint, line=fault.line)


def _name_part(file: str) -> tuple[ArtefactKind, str] | None:
    """Kind and name of a file of a pack; None where it is no part."""
    path = Path(file)
    for kind, single in SINGLE.items():
        if file == single:
            return kind, path.stem
    if path.parent.as_posix() == FOLDERS["policy"][0] and is_test(path):  # tests stay with their author
        return None
    for kind, (folder, suffixes) in FOLDERS.items():
        if path.parent.as_posix() == folder and path.suffix in suffixes:
            return kind, path.stem if _NAME.fullmatch(path.stem) else make_slug(path.stem)
    match = _CONFIDENCE.fullmatch(file)
    return ("confidence", f"{match[1]}-{match[2]}") if match else None
