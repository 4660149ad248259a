"""Makes one document of versions that were written apart, by the rule that its collection declares.

A resolution is derived, never written: every site derives the same bytes and the same clock, the merge of the
inputs, with no event of its own, so that no resolution is ever sent. Next: strictness.py, for policies."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.clocks import Dot, HybridTime, VectorClock
from tidegate.schemas.sync import DocumentContent, FieldStamp, MergeRule
from tidegate.sync.rules.clock import covers
from tidegate.sync.rules.merge import Siblings, Version

PLAIN_FIELDS = ("language", "text", "title")
META = "meta."


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """Versions were written apart. `fields` are those that more than one of them changed, and `chosen` is the version
    that was taken as it is, where one was. `is_open`: a person has still to decide; what is served is provisional."""

    kind: Literal["edits", "edit-and-delete"]
    rule: MergeRule
    dots: tuple[Dot, ...]
    fields: tuple[str, ...] = ()
    chosen: Dot | None = None
    is_open: bool = False


class ResolvedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What a document is, of all its versions: deleted where `content` is None. `clock` covers all of them, and is the
    context of an edit of this."""

    content: DocumentContent | None
    clock: VectorClock
    dots: tuple[Dot, ...] = ()
    conflict: Conflict | None = None


def resolve(siblings: Siblings, rule: MergeRule) -> ResolvedDocument:
    """The document that these versions make. Without content where nothing is held, or only tombstones.

    `last-writer`: the version with the latest hybrid time, be it a deletion. `field-merge`: each field's latest value.
    `ask`: as `last-writer`, provisionally. Where one version deletes and another edits, the last two have it deleted:
    what somebody withdrew is not quoted until a person says so. Equal contents are no conflict.
    """
    versions = siblings.versions
    dots = tuple(version.operation.dot for version in versions)
    if not versions:
        return ResolvedDocument(content=None, clock=siblings.clock)
    latest = max(versions, key=_written)
    if _agree(versions):
        return ResolvedDocument(content=_with_stamps(latest, rule), clock=siblings.clock, dots=dots)
    deletes = any(version.operation.content is None for version in versions)
    kind: Literal["edits", "edit-and-delete"] = "edit-and-delete" if deletes else "edits"
    chosen, fields = latest, tuple(sorted(_disputed(versions)))
    content = latest.operation.content
    if deletes and rule != "last-writer":
        chosen = max((version for version in versions if version.operation.content is None), key=_written)
        content = None
    elif rule == "field-merge":
        content = _merged(versions)
    merged = rule == "field-merge" and not deletes
    conflict = Conflict(
        kind=kind,
        rule=rule,
        dots=dots,
        fields=fields,
        chosen=None if merged else chosen.operation.dot,
        is_open=rule == "ask",
    )
    return ResolvedDocument(
        content=content, clock=siblings.clock, dots=dots, conflict=None if merged and not fields else conflict
    )


def stamp_edit(edited: DocumentContent, previous: DocumentContent | None, stamp: FieldStamp) -> DocumentContent:
    """The content of an edit in a collection of `field-merge`: what it kept of `previous`, a resolved content, keeps
    its stamps, so that the edit does not compete for the fields it did not touch. `stamp` is the edit's own."""
    if previous is None:
        return msgspec.structs.replace(edited, stamps={})
    before, after = _fields(previous), _fields(edited)
    kept = {name: previous.stamps[name] for name in after if before.get(name) == after[name]}
    gone = {name: stamp for name in before if name not in after}
    long_gone = {name: each for name, each in previous.stamps.items() if name not in before and name not in after}
    return msgspec.structs.replace(edited, stamps=dict(sorted((kept | gone | long_gone).items())))


def _written(version: Version) -> tuple[HybridTime, Dot]:
    return version.operation.time, version.operation.dot


def _fields(content: DocumentContent) -> dict[str, str]:
    plain = {name: str(getattr(content, name)) for name in PLAIN_FIELDS}
    return plain | {f"{META}{name}": value for name, value in content.meta.items()}


def _agree(versions: tuple[Version, ...]) -> bool:
    contents = [version.operation.content for version in versions]
    fields = [content and _fields(content) for content in contents]
    return all(each == fields[0] for each in fields)


def _stamps(version: Version) -> dict[str, FieldStamp]:
    """When each field of a version got its value, or lost it."""
    operation = version.operation
    if operation.content is None:
        return {}
    own = FieldStamp(operation.time, operation.dot)
    return dict.fromkeys(_fields(operation.content), own) | operation.content.stamps


def _with_stamps(version: Version, rule: MergeRule) -> DocumentContent | None:
    """A version's content, with every stamp spelt out where later edits will be merged by field."""
    content = version.operation.content
    if content is None or rule != "field-merge":
        return content
    return msgspec.structs.replace(content, stamps=dict(sorted(_stamps(version).items())))


def _latest(versions: tuple[Version, ...]) -> dict[str, tuple[FieldStamp, Version]]:
    """For each field its latest stamp, and a version that has it; of several the first by dot."""
    found: dict[str, tuple[FieldStamp, Version]] = {}
    for version in versions:
        for name, stamp in _stamps(version).items():
            if name not in found or stamp > found[name][0]:
                found[name] = stamp, version
    return found


def _disputed(versions: tuple[Version, ...]) -> set[str]:
    """The fields that were given different values by events that did not know of each other."""
    latest = _latest(versions)
    return {
        name
        for version in versions
        for name, stamp in _stamps(version).items()
        if stamp != latest[name][0]
        and not _knows(latest[name][1], stamp.dot)
        and _value(version, name) != _value(latest[name][1], name)
    }


def _knows(version: Version, dot: Dot) -> bool:
    return dot == version.operation.dot or covers(version.operation.context, dot)


def _value(version: Version, name: str) -> str | None:
    content = version.operation.content
    return None if content is None else _fields(content).get(name)


def _merged(versions: tuple[Version, ...]) -> DocumentContent:
    """Each field with its latest value. Vectors are kept where they are those of the title and the text that result."""
    latest = _latest(versions)
    values = {name: value for name, (_, version) in latest.items() if (value := _value(version, name)) is not None}
    fitting = [
        content.vectors
        for version in versions
        if (content := version.operation.content) and (content.title, content.text) == (values["title"], values["text"])
    ]
    return DocumentContent(
        title=values["title"],
        language=values["language"],
        text=values["text"],
        meta={name.removeprefix(META): values[name] for name in sorted(values) if name.startswith(META)},
        vectors=next((vectors for vectors in fitting if vectors), None),
        stamps={name: stamp for name, (stamp, _) in sorted(latest.items())},
    )
