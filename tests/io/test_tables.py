"""The pipeline's own tables: what is written is what is read, and nothing else passes."""

import csv
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.errors import ArtifactError
from tta_pipeline.io import report_tables, tables

PACKAGE = Path(tables.__file__).parents[1]
HEADER = "\t".join(tables.PATIENTS) + "\n"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["Cc"]) | st.just("\t"))


@given(
    rows=st.lists(
        st.tuples(
            TEXT,
            st.sampled_from(["", "NA", "nan", "001", "1e3", "TRUE"]),
            st.floats(allow_infinity=False),
            st.booleans(),
            st.integers(-(2**62), 2**62),
        )
    )
)
def test_round_trip_keeps_every_cell(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]) -> None:
    path = tmp_path_factory.mktemp("tables") / "deep" / "patients.tsv"
    table = pd.DataFrame(rows, columns=list(tables.PATIENTS)).astype(tables.PATIENTS)
    tables.write_table(path, table, columns=tables.PATIENTS)
    found = tables.read_table(path, columns=tables.PATIENTS)
    pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_other_columns_are_dropped_and_missing_text_is_empty(tmp_path: Path) -> None:
    table = pd.DataFrame({"batch": [pd.NA], "extra": [1], "slide_id": ["s"]})
    tables.write_table(tmp_path / "b.tsv", table, columns=tables.BATCHES)
    assert (tmp_path / "b.tsv").read_text(encoding="utf-8") == "slide_id\tbatch\ns\t\n"
    assert tables.read_table(tmp_path / "b.tsv", columns=tables.BATCHES)["batch"].tolist() == [""]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "b.tsv"
    tables.write_table(path, pd.DataFrame({"slide_id": ["s"], "batch": ["b0001"]}), columns=tables.BATCHES)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        tables.write_table(path, pd.DataFrame({"slide_id": ["\ud800"], "batch": ["b"]}), columns=tables.BATCHES)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_event_is_never_written_as_an_event(tmp_path: Path) -> None:
    row = {"patient_id": ["p"], "site": [""], "time_days": [1.0], "event": [math.nan], "n_slides": [1]}
    with pytest.raises(AssertionError, match="missing values in \\['event'\\]"):
        tables.write_table(tmp_path / "p.tsv", pd.DataFrame(row), columns=tables.PATIENTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("patient_id\tsite\n", r"expected columns \['patient_id', .*found \['patient_id', 'site'\]"),
        (HEADER + "p\ta\t1\t2\t1\n", "column event: expected bool in every row"),
        (HEADER + "p\ta\t1\t\t1\n", "column event: expected bool in every row"),
        (HEADER + "p\ta\tlong\t1\t1\n", "column time_days: expected float64 in every row, .*'long'"),
        (HEADER + "p\ta\t1\t1\t1.5\n", "column n_slides: expected int64 in every row, .*'1.5'"),
        (HEADER + "p\ta\t1\t1\t\n", "column n_slides: expected int64"),
        (HEADER + "p\ta\t1\t1\t1\t9\n", "expected 5 cells in each row, as in the header, found 6 in line 2"),
        (HEADER + "p\ta\t1\t1\n", "found 4 in line 2"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=rf"p\.tsv: .*{message}"):
        tables.read_table(tmp_path / "p.tsv", columns=tables.PATIENTS)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"p\.tsv: expected a table, found nothing"):
        tables.read_table(tmp_path / "p.tsv", columns=tables.PATIENTS)


def test_what_a_spreadsheet_would_take_for_a_formula_is_escaped_and_read_back(tmp_path):
    columns = {"name": "string", "value": "float64"}
    table = pd.DataFrame(
        {"name": ["=cmd|'/c calc'!A1", "+1", "-x", "@y", "plain", "'=quoted", ""], "value": [-1.5] * 7}
    )
    tables.write_table(tmp_path / "t.tsv", table, columns=columns)
    lines = (tmp_path / "t.tsv").read_text().splitlines()[1:]
    assert not any(line.startswith(("=", "+", "-", "@")) for line in lines)
    found = tables.read_table(tmp_path / "t.tsv", columns=columns)
    assert found["name"].tolist() == table["name"].tolist()
    assert found["value"].tolist() == [-1.5] * 7


def test_a_cell_may_name_every_gene(tmp_path: Path) -> None:
    names = ";".join(f"GENE{number}" for number in range(60_000))
    row = dict.fromkeys(tables.COVERAGE, 0) | {"name": "all", "kept": True, "missing_genes": names, "renamed_genes": ""}
    tables.write_table(tmp_path / "x.tsv", pd.DataFrame([row]), columns=tables.COVERAGE)
    assert tables.read_table(tmp_path / "x.tsv", columns=tables.COVERAGE)["missing_genes"].tolist() == [names]


HOSTILE = ["=cmd|'/c calc'!A1", "+1", "-x", "@y", "\t=1", "\r\n=1", "\r=1", "\uff1d1", "'=quoted"]
OURS = ("PATIENTS", "SLIDES", "COVARIATES", "SHEET", "BATCHES", "ATTRITION", "MANIFEST", "QUALITY", "COVERAGE", "PARTS")
WRITTEN = {name: getattr(tables, name) for name in (*OURS, "SPLITS")} | dict(report_tables.TABLES)


@pytest.mark.parametrize("columns", WRITTEN.values(), ids=WRITTEN)
def test_no_table_that_is_written_holds_a_formula_and_numbers_stay_numbers(
    tmp_path: Path, columns: dict[str, str]
) -> None:
    values = {"string": HOSTILE, "float64": [-1.5] * len(HOSTILE), "int64": [-2] * len(HOSTILE)}
    table = pd.DataFrame({name: values.get(dtype, [True] * len(HOSTILE)) for name, dtype in columns.items()})
    tables.write_table(tmp_path / "t.tsv", table, columns=columns)
    with (tmp_path / "t.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for name, dtype in columns.items():
        for row in rows:
            expected = {"float64": "-1.5", "int64": "-2", "bool": "1"}.get(dtype)
            assert row[name] == expected if expected else row[name].startswith("'")
    found = tables.read_table(tmp_path / "t.tsv", columns=columns)
    expected = table.replace({"\r\n=1": "\n=1", "\r=1": "\n=1"})
    pd.testing.assert_frame_equal(found, expected.astype(columns))


def test_every_table_is_written_by_one_function() -> None:
    writers = [
        path.name for path in PACKAGE.rglob("*.py") if re.search(r"to_csv\(|csv\.(Dict)?[wW]riter", path.read_text())
    ]
    assert writers == ["tables.py"]
    named = {name for name, columns in vars(tables).items() if name.isupper() and isinstance(columns, dict)}
    assert {name for name in named if not name.startswith("_")} <= set(WRITTEN)
