"""What stands between columns: commas and tabs are taken, all else is named, and names may hold other signs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.errors import InputError
from tta_pipeline.io.delimiters import explain_row, read_head

PATH = Path("t.csv")
CELL = st.text("abcXYZ_.", min_size=1, max_size=5)


def head_of(text: str):
    return read_head(iter(text.splitlines(keepends=True)), path=PATH)


@given(st.integers(2, 5).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=4)))
def test_a_table_is_read_or_named_by_what_stands_between_its_columns(rows: list[list[str]]) -> None:
    for delimiter, name in {",": "", "\t": "", ";": "semicolons", "|": r"vertical bars \(\|\)", " ": "spaces"}.items():
        text = "".join(delimiter.join(row) + "\n" for row in rows)
        if not name:
            head = head_of(text)
            assert (head.line, head.delimiter) == (1, delimiter)
            assert head.text + "".join(head.below) == text
        elif delimiter != " " or (len(rows) > 1 and len(rows[0]) > 2):
            with pytest.raises(InputError, match=rf"expected commas or tabs .* found {name} in line 1"):
                head_of(text)


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("age, years\tstage, as said\n1\t2\n", "\t"),
        ("a;b\tc;d\n1\t2\n", "\t"),
        ("id,A1BG|1,A2M|2\np,1,2\n", ","),
        ("id,A|1|x,B|2|y\np,1,2\n", ","),
        ('"a;b;c;d",e\n1,2\n', ","),
        ("CELL CYCLE\nTP53\n", ","),
        ("case_id\nTCGA-AA-0001\n", ","),
        ("a;b\n1\n", ","),
        ("Sample ID,Case ID\nTCGA 1,x y\n", ","),
    ],
)
def test_other_signs_may_stand_in_names(text: str, delimiter: str) -> None:
    assert head_of(text).delimiter == delimiter


@pytest.mark.parametrize(
    "text",
    [
        "id;A;B\np1;0,5;0,7\n",
        "id;A, in cm;B\np1;1;2\n",
        "id;A;B\n",
        '"A" "B"\n"1" 0.5 0.7\n',  # R's write.table as it comes
        "#about\n\nid   A    B\np1   1    2\n",
    ],
)
def test_signs_that_are_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"expected commas or tabs .* found (semicolons|spaces) in line [13]: .*Save it"
    ):
        head_of(text)


def test_comments_and_empty_lines_come_before_the_header() -> None:
    head = head_of("#a\tb\n\n  \nx\ty\n\n1\t2\n")
    assert (head.line, head.text, head.delimiter, list(head.below)) == (4, "x\ty\n", "\t", ["\n", "1\t2\n"])
    for text in ("", "\n \n", "#a\n"):
        with pytest.raises(InputError, match="expected a table with a header, found an empty file"):
            head_of(text)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("a,b,c", "1\t2\t3", "There are tabs between its cells, but commas in the header"),
        ("a\tb", "1,2", "There are commas between its cells, but tabs in the header"),
        ("a\tb", "1;2", "There are semicolons between its cells"),
        ("a,b\t,c", "1,2,3", "There is a tab in line 1, but commas between the cells: take the tab out"),
        ("A\tB", "p\t1\t2", "col.names = NA"),
        ("a,b", "p,0,5", "a comma within a cell needs quotation marks, a number a decimal point"),
        ("a,b,c", "1,2", "^Mend that line, or the header.$"),
    ],
)
def test_why_a_row_has_another_number_of_cells(header: str, row: str, message: str) -> None:
    head = head_of(header + "\n")
    cells = row.split(head.delimiter)
    expected = len(header.split(head.delimiter))
    with pytest.raises(InputError, match=message):
        raise InputError(explain_row(cells, head, expected=expected, first=True))
