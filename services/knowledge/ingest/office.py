"""The container of Word and Excel files, bounded before anything in it is opened. Next: word.py, workbook.py."""

from __future__ import annotations

import html
import io
import re
import zipfile

import msgspec

from tidegate.services.knowledge.ingest.errors import FileUnreadError

MOST_UNPACKED_BYTES = 128 * 2**20
_MOST_MEMBERS = 10_000
_OLD_FORMAT = b"\xd0\xcf\x11\xe0"
"""Begins Office files before 2007, and newer ones that are encrypted."""
_TITLE = re.compile(r"<dc:title>(.*?)</dc:title>", re.DOTALL)
_MODIFIED = re.compile(r"<dcterms:modified[^>]*>\s*(\d{4}-\d\d-\d\d)")
_MOST_PROPERTIES_BYTES = 65_536


class OfficeProperties(msgspec.Struct, frozen=True):
    """What an Office file states about itself: its title and the day of its last change, ISO 8601."""

    title: str = ""
    date: str = ""


def check_office(data: bytes, part: str, kind: str) -> OfficeProperties:
    """The properties of an Office file that holds `part` and unpacks to what can be read. Raises `FileUnreadError`."""
    if data.startswith(_OLD_FORMAT):
        raise FileUnreadError(
            "it is protected by a password, or in the format of Office before 2007", f"save it as .{kind}, without one"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > MOST_UNPACKED_BYTES or len(members) > _MOST_MEMBERS:
                size = f"{unpacked // 2**20} MiB in {len(members)} parts"
                raise FileUnreadError(f"it unpacks to {size}, more than is read", "split it, or take out its pictures")
            names = {member.filename for member in members}
            if part not in names:
                raise FileUnreadError(f"it is no .{kind} file: {part} is missing", f"save it as .{kind} again")
            if "docProps/core.xml" not in names:
                return OfficeProperties()
            with archive.open("docProps/core.xml") as file:
                return _read_properties(file.read(_MOST_PROPERTIES_BYTES).decode("utf-8", "replace"))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FileUnreadError(f"it is no .{kind} file that can be opened: it is broken or cut short") from error


def _read_properties(xml: str) -> OfficeProperties:
    title, modified = _TITLE.search(xml), _MODIFIED.search(xml)
    return OfficeProperties(html.unescape(title[1]).strip() if title else "", modified[1] if modified else "")
