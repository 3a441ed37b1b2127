"""Tables that a user brings: delimiters, BOM, gzip, and files that are no tables."""

import gzip
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
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
        (b"a,b,a\n", "expected each column once, found a more than once in line 1. Rename or drop one"),
        (b"s1,0,0\ns2,0,1\n", "found 0 more than once in line 1. Put the header into the first line"),
        (b"Our study,,,\na,b,c,d\n", "expected a name over each column, found none over columns 2, 3, 4 in line 1"),
        (b'a,b\n1,"2\n3,4\n', "a quotation mark at the end of each cell .* found none for a cell of line 2"),
        (b'a,b\n"1\n2",3,4\n', "found 3 in lines 2 to 3, one row by quotation marks"),
        (
            b'a,b\n1,"' + (b"x" * 999 + b"\n") * 17_000,
            r"found field larger than field limit .* in the row that begins in line 2",
        ),
        ("a,b\n".encode("utf-16"), "expected UTF-8 text .* found text in UTF-16. Save it as UTF-8"),
        (b"PK\x03\x04\xff\xfe", "expected UTF-8 text .* found a ZIP archive. Unpack it"),
        (gzip.compress(gzip.compress(b"a,b\n")), "found a gzip file, gzipped. Unpack it"),
        (gzip.compress(bytes(257) + b"ustar"), "found a tar archive, gzipped"),
        (gzip.compress(b"a,b\n" * 999)[:-12], "expected a whole gzip file"),
        (b"\x1f\x8bnonsense", "expected a whole gzip file"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "s.csv").write_bytes(data)
    with pytest.raises(InputError, match=rf"s\.csv: .*{message}"):
        list(sheets.read_rows(tmp_path / "s.csv"))


def test_a_name_says_nothing_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "plain.csv.gz").write_text("a\tb\n1\t2\n")
    assert sheets.read_sheet(tmp_path / "plain.csv.gz").to_dict("list") == {"a": ["1"], "b": ["2"]}
    (tmp_path / "other.csv.gz").write_bytes(b"\x8f\x0b" * 99)
    with pytest.raises(InputError, match=r"other\.csv\.gz: expected UTF-8 text, found byte 0x8F in line 1"):
        sheets.read_sheet(tmp_path / "other.csv.gz")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.csv").write_text("a,b\n")

    def refused(*arguments: object) -> None:
        raise PermissionError("permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"s\.csv: expected a file that may be read, found permission denied"):
        sheets.read_sheet(tmp_path / "s.csv")


BOMB = """
import resource, sys
from pathlib import Path
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    sheets.read_sheet(Path(sys.argv[1]))
except InputError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""


@pytest.mark.parametrize(
    ("member", "limit"),
    [
        (b"x" * 1_000_000, "lines of at most 16,777,216 characters"),
        (b"p,1" + b"x" * 99_996 + b"\n", "characters, found"),
    ],
)
def test_a_small_file_that_unpacks_without_end_fills_no_memory(tmp_path: Path, member: bytes, limit: str) -> None:
    with (tmp_path / "bomb.csv").open("wb") as file:
        packed = gzip.compress(member * 10)
        file.writelines([gzip.compress(b"a,b\n"), *([packed] * 400)])
    assert (tmp_path / "bomb.csv").stat().st_size < 8e6
    command = [sys.executable, "-c", BOMB, str(tmp_path / "bomb.csv")]
    said, gigabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert limit in said
    assert "reading stopped there" in said
    assert float(gigabytes) < 0.7


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: expected a file, found nothing"):
        sheets.read_sheet(tmp_path / "none.csv")
    with pytest.raises(InputError, match="expected a file, found a folder"):
        sheets.read_sheet(tmp_path)
    with pytest.raises(InputError, match=r"\$STUDY_DATA/s\.csv: expected a file, .*Set that environment variable"):
        sheets.read_sheet(Path("$STUDY_DATA/s.csv"))


def test_a_missing_column_names_the_similar_ones() -> None:
    with pytest.raises(InputError, match=r"expected column 'DSS.time', found a, dss_time\. Similar: dss_time\. Do so"):
        sheets.require_columns(["a", "dss_time"], ["a", "DSS.time"], path=Path("c.csv"), hint="Do so.")


def test_a_header_that_is_missing_is_suspected() -> None:
    with pytest.raises(InputError, match="None of them is there: perhaps the header is missing"):
        sheets.require_columns(["p1", "100", "0"], ["patient_id", "event"], path=Path("c.csv"), hint="")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0,5", "'0,5' (a decimal comma: write 0.5)"),
        ("-1,25e3", "'-1,25e3' (a decimal comma: write -1.25e3)"),
        ("1,160", "'1,160' (a decimal comma, or one between thousands: write 1.160 or 1160)"),
        ("0,500", "'0,500' (a decimal comma: write 0.500)"),
        ("ten", "'ten'"),
        ("1;5", "'1;5'"),
        ("x" * 99, f"'{'x' * 60}'..."),
    ],
)
def test_cells_that_are_no_numbers(cell: str, said: str) -> None:
    assert sheets.shown(cell) == said


@pytest.mark.parametrize("cell", ["1_000", "0,5", "", "1 2"])
def test_what_is_no_number(cell: str) -> None:
    assert math.isnan(sheets.number(cell))


def test_columns_without_rows_or_with_empty_cells() -> None:
    with pytest.raises(InputError, match=r"c\.csv: expected rows below the header, found none"):
        sheets.require_filled(pd.Series([], name="case", dtype="object"), what="a case", path=Path("c.csv"))
    cells = pd.Series(["a", "", "b", "NA"], index=[2, 3, 4, 5], name="case")
    with pytest.raises(InputError, match=r"column case: expected a case in each row, found none in line 3, 5\. Fill"):
        sheets.require_filled(cells, what="a case", path=Path("c.csv"))


def test_long_lists_are_cut_with_their_number() -> None:
    assert sheets.listed(range(12), most=3) == "0, 1, 2, and 9 more"
    assert sheets.listed("ab", most=2) == "a, b"


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("id,diagnoses;codes;x\nA,1;2;3\n", ["id", "diagnoses;codes;x"]),
        ("Immune genes\nHLA A\n", ["Immune genes"]),
        ("id,A|B|C\nTCGA|x|y,3\n", ["id", "A|B|C"]),
        ('"#Patient, of the portal",b,c\nid,b,c\n1,2,3\n', ["id", "b", "c"]),
        ("sep=,\nid,b\n1,2\n", ["id", "b"]),
        ("PAR1-mediated_signaling,RDX_TARGETS\nA,B\n", ["PAR1-mediated_signaling", "RDX_TARGETS"]),
        ("BZhang,RDX\nA,B\n", ["BZhang", "RDX"]),
        ("<html_id,b\nA,B\n", ["<html_id", "b"]),
    ],
)
def test_tables_that_only_look_like_something_else_are_read(tmp_path: Path, text: str, header: list[str]) -> None:
    (tmp_path / "s.csv").write_text(text)
    assert list(sheets.read_sheet(tmp_path / "s.csv")) == header


def test_rows_that_quotation_marks_swallow_are_refused(tmp_path: Path) -> None:
    """Both marks stand in one column, so that the number of cells is right and three patients would be gone."""
    rows = ["id\tnote\tx", "P1\tfine\t1", 'P2\t"see chart\t1', "P3\tfine\t1", 'P4\tsaid "ok\t1', "P5\tfine\t1"]
    (tmp_path / "s.tsv").write_text("\n".join(rows) + "\n")
    with pytest.raises(
        InputError, match=r"found lines 3 to \d in one cell by quotation marks|not closed|quotation mark"
    ):
        sheets.read_sheet(tmp_path / "s.tsv")
