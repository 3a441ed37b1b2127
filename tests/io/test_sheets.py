"""Tables that a user brings: delimiters, BOM, gzip, and files that are no tables."""

import gzip
from pathlib import Path

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_same_table_in_every_dress(tmp_path: Path, delimiter: str, bom: str, end: str, packed: bool) -> None:
    text = bom + end.join([delimiter.join(row) for row in [("id", "name "), (" 001", "NA"), ("é", "x")]])
    data = text.encode("utf-8")
    (tmp_path / "sheet").write_bytes(gzip.compress(data) if packed else data)
    table = sheets.read_sheet(tmp_path / "sheet")
    assert table.to_dict("list") == {"id": ["001", "é"], "name": ["NA", "x"]}
    assert list(table.index) == [2, 3]


def test_quoted_cells_and_empty_rows(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('id,note\n\na,"b, c"\n,\n d ,\n', encoding="utf-8")
    table = sheets.read_sheet(tmp_path / "s.csv")
    assert table.to_dict("list") == {"id": ["a", "d"], "note": ["b, c", ""]}
    assert list(table.index) == [3, 5]


@pytest.mark.parametrize("cell", ["", " ", "NA", "nan", "#N/A", "[Not Available]", "[Discrepancy]", "'--", "None"])
def test_cells_that_say_not_known(cell: str) -> None:
    assert sheets.is_missing(cell)


@pytest.mark.parametrize("cell", ["0", "-1", "TNF", "x"])
def test_cells_that_say_something(cell: str) -> None:
    assert not sheets.is_missing(cell)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a table with a header, found an empty file"),
        (b"a,b\n1,2,3\n", "expected 2 cells in each row, as in the header, found 3 in line 2"),
        (b"a,b\n1,2\n1\n", "found 1 in line 3"),
        (b"a,b,a\n", "expected each column once, found a more than once"),
        ("a,b\n".encode("utf-16"), "expected UTF-8 text"),
        (b"PK\x03\x04\xff\xfe", "expected UTF-8 text"),
        (gzip.compress(b"a,b\n" * 999)[:-12], "expected a whole gzip file"),
        (b"\x1f\x8bnonsense", "expected a whole gzip file"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "s.csv").write_bytes(data)
    with pytest.raises(InputError, match=rf"s\.csv: .*{message}"):
        list(sheets.read_rows(tmp_path / "s.csv"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: expected a file, found nothing"):
        sheets.read_sheet(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"\$STUDY_DATA/s\.csv: expected a file, .*Set that environment variable"):
        sheets.read_sheet(Path("$STUDY_DATA/s.csv"))


def test_a_missing_column_names_the_similar_ones() -> None:
    with pytest.raises(InputError, match=r"expected column 'DSS.time', found a, dss_time\. Similar: dss_time\. Do so"):
        sheets.require_columns(["a", "dss_time"], ["a", "DSS.time"], path=Path("c.csv"), hint="Do so.")


def test_long_lists_are_cut_with_their_number() -> None:
    assert sheets.listed(range(12), most=3) == "0, 1, 2, and 9 more"
    assert sheets.listed("ab", most=2) == "a, b"
