"""Tables that a user brings: CSV or TSV told apart by their content, gzipped or not, with or without a BOM."""

import csv
import difflib
import gzip
import importlib
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from tta_pipeline.errors import InputError

# cBioPortal describes its columns in lines before the header.
_COMMENT = "#"
_CDR_SHEET = "TCGA-CDR"
_EXCEL = (".xlsx", ".xlsm")
csv.field_size_limit(2**24)  # a cell of our own tables may name all genes
GZIP_MAGIC = b"\x1f\x8b"
# Cells that say "not known", in lower case: spreadsheets, R, pandas, TCGA's bracketed words, the GDC portal's '--.
MISSING = frozenset(
    ["", "na", "n/a", "#n/a", "nan", "none", "null", "--", "'--", "unknown", "not reported", "not available"]
    + [f"[{word}]" for word in ("not available", "not applicable", "not evaluated", "discrepancy", "unknown")]
)


def is_missing(cell: str) -> bool:
    """Whether a cell says that its value is not known."""
    return cell.strip().lower() in MISSING


def number(cell: str) -> float:
    """The number in a cell, NaN where it holds none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def listed(items: Iterable[object], *, most: int = 10) -> str:
    """Items joined for a message; beyond `most` their number is said."""
    names = [str(item) for item in items]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file, gzipped or not; a BOM is skipped.

    Raises
    ------
    InputError
        The file is missing, cut off, or not UTF-8 text; the last two may show while reading.
    """
    if not path.is_file():
        advice = "Set that environment variable" if "$" in str(path) else "Check the path in the config's inputs"
        raise InputError(f"{path}: expected a file, found nothing. {advice}.")
    with path.open("rb") as file:
        gzipped = file.read(2) == GZIP_MAGIC
    try:
        if gzipped:
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
                yield text
        else:
            with path.open(encoding="utf-8-sig", newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found {error}. Save it as CSV or TSV in UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: expected a whole gzip file, found {error}. Fetch the file again.") from error


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, the header first; tab-separated if the first line holds a tab.

    Raises
    ------
    InputError
        No header, two columns of one name, or a row whose number of cells is not the header's.
    """
    with open_text(path) as text:
        first = _first_line(text)
        delimiter = "\t" if "\t" in first else ","
        text.seek(0)
        rows = csv.reader(text, delimiter=delimiter)
        header: list[str] | None = None
        try:
            for cells in rows:
                if not cells or (header is None and cells[0].startswith(_COMMENT)):
                    continue
                if header is None:
                    header = [cell.strip() for cell in cells]
                    _check_header(header, path)
                    yield rows.line_num, header
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}: expected {len(header)} cells in each row, as in the header, "
                        f"found {len(cells)} in line {rows.line_num}. Mend that line, or the header."
                    )
                yield rows.line_num, cells
        except csv.Error as error:
            raise InputError(f"{path}: expected CSV or TSV, found {error} in line {rows.line_num}.") from error
        if header is None:
            raise InputError(f"{path}: expected a table with a header, found an empty file.")


@dataclass(frozen=True)
class LazyRow:
    """A row of a wide table of which only the first cell has been looked at."""

    line: int
    label: str
    _text: str
    _delimiter: str

    def cells(self) -> list[str]:
        """All cells."""
        if '"' in self._text:
            return next(csv.reader([self._text], delimiter=self._delimiter))
        return self._text.split(self._delimiter)


def read_lazy_rows(path: Path) -> Iterator[LazyRow]:
    """Rows below the header of a wide table; a cell may be quoted, but not hold a line break.

    Splitting 20,000 cells costs a hundred times what counting them does, and most rows or cells are not wanted.

    Raises
    ------
    InputError
        As `read_rows`.
    """
    _, header = next(read_rows(path))
    with open_text(path) as text:
        number, seen_header = 0, False
        for number, raw in enumerate(text, start=1):
            line = raw.rstrip("\r\n")
            if not line or (not seen_header and line.startswith(_COMMENT)):
                continue
            if not seen_header:
                seen_header = True
                delimiter = "\t" if "\t" in line else ","
                continue
            row = LazyRow(number, line[: line.find(delimiter)] if delimiter in line else line, line, delimiter)
            count = len(row.cells()) if '"' in line else line.count(delimiter) + 1
            if count != len(header):
                raise InputError(
                    f"{path}: expected {len(header)} cells in each row, as in the header, "
                    f"found {count} in line {number}. Mend that line, or the header."
                )
            yield LazyRow(number, row.cells()[0], line, delimiter) if '"' in line else row


def _first_line(text: TextIO) -> str:
    """The header: the first line that is no comment."""
    for line in text:
        if not line.startswith(_COMMENT):
            return line
    return ""


def read_sheet(path: Path) -> pd.DataFrame:
    """All cells of a table as stripped text, empty rows left out; the index holds the line numbers of the file.

    Raises
    ------
    InputError
        As `read_rows`.
    """
    rows = _excel_rows(path) if path.suffix.lower() in _EXCEL else read_rows(path)
    _, header = next(rows)
    lines, cells = [], []
    for line, row in rows:
        stripped = [cell.strip() for cell in row]
        if any(stripped):
            lines.append(line)
            cells.append(stripped)
    return pd.DataFrame(cells, index=lines, columns=header, dtype="object")


def _excel_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of an Excel file's sheet TCGA-CDR, or of its first, as text; formulas count as their last value."""
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found nothing. Check the path in the config's inputs.")
    openpyxl = importlib.import_module("openpyxl")  # costs every job a part of a second, and few need it
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, openpyxl.utils.exceptions.InvalidFileException, KeyError, OSError) as error:
        raise InputError(
            f"{path}: expected an Excel file, found {error}. Fetch it again, or save it as CSV."
        ) from error
    try:
        sheet = book[_CDR_SHEET] if _CDR_SHEET in book.sheetnames else book.worksheets[0]
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
        header: list[str] | None = None
        for number, row in rows:
            cells = ["" if value is None else str(value).strip() for value in row]
            if header is None:
                while cells and not cells[-1]:
                    cells.pop()
                if not cells:
                    continue
                header = cells
                # R writes the number of a row in a column without a name.
                header = [name or f"column {index}" for index, name in enumerate(header, start=1)]
                _check_header(header, path)
                yield number, header
            else:
                yield number, (cells + [""] * len(header))[: len(header)]
        if header is None:
            raise InputError(f"{path}: expected a table with a header, found an empty sheet.")
    finally:
        book.close()


def require_columns(found: Iterable[str], wanted: Iterable[str], *, path: Path, hint: str) -> None:
    """Check that a table has the columns that are needed.

    Raises
    ------
    InputError
        Names the missing columns, those found, and the ones with a similar name.
    """
    names = list(found)
    missing = [name for name in wanted if name not in names]
    if not missing:
        return
    lower = {name.lower(): name for name in names}
    close = {
        lower[match]: None for name in missing for match in difflib.get_close_matches(name.lower(), lower, cutoff=0.5)
    }
    similar = f" Similar: {', '.join(close)}." if close else ""
    raise InputError(
        f"{path}: expected column {' and '.join(map(repr, missing))}, found {listed(names, most=40)}.{similar} {hint}"
    )


def first_duplicates(values: Iterable[str]) -> dict[str, int]:
    """Values that come more than once, with their number, in order of appearance."""
    counts = pd.Series(list(values), dtype="object").value_counts(sort=False)
    return {str(value): int(count) for value, count in counts[counts > 1].items()}


def _check_header(header: list[str], path: Path) -> None:
    twice = first_duplicates(header)
    if twice:
        raise InputError(
            f"{path}: expected each column once, found {listed(twice)} more than once. Rename or drop one."
        )
