"""The expression matrix: values as they stand, and every cell that cannot be one."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io.expression import read_expression, read_expression_index, read_genes

TEXT = "id,TP53,EGFR,MYC\np2,1.5,-9.9651,3\np1,2,0,1e-3\np3,7,8,9\n"


def write(folder: Path, text: str, name: str = "rna.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_stand_as_in_the_file(tmp_path: Path) -> None:
    table = read_expression(write(tmp_path, TEXT))
    expected = pd.DataFrame(
        np.array([[1.5, -9.9651, 3], [2, 0, 1e-3], [7, 8, 9]], np.float32), ["p2", "p1", "p3"], ["TP53", "EGFR", "MYC"]
    )
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_equal_to_pandas_on_drawn_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drawn = pd.DataFrame(rng.normal(size=(7, 30)) * 10.0 ** rng.integers(-30, 30, size=(7, 30))).add_prefix("g")
    drawn.index = pd.Index([f"p{number}" for number in range(7)])
    drawn.to_csv(tmp_path / "rna.csv")
    pd.testing.assert_frame_equal(read_expression(tmp_path / "rna.csv"), drawn.astype(np.float32), check_exact=True)


def test_index_and_genes_come_without_the_values(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT.replace("8", "eight"))
    assert read_expression_index(path) == ["p2", "p1", "p3"]
    assert read_genes(path) == ["TP53", "EGFR", "MYC"]


def test_only_what_is_asked_for_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "rna.tsv.gz"
    path.write_bytes(gzip.compress(TEXT.replace("8", "eight").replace(",", "\t").encode()))
    table = read_expression(path, patients={"p1", "p3"}, genes={"MYC", "TP53"})
    assert table.to_dict("index") == {"p1": {"TP53": 2, "MYC": np.float32(1e-3)}, "p3": {"TP53": 7, "MYC": 9}}


@pytest.mark.parametrize("cell", ["eight", "", "NA", "nan", "inf", "1e39", "-1e39", "1;5"])
def test_a_value_that_is_no_finite_number_names_patient_and_gene(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, TEXT.replace("8", cell))
    with pytest.raises(InputError, match=rf"patient p3, gene EGFR: expected a finite number, found '{cell}'"):
        read_expression(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + "p1,1,2,3\n", "expected one row per patient, found more for 1: p1"),
        (TEXT + ",1,2,3\n", "expected a patient in the first column, found '' in line 5"),
        (TEXT + "p4,1,2\n", "expected 4 cells in each row, as in the header, found 3 in line 5"),
        (TEXT.replace("MYC", "TP53"), "expected each column once, found TP53"),
        (TEXT.replace("id,", "", 1), "expected 3 cells in each row"),
    ],
)
def test_a_matrix_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message):
        read_expression_index(path)
    with pytest.raises(InputError, match=message):
        read_expression(path)


def test_a_gene_without_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a gene name over each column, found none over column 3"):
        read_genes(write(tmp_path, TEXT.replace("EGFR", "")))


def test_patients_and_genes_that_are_absent_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(InputError, match="expected patients p9, found 3 patients without them"):
        read_expression(path, patients={"p1", "p9"})
    with pytest.raises(InputError, match="expected genes KRAS, found 3 genes"):
        read_expression(path, genes={"KRAS"})


@pytest.mark.real
def test_the_colorectal_matrix_repeats_three_cases(real_data: Path) -> None:
    with pytest.raises(InputError, match="found more for 3: TCGA-G4-6317, TCGA-NH-A8F7, TCGA-G5-6572"):
        read_expression_index(real_data / "expression" / "xena_coadread.csv")


@pytest.mark.real
def test_the_stomach_matrix_equals_what_pandas_reads(real_data: Path) -> None:
    path = real_data / "expression" / "xena_stad.csv"
    expected = pd.read_csv(path, index_col=0).astype(np.float32)
    pd.testing.assert_frame_equal(read_expression(path), expected, check_names=False)
