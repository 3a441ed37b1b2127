"""Tables that a user brings: CSV or TSV told apart by their content, gzipped or not, with or without a BOM."""

import csv
import difflib
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.io import excel, file_kinds, text_lines
from tta_pipeline.io.delimiters import Head, explain_row, read_head

csv.field_size_limit(2**24)  # a cell of our own tables may name all genes
# Behind the last line: a cell that holds it was never closed. No line of text holds this character.
_END = "\0"
_BREAK = re.compile("[\r\n]")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
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
        return math.nan if "_" in cell else float(cell)  # Python reads 1_000
    except ValueError:
        return math.nan


def shown(cell: str, *, most: int = 60) -> str:
    """A cell that is no number where one is wanted, as a message shows it."""
    text = cell.strip()
    if not _DECIMAL_COMMA.fullmatch(text):
        return f"{cell[:most]!r}{'...' if len(cell) > most else ''}"
    point = text.replace(",", ".")
    if _THOUSANDS.fullmatch(text):
        return f"{cell!r} (a decimal comma, or one between thousands: write {point} or {text.replace(',', '')})"
    return f"{cell!r} (a decimal comma: write {point})"


def listed(items: Iterable[object], *, most: int = 10) -> str:
    """Items joined for a message; beyond `most` their number is said."""
    names = [str(item) for item in items]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@contextmanager
def open_text(path: Path, *, limits: text_lines.Limits | None = None) -> Iterator[Iterator[str]]:
    """Lines of a UTF-8 text file, gzipped or not; a BOM is skipped. limits: how much is read, by default of a sheet.

    Raises
    ------
    InputError
        The file is missing, no UTF-8 text, cut off or too large; the last two may show while reading.
    """
    _check_file(path)
    try:
        with ExitStack() as stack:
            plain = stack.enter_context(path.open("rb"))
            gzipped = plain.peek(2).startswith(file_kinds.GZIP_MAGIC)
            content = stack.enter_context(gzip.GzipFile(fileobj=plain)) if gzipped else plain
            file_kinds.refuse_other_than_text(content.peek(file_kinds.HEAD_BYTES), path=path, gzipped=gzipped)
            text = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")
            stack.enter_context(text)
            yield text_lines.read_lines(text, path=path, limits=limits or text_lines.SHEET)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: expected a whole gzip file, found damage ({error}). Fetch the file again."
        ) from error
    except PermissionError as error:
        raise InputError(f"{path}: expected a file that may be read, found {error}. Change its permissions.") from error


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    advice = "Set that environment variable" if "$" in str(path) else "Check the path in the config"
    raise InputError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}. {advice}.")


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, the header first; tab-separated if the header holds a tab.

    Raises
    ------
    InputError
        As `open_text`, or: no header, two columns of one name, something else than commas or tabs between the columns,
        a row whose number of cells is not the header's, or a quotation mark that is not closed.
    """
    with open_text(path) as lines:
        head = read_head(lines, path=path)
        rows = _cells(head, path=path)
        line, _, cells = next(rows)
        header = [cell.strip() for cell in cells]
        _check_header(header, path=path, line=line)
        yield line, header
        for number, (line, last, cells) in enumerate(rows):
            if len(cells) != len(header):
                where = f"line {line}" if line == last else f"lines {line} to {last}, one row by quotation marks"
                raise InputError(
                    f"{path}: expected {len(header)} cells in each row, as in the header, found {len(cells)} in "
                    f"{where}. {explain_row(cells, head, expected=len(header), first=number == 0)}"
                )
            yield line, cells


def _cells(head: Head, *, path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and cells of each row that is not empty, the header first."""
    rows = csv.reader(chain([head.text], head.below, [_END]), delimiter=head.delimiter)
    line = head.line
    try:
        for cells in rows:
            if cells == [_END]:
                return
            if cells and cells[-1].endswith(_END):
                raise InputError(
                    f"{path}: expected a quotation mark at the end of each cell that begins with one, found none for a "
                    f"cell of line {line}. Close it, or take it out."
                )
            following = head.line + rows.line_num
            if head.delimiter == "\t" and any("\t" in cell and _BREAK.search(cell) for cell in cells):
                raise InputError(
                    f"{path}: expected one row per line, found lines {line} to {following - 1} in one cell by "
                    "quotation marks, tabs included. Take these marks out of the text."
                )
            if cells:
                yield line, following - 1, cells
            line = following
    except csv.Error as error:
        raise InputError(
            f"{path}: expected CSV or TSV, found {error} in the row that begins in line {line}. Perhaps a quotation "
            "mark there is not closed."
        ) from error


def read_sheet(path: Path) -> pd.DataFrame:
    """All cells of a table as stripped text, empty rows left out; the index holds the line numbers of the file.

    Raises
    ------
    InputError
        As `read_rows` and `excel.read_excel`.
    """
    rows = _excel_rows(path) if path.suffix.lower() in excel.SUFFIXES else read_rows(path)
    _, header = next(rows)
    lines, cells = [], []
    for line, row in rows:
        stripped = [cell.strip() for cell in row]
        if any(stripped):
            lines.append(line)
            cells.append(stripped)
    return pd.DataFrame(cells, index=lines, columns=header, dtype="object")


def _excel_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    _check_file(path)
    rows = excel.read_excel(path)
    line, header = next(rows)
    _check_header(header, path=path, line=line)
    yield line, header
    yield from rows


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
    if not close and not set(names) & set(wanted):
        similar = " None of them is there: perhaps the header is missing, or this is another table."
    raise InputError(
        f"{path}: expected column {' and '.join(map(repr, missing))}, found {listed(names, most=40)}.{similar} {hint}"
    )


def require_filled(cells: pd.Series, *, what: str, path: Path) -> None:
    """Check that a column of a sheet has rows, and something in each.

    Raises
    ------
    InputError
        There are no rows, or cells that say nothing; names their lines.
    """
    if cells.empty:
        raise InputError(f"{path}: expected rows below the header, found none. Fill the table in.")
    empty = [line for line, cell in cells.items() if is_missing(cell)]
    if empty:
        raise InputError(
            f"{path}: column {cells.name}: expected {what} in each row, found none in line {listed(empty)}. Fill the "
            "cell in (of merged cells the first alone holds the value), or drop the row."
        )


def first_duplicates(values: Iterable[str]) -> dict[str, int]:
    """Values that come more than once, with their number, in order of appearance."""
    counts = pd.Series(list(values), dtype="object").value_counts(sort=False)
    return {str(value): int(count) for value, count in counts[counts > 1].items()}


def _check_header(header: list[str], *, path: Path, line: int) -> None:
    unnamed = [number for number, name in enumerate(header, start=1) if not name]
    if len(unnamed) > 1:
        raise InputError(
            f"{path}: expected a name over each column, found none over columns {listed(unnamed)} in line {line}. Take "
            "empty columns out, and lines above the header."
        )
    twice = first_duplicates(header)
    if twice:
        numbers = all(not math.isnan(number(name)) for name in twice)
        raise InputError(
            f"{path}: expected each column once, found {listed(twice)} more than once in line {line}. "
            f"{'Put the header into the first line; it seems to be missing.' if numbers else 'Rename or drop one.'}"
        )
