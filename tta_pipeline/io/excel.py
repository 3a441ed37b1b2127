"""Excel files: the rows of one sheet as text."""

import importlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from tta_pipeline.errors import InputError
from tta_pipeline.io import text_lines

SUFFIXES = (".xlsx", ".xlsm")
MAX_UNPACKED = 1 << 28
_CDR_SHEET = "TCGA-CDR"


def read_excel(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row of the sheet TCGA-CDR, or of the first, the header first.

    Formulas count as their last value. Rows are as long as the header, and columns without a name get one.

    Raises
    ------
    InputError
        The file is no Excel file, is damaged or too large, or its sheet is empty.
    """
    openpyxl = importlib.import_module("openpyxl")  # costs every job a part of a second, and few need it
    try:
        _check_size(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            yield from _rows(book, path)
        finally:
            book.close()
    except (zipfile.BadZipFile, zlib.error, ParseError, KeyError, ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: expected an Excel file, found one that cannot be read ({error}). Fetch it again, or save it as "
            "CSV UTF-8."
        ) from error


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MAX_UNPACKED:
        raise InputError(
            f"{path}: expected at most {MAX_UNPACKED:,} bytes when unpacked, found {unpacked:,}. Save the sheet as CSV "
            "UTF-8, without pictures and other sheets."
        )


def _rows(book: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if not sheets:
        raise InputError(f"{path}: expected a sheet of cells, found none.")
    sheet = sheets.get(_CDR_SHEET, book.worksheets[0])
    sheet.reset_dimensions()  # it may name a million empty cells
    width = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > text_lines.SHEET.lines:
            raise InputError(f"{path}: expected at most {text_lines.SHEET.lines:,} rows, found more. Save it as CSV.")
        cells = ["" if value is None else str(value).strip() for value in row]
        if width:
            yield number, (cells + [""] * width)[:width]
        elif any(cells):
            while not cells[-1]:
                cells.pop()
            width = len(cells)
            # R writes the number of a row in a column without a name.
            yield number, [name or f"column {index}" for index, name in enumerate(cells, start=1)]
    if not width:
        raise InputError(f"{path}: expected a table with a header, found an empty sheet.")
