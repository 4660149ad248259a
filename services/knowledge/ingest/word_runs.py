"""A Word document without the text that nobody sees in it: formatted as hidden, by itself or by its style; white where
nothing is behind it; smaller than can be read.

Promises to look at every part that has text, whatever it is called and whichever prefix its elements have.
Next: word.py.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec

from tidegate.services.knowledge.ingest.errors import FileUnreadError

MOST_HALF_POINTS = 4
"""Of a size that nobody reads: 2 points."""
_WHITE = re.compile(r"(?:[fF][0-9a-fA-F]){3}")
_NO = ("0", "false", "off", "none")
_TEXT_PARTS = ("document", "footnotes", "endnotes")


class WordStyles(msgspec.Struct, frozen=True):
    """The styles whose text is hidden, and those that have a ground of their own."""

    hidden: frozenset[str] = frozenset()
    shaded: frozenset[str] = frozenset()


class _Where(msgspec.Struct, frozen=True):
    """What is around a run: `is_on_ground` where something may be behind its text, which is not looked at."""

    is_hidden: bool = False
    is_on_ground: bool = False


def without_unseen_runs(data: bytes) -> bytes:
    """The document without them; itself where it has none. Raises `FileUnreadError`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {each: archive.read(each) for each in archive.namelist() if each.lower().endswith(".xml")}
        styles = _read_styles(_parse(part) for name, part in parts.items() if name.endswith("styles.xml"))
        changed = dict(_changed(parts, styles))
        if not changed:
            return data
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as rewritten:
            for member in archive.infolist():
                rewritten.writestr(member.filename, changed.get(member.filename) or archive.read(member))
    return made.getvalue()


def _changed(parts: dict[str, bytes], styles: WordStyles) -> Iterator[tuple[str, bytes]]:
    for name, part in parts.items():
        if b"wordprocessingml" not in part:
            continue
        root = _parse(part)
        if _name(root) in _TEXT_PARTS:
            is_on_ground = b'behindDoc="1"' in part or any(_name(each) == "background" for each in root)
            if _take_out(root, styles, _Where(is_on_ground=is_on_ground)):
                yield name, ElementTree.tostring(root, "utf-8", xml_declaration=True)


def _parse(part: bytes) -> Element:
    if b"<!DOCTYPE" in part:  # ECMA-376, part 2, 8.1.4: no part has one; an entity may name a file, or unfold
        raise FileUnreadError("it is no .docx file that can be opened: a part of it has a document type")
    try:
        return ElementTree.fromstring(part)
    except ElementTree.ParseError as error:
        raise FileUnreadError("it is no .docx file that can be opened: a part of it is no XML") from error


def _take_out(root: Element, styles: WordStyles, around: _Where) -> int:
    """Remove the runs below an element that nobody sees; how many. No recursion: a file may be nested without end."""
    count, waiting = 0, [(root, around)]
    while waiting:
        parent, where = waiting.pop()
        inside = _where(parent, styles, where)
        for child in list(parent):
            if _name(child) == "r" and _has_text(child) and _is_unseen(child, styles, inside):
                parent.remove(child)
                count += 1
            else:
                waiting.append((child, inside))
    return count


def _where(element: Element, styles: WordStyles, around: _Where) -> _Where:
    if _name(element) in ("tbl", "txbxContent"):
        return _Where(is_on_ground=True)
    if _name(element) != "p":
        return around
    properties = _child(element, "pPr")
    style = _value(properties, "pStyle")
    is_shaded = style in styles.shaded or _child(properties, "shd") is not None
    return _Where(style in styles.hidden, around.is_on_ground or is_shaded)


def _is_unseen(run: Element, styles: WordStyles, where: _Where) -> bool:
    properties = _child(run, "rPr")
    style = _value(properties, "rStyle")
    is_hidden = _is_hidden(properties)
    if is_hidden is None:
        is_hidden = where.is_hidden or style in styles.hidden
    size = _value(properties, "sz")
    if is_hidden or (size.isdecimal() and len(size) < 5 and int(size) <= MOST_HALF_POINTS):
        return True
    is_white = _WHITE.fullmatch(_value(properties, "color")) is not None
    grounds = (_child(properties, "shd"), _child(properties, "highlight"))
    return is_white and not where.is_on_ground and style not in styles.shaded and grounds == (None, None)


def _read_styles(roots: Iterator[Element]) -> WordStyles:
    hides: dict[str, bool | None] = {}
    based: dict[str, str] = {}
    shaded = set()
    for style in (each for root in roots for each in root if _name(each) == "style"):
        own, properties = _attribute(style, "styleId"), _child(style, "rPr")
        hides[own], based[own] = _is_hidden(properties), _value(style, "basedOn")
        if _child(properties, "shd") is not None or _child(_child(style, "pPr"), "shd") is not None:
            shaded |= {own, ""} if _attribute(style, "default") == "1" else {own}
    hidden = {name for name in hides if _inherited(name, hides, based)}
    return WordStyles(frozenset(hidden), frozenset(shaded))


def _inherited(name: str, hides: dict[str, bool | None], based: dict[str, str]) -> bool:
    seen = set[str]()
    while name in hides and name not in seen:
        seen.add(name)
        if (found := hides[name]) is not None:
            return found
        name = based[name]
    return False


def _is_hidden(properties: Element | None) -> bool | None:
    """What run properties say of it (ECMA-376, 17.3.2.41); None: nothing."""
    found = [_child(properties, each) for each in ("vanish", "specVanish")]
    values = [_attribute(each, "val").lower() not in _NO for each in found if each is not None]
    return any(values) if values else None


def _has_text(run: Element) -> bool:
    """Whether a run is itself text; one that holds a text box is looked into."""
    return not any(_name(each) in ("txbxContent", "r") for each in run.iter() if each is not run)


def _child(element: Element | None, name: str) -> Element | None:
    return next((each for each in element if _name(each) == name), None) if element is not None else None


def _value(element: Element | None, name: str) -> str:
    child = _child(element, name)
    return _attribute(child, "val") if child is not None else ""


def _attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
