"""Which character stands between the columns of a table: commas and tabs are read, others are named."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tta_pipeline.errors import InputError

# cBioPortal describes its columns in lines before the header.
_COMMENT = "#"
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars (|)", " ": "spaces"}
_QUOTED = re.compile(r'"[^"]*"')
_SHOWN = 60
_EXCEL_HINT = re.compile(r"sep=.")  # a first line by which a spreadsheet tells itself the delimiter


@dataclass(frozen=True)
class Head:
    """The header of a table, and the lines below it. line: its number in the file."""

    line: int
    text: str
    delimiter: str
    below: Iterator[str]


def read_head(lines: Iterator[str], *, path: Path) -> Head:
    """Find the header, the first line that is neither empty nor a comment, and what stands between its columns.

    Raises
    ------
    InputError
        There is none, or something else than commas or tabs stands between its columns.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip('"').startswith(_COMMENT) or _EXCEL_HINT.fullmatch(line.strip()):
            continue
        passed = []
        for row in lines:
            passed.append(row)
            if row.strip():
                break
        delimiter = _delimiter(line, passed[-1] if passed else "", path=path, number=number)
        return Head(number, line, delimiter, chain(passed, lines))
    raise InputError(f"{path}: expected a table with a header, found an empty file.")


def _delimiter(header: str, row: str, *, path: Path, number: int) -> str:
    if "\t" in header:
        return "\t"
    columns = _count(header, ",")
    if 1 < columns == _count(row, ","):
        return ","
    other = next(
        (each for each in ";|" if _count(header, each) > columns and (each in row or not row.strip())),
        " " if columns == 1 and _separates_by_spaces(header, row) else None,
    )
    if other is None:
        return ","
    shown = header.strip()[:_SHOWN]
    raise InputError(
        f"{path}: expected commas or tabs between the columns, found {_NAMES[other]} in line {number}: {shown!r}. Save "
        "it as CSV with commas or as text with tabs, and numbers with decimal points."
    )


def _separates_by_spaces(header: str, row: str) -> bool:
    """Whether spaces stand between columns; a name of two words, above others of two words, is none."""
    names, cells = _count(header, " "), _count(row, " ")
    return 2 < names == cells or 1 < names == cells - 1  # R's write.table has no name above those of the rows


def explain_row(cells: list[str], head: Head, *, expected: int, first: bool) -> str:
    """Why a row may have another number of cells than the header, and what to do.

    first: it is the row below the header.
    """
    row = head.delimiter.join(cells)
    for other, name in _NAMES.items():
        if other == head.delimiter or other not in row:
            continue
        if len(cells) == 1 and _count(row, other) == expected:
            return f"There are {name} between its cells, but {_NAMES[head.delimiter]} in the header: use one of them."
        if head.delimiter == "\t" and expected < _count(head.text, other) == _count(row, other):
            return f"There is a tab in line {head.line}, but {name} between the cells: take the tab out."
    if first and len(cells) == expected + 1 and head.delimiter == "\t":
        return "If R's write.table has left out the name of the first column, write the table with col.names = NA."
    if head.delimiter == "," and len(cells) > expected:
        return "Mend that line, or the header: a comma within a cell needs quotation marks, a number a decimal point."
    return "Mend that line, or the header."


def _count(line: str, delimiter: str) -> int:
    """Cells of a line, if this stood between them; what is quoted holds none."""
    plain = _QUOTED.sub("x", line) if '"' in line else line
    return len(plain.split()) if delimiter == " " else plain.count(delimiter) + 1
