"""What a file is that stands where text is expected, told by its first bytes; nothing is unpacked or unpickled."""

from pathlib import Path

from tta_pipeline.errors import InputError

HEAD_BYTES = 4096
GZIP_MAGIC = b"\x1f\x8b"
_AS_UTF8 = "Save it as UTF-8 (in Excel: CSV UTF-8)."
_UNPACK = "Unpack it, and name the table that is in it."
_EXPORT = "Export the table as CSV or TSV, and name that file."
_NOT_OPENED = "It is not opened, for a pickle can run code: export the table as CSV or TSV."
_CHECK_PATH = "Check the path in the config."
_FETCH = "Fetch the file again; perhaps the download needs a login."
# Offset, bytes, what they say, what to do; the first that fits counts.
_SIGNATURES = (
    (0, b"\xff\xfe\0\0", "text in UTF-32", _AS_UTF8),
    (0, b"\0\0\xfe\xff", "text in UTF-32", _AS_UTF8),
    (0, b"\xff\xfe", "text in UTF-16", _AS_UTF8),
    (0, b"\xfe\xff", "text in UTF-16", _AS_UTF8),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", "Save its sheet as CSV UTF-8."),
    (4, b"1AY&SY", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    *((0, bytes([0x80, protocol]), "a Python pickle", _NOT_OPENED) for protocol in range(2, 6)),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", _EXPORT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (
        0,
        b"PAR1\x15",
        "a Parquet file",
        "Give it the suffix .parquet where it is the expression; else export it as CSV.",
    ),
    *((0, magic, "a file of R (.rda)", _EXPORT) for magic in (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n")),
    (0, b"X\n\0\0\0", "a file of R (.rds)", _EXPORT),
    (0, b"%PDF", "a PDF", _EXPORT),
    (0, b"\x89PNG", "a PNG picture", _CHECK_PATH),
    (0, b"\xff\xd8\xff", "a JPEG picture", _CHECK_PATH),
    (0, b"II*\0", "a TIFF picture or a slide", _CHECK_PATH),
    (0, b"MM\0*", "a TIFF picture or a slide", _CHECK_PATH),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "Fetch the file itself with: git lfs pull"),
)
_ZIP = b"PK\x03\x04"
_OFFICE = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/")
_WEB = (b"<!doctype html", b"<html>", b"<html ")


def kind_of(head: bytes) -> tuple[str, str] | None:
    """What a file is by its first `HEAD_BYTES`, and what to do; None where it may be text or gzip."""
    for offset, magic, name, advice in _SIGNATURES:
        if head.startswith(magic, offset):
            return name, advice
    if head.startswith(_ZIP):
        return _kind_of_zip(head)
    if head.lstrip().lower().startswith(_WEB):
        return "a web page", _FETCH
    return None


def refuse_other_than_text(head: bytes, *, path: Path, gzipped: bool) -> None:
    """Stop where the first bytes, unpacked if the file was gzipped, are not those of text.

    Raises
    ------
    InputError
        Names what the file is.
    """
    kind = ("a gzip file", _UNPACK) if gzipped and head.startswith(GZIP_MAGIC) else kind_of(head)
    if kind is not None:
        name, advice = kind
        within = ", gzipped" if gzipped else ""
        raise InputError(f"{path}: expected UTF-8 text (a table as CSV or TSV), found {name}{within}. {advice}")


def _kind_of_zip(head: bytes) -> tuple[str, str]:
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.startswith(_OFFICE):
        return "an Excel workbook (.xlsx)", "Save its sheet as CSV UTF-8. A clinical table may also be named .xlsx."
    if name.endswith(b"data.pkl"):
        return "a file of PyTorch with a Python pickle", _NOT_OPENED
    return "a ZIP archive", _UNPACK
