"""Excel files: what is read of them, and that none is unpacked without end."""

import zipfile
from pathlib import Path

import openpyxl
import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io import excel, sheets, text_lines


def write(path: Path, rows: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def replace_sheet(path: Path, old: str, new: str) -> Path:
    """The same file with other XML in its sheet."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    assert old.encode() in content[name]
    content[name] = content[name].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
            archive.writestr(member, data)
    return path


def test_cells_are_text_and_empty_columns_at_the_end_are_none(tmp_path: Path) -> None:
    rows = [[None, None], ["id", None, "n", None], [" p ", 1.5, True], [None, None, None], ["q", None, None]]
    table = sheets.read_sheet(write(tmp_path / "a.xlsx", rows))
    assert table.to_dict("list") == {"id": ["p", "q"], "column 2": ["1.5", ""], "n": ["True", ""]}
    assert list(table.index) == [3, 5]


def test_a_stated_size_of_millions_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [["id", "n"], ["p", 1]])
    replace_sheet(path, '<dimension ref="A1:B2" />', '<dimension ref="A1:XFD1048576" />')
    assert sheets.read_sheet(path).to_dict("list") == {"id": ["p"], "n": ["1"]}


def test_a_row_far_below_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "SHEET", text_lines.Limits(lines=100, characters=1000))
    path = write(tmp_path / "a.xlsx", [["id", "n"], ["p", 1]])
    replace_sheet(path, '<row r="2">', '<row r="999999999">')
    with pytest.raises(InputError, match=r"a\.xlsx: expected at most 100 rows, found more"):
        sheets.read_sheet(path)


def test_a_file_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.xlsx", [["id"], ["p"]])
    monkeypatch.setattr(excel, "MAX_UNPACKED", 1000)
    with pytest.raises(InputError, match=r"a\.xlsx: expected at most 1,000 bytes when unpacked, found \d"):
        sheets.read_sheet(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,n\n", "expected an Excel file, found one that cannot be read"),
        (b"", "expected an Excel file"),
        (None, "expected a file, found nothing"),
    ],
)
def test_files_that_are_none(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.xlsx: {message}"):
        sheets.read_sheet(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("<sheetData>", "<sheetData", "found one that cannot be read"), ("<row r=", "<line r=", "cannot be read|empty")],
)
def test_damaged_sheets(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = replace_sheet(write(tmp_path / "a.xlsx", [["id"], ["p"]]), old, new)
    with pytest.raises(InputError, match=rf"a\.xlsx: expected .*({message})"):
        sheets.read_sheet(path)


def test_sheets_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a table with a header, found an empty sheet"):
        sheets.read_sheet(write(tmp_path / "a.xlsx", []))
    with pytest.raises(InputError, match="expected each column once, found id more than once in line 1"):
        sheets.read_sheet(write(tmp_path / "b.xlsx", [["id", "id"], [1, 2]]))
