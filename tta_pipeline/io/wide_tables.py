"""Rows of a wide table, of which only the labels and some cells are wanted."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, text_lines
from tta_pipeline.io.delimiters import explain_row, read_head

MAX_LABEL = 1000


@dataclass(frozen=True)
class LazyRow:
    """A row of which only the first cell has been looked at. line: its number in the file."""

    line: int
    label: str
    _text: str
    _delimiter: str

    def cells(self) -> list[str]:
        """All cells."""
        return _split(self._text, self._delimiter)


def read_lazy_rows(path: Path) -> Iterator[LazyRow]:
    """Rows below the header of a wide table; a cell may be quoted, but not hold a line break.

    Splitting 20,000 cells costs a hundred times what counting them does, and most rows or cells are not wanted.

    Raises
    ------
    InputError
        As `sheets.read_rows`, or a label is longer than `MAX_LABEL`.
    """
    _, header = next(sheets.read_rows(path))
    with sheets.open_text(path, limits=text_lines.MATRIX) as lines:
        head = read_head(lines, path=path)
        delimiter, first = head.delimiter, True
        for number, raw in enumerate(head.below, start=head.line + 1):
            line = raw.rstrip("\r\n")
            if not line:
                continue
            quoted = '"' in line
            cells = _split(line, delimiter) if quoted else line.split(delimiter, maxsplit=1)
            count = len(cells) if quoted else line.count(delimiter) + 1
            if count != len(header):
                advice = (
                    "A quotation mark in that line is not closed."
                    if line.count('"') % 2
                    else explain_row(line.split(delimiter), head, expected=len(header), first=first)
                )
                raise InputError(
                    f"{path}: expected {len(header)} cells in each row, as in the header, found {count} in line "
                    f"{number}. {advice}"
                )
            label = cells[0]
            if len(label) > MAX_LABEL:
                raise InputError(
                    f"{path}: expected a name of at most {MAX_LABEL} characters at the start of line {number}, found "
                    f"{len(label)}: {label[:40]!r}. Check that this is the file that you mean."
                )
            first = False
            yield LazyRow(number, label, line, delimiter)


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)
