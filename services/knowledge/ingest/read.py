"""Reads one file by its kind, within bounds. Promises one error, with a reason and a hint. Next: reader.py."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.parts import IngestedText

MOST_BYTES = 64 * 2**20
MOST_CHARACTERS = 8_000_000
_FORMATS = {
    ".pdf": ("pdf.layout", "read_pdf"),
    ".docx": ("word", "read_word"),
    ".xlsx": ("workbook", "read_workbook"),
    ".html": ("html", "read_html"),
    ".htm": ("html", "read_html"),
    ".xhtml": ("html", "read_html"),
    ".csv": ("delimited", "read_delimited"),
    ".tsv": ("delimited", "read_delimited"),
    ".txt": ("text", "read_text"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), ("images", "read_image")),
}
"""By suffix, the module and the function that read it. A module, and the library it needs, is imported when needed."""
SUFFIXES = tuple(_FORMATS)
_BY_PAGE = ("pdf.layout", "images")
"""The modules that tell of the pages that they recognise."""
_TEXTS = (".csv", ".tsv", ".txt", ".html", ".htm", ".xhtml")
_SAVE_AS = {
    "docx": (".doc", ".docm", ".dot", ".dotx", ".odt", ".rtf", ".pages", ".wpd"),
    "xlsx": (".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
    "pdf": (
        ".ppt",
        ".pptx",
        ".pptm",
        ".odp",
        ".key",
        ".epub",
        ".mobi",
        ".ps",
        ".djvu",
        ".xps",
        ".tex",
        ".vsd",
        ".vsdx",
    ),
}
_PICTURES = (".gif", ".bmp", ".webp", ".heic", ".svg")


def read_file(path: Path, on_page: Callable[[int, int], None] = lambda _done, _pages: None) -> IngestedText:
    """The document in a file, as Markdown. `on_page` is called before each page that is recognised, with the number of
    those that were and of all. Raises `FileUnreadError`."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise FileUnreadError(f"files of the kind {suffix or 'without a suffix'} are not read", hint_for(suffix))
    data = _read_bytes(path)
    if suffix == ".pdf" and b"%PDF" not in data[:1024]:
        raise FileUnreadError("it is no PDF, whatever its name says", "see what kind of file it is")
    if suffix in _TEXTS and import_module(f"{__package__}.text").is_binary(data):
        raise FileUnreadError("it is no text, whatever its name says", "see what kind of file it is")
    read = _find_reader(suffix)
    found = read(data, on_page) if _FORMATS[suffix][0] in _BY_PAGE else read(data)
    if not found.text.strip():
        raise FileUnreadError("there is no text in it", "take it away")
    if len(found.text) > MOST_CHARACTERS:
        size = f"{len(found.text)} characters of text; {MOST_CHARACTERS} are the most that are read"
        raise FileUnreadError(f"it has {size}", "split it")
    return found


def hint_for(suffix: str) -> str:
    """What to do with a file of a kind that is not read."""
    for kind, suffixes in _SAVE_AS.items():
        if suffix.lower() in suffixes:
            return f"save it as .{kind}"
    if suffix.lower() in _PICTURES:
        return "of pictures, .png, .jpg and .tif files are read"
    return f"documents are .md, .markdown, {', '.join(SUFFIXES)} files"


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FileUnreadError("it is no file", "take it away")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise FileUnreadError(
                f"it has {size // 2**20} MiB; {MOST_BYTES // 2**20} are the most that are read", "split it"
            )
        if size == 0:
            raise FileUnreadError("it is empty", "take it away")
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadError(error.strerror or str(error), "let the file be read, or take it away") from error


def _find_reader(suffix: str) -> Callable[..., IngestedText]:
    module, function = _FORMATS[suffix]
    try:
        read: Callable[..., IngestedText] = getattr(import_module(f"{__package__}.{module}"), function)
    except ModuleNotFoundError as error:
        reason = f"{suffix} files need the package {error.name}, which is not installed"
        raise FileUnreadError(reason, "pip install 'tidegate[documents]'") from error
    return read
