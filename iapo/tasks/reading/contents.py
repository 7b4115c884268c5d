"""Rows from a file: unpacked, known by its first bytes, decoded, and read by its kind.

What cannot be read is an error that names the file and the line.
"""

import codecs
import zlib
from importlib import import_module
from pathlib import Path

from iapo.tasks.interface import Numbered
from iapo.tasks.reading.endings import SUFFIXES, kind_of
from iapo.tasks.reading.read_json import read_json
from iapo.tasks.reading.read_parquet import read_parquet
from iapo.tasks.reading.read_table import read_table

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte-order marks; that of UTF-32 begins like that of UTF-16 and is tried before it."""

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma"}
"""How files begin that a module of the standard library unpacks."""
_OF_PAGES = "download the file itself, on the hub by /resolve/ in place of /blob/ in the address"
_FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the workbook as CSV in UTF-8"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save it as CSV in UTF-8"),
    b"(\xb5/\xfd": ("packed by Zstandard", "unpack it with zstd -d"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"PAR1": ("Parquet", "give it the ending .parquet"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "write it as Parquet, or name the folder that save_to_disk wrote"),
    b"SQLite format 3": ("a database of SQLite", "write the table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS in place of the data", "get them with git lfs pull"),
    b"<!DOCTYPE": ("a page of HTML", _OF_PAGES),
    b"<!doctype": ("a page of HTML", _OF_PAGES),
    b"<html": ("a page of HTML", _OF_PAGES),
    b"ustar": ("a TAR archive", "unpack it"),
}
"""How files begin that are not read, what they are, and the remedy."""
_BEHIND = {b"ustar": 257}
"""How many bytes stand in front of a mark."""
_BEGINNING = 512
"""Bytes of a file that show what it is."""


def numbered_rows(path: Path, kind: str) -> Numbered:
    """All rows of a file, and in which line each of them begins.

    Args:
        path: the file.
        kind: its ending, which says how it is read.

    Raises:
        ModuleNotFoundError: Parquet without the extra ``train``.
        ValueError: what cannot be read.
    """
    content = _unpacked(path)
    _refuse_foreign(path, content, kind)
    if kind == ".parquet":
        return [(None, row) for row in read_parquet(path, content)]
    read = read_table if kind in (".csv", ".tsv") else read_json
    return read(path, _decode(path, content), kind)


def check_ending(path: Path) -> None:
    """Raise ``ValueError`` for a file whose ending does not say how it is read; what it is, where its bytes show it."""
    kind = kind_of(path)
    if kind in SUFFIXES:
        return
    with path.open("rb") as file:
        _refuse_foreign(path, file.read(_BEGINNING), kind)
    raise ValueError(f"data: the ending of {path} does not say what it is, want one of {', '.join(SUFFIXES)}")


def _refuse_foreign(path: Path, content: bytes, kind: str) -> None:
    """Raise ``ValueError`` for what begins like a file that is not read, or not by this ending; the remedy is named."""
    found = next((mark for mark in _FOREIGN if content.startswith(mark, _BEHIND.get(mark, 0))), None)
    if found is not None and (found, kind) != (b"PAR1", ".parquet"):
        what, remedy = _FOREIGN[found]
        raise ValueError(
            f"data: {path} is {what}; {remedy}. What is read: JSON Lines, a JSON array, CSV, tab-separated values and "
            "Parquet, as they are or packed by gzip, bzip2 or xz"
        )


def _unpacked(path: Path) -> bytes:
    """What is in a file, unpacked as long as it begins like something packed, whatever its name."""
    content = path.read_bytes()
    while packed := next((name for mark, name in _PACKED.items() if content.startswith(mark)), None):
        module = import_module(packed)
        try:
            content = module.decompress(content)
        except (OSError, EOFError, ValueError, zlib.error, getattr(module, "LZMAError", OSError)) as error:
            raise ValueError(f"data: {path} is a damaged {packed} file: {error}") from error
    return content


def _decode(path: Path, content: bytes) -> str:
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise ValueError(
            f"data: line {line} of {path} has zero bytes, so that it is no text in UTF-8: it begins with "
            f"{content[:8]!r}; UTF-16 without a byte-order mark is converted with iconv -f utf-16le -t utf-8, and what "
            "a crash left in a text is removed with tr -d '\\000'"
        )
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = content[len(mark) : len(mark) + error.start].count(b"\n") + 1
        raise ValueError(
            f"data: line {line} of {path} is no {encoding.upper()} (byte 0x{error.object[error.start]:02x}); convert "
            "the file, as with iconv -f latin1 -t utf-8"
        ) from error
