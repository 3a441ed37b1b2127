"""Wide tables: rows whose cells wait, and the limits of what is read."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, text_lines
from tta_pipeline.io.wide_tables import MAX_LABEL, read_lazy_rows


def write(folder: Path, text: str) -> Path:
    (folder / "m.csv").write_text(text, encoding="utf-8", newline="")
    return folder / "m.csv"


CELL = st.text("ab1. ,\t'\"", max_size=4)


@given(rows=st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1)))
def test_lazy_rows_are_the_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    """Whatever is quoted, the cells are those that `read_rows` gives."""
    names = [f"n{number}" for number in range(len(rows[0]))]
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path = write(tmp_path_factory.mktemp("wide"), "\n".join([",".join(names), *quoted]) + "\n")
    expected = list(sheets.read_rows(path))[1:]
    found = list(read_lazy_rows(path))
    assert [(row.line, row.cells()) for row in found] == expected
    assert [row.label for row in found] == [cells[0] for _, cells in expected] == [row[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,A\np,1\np,1,2\n", "expected 2 cells in each row, as in the header, found 3 in line 3. .*a decimal point"),
        ('id,A\n"p,1\n', "found 1 in line 2. A quotation mark in that line is not closed"),
        ("id\tA\np,1\n", "found 1 in line 2. There are commas between its cells, but tabs in the header"),
        (f"id,A\n{'p' * (MAX_LABEL + 1)},1\n", "expected a name of at most 1000 characters at the start of line 2"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"m\.csv: .*{message}"):
        list(read_lazy_rows(write(tmp_path, text)))


def test_a_matrix_of_endless_rows_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "MATRIX", text_lines.Limits(lines=1000, characters=10_000))
    (tmp_path / "m.csv").write_bytes(gzip.compress(b"id,A\n" + b"p,1\n" * 5_000_000))
    rows = read_lazy_rows(tmp_path / "m.csv")
    assert [next(rows).line for _ in range(999)] == list(range(2, 1001))
    with pytest.raises(InputError, match="expected at most 1,000 lines, found more"):
        next(rows)
