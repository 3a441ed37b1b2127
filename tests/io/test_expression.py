"""The expression matrix: values as they stand, and every cell that cannot be one."""

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io import expression
from tta_pipeline.io.samples import choose

TEXT = "id,TP53,EGFR,MYC\np2,1.5,-9.9651,3\np1,2,0,1e-3\np3,7,8,9\n"


def given(path: Path, **options: Any) -> Inputs:
    """Inputs with this expression; genes keep their names, and z-scores are not checked against a scale."""
    nowhere = dict.fromkeys(("slides", "clinical", "gene_sets"), path)
    return Inputs(expression=path, **nowhere, **({"expression_unit": "z-scores", "gene_names": None} | options))


def read_expression(path: Path, *, patients=None, genes=None, **options: Any) -> pd.DataFrame:
    return expression.read_expression(given(path, **options), patients=patients, genes=genes)


def read_expression_index(path: Path, **options: Any) -> list[str]:
    return expression.read_expression_index(given(path, **options))[0]


def read_genes(path: Path, **options: Any) -> list[str]:
    return expression.read_genes(given(path, **options))


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


@pytest.mark.parametrize("cell", ["eight", "", "NA", "nan", "inf", "1e39", "-1e39", "1;5", "1_0"])
def test_a_value_that_is_no_finite_number_names_patient_and_gene(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, TEXT.replace("8", cell))
    with pytest.raises(InputError, match=rf"line 4: patient p3, gene EGFR: expected a finite number, found '{cell}'\."):
        read_expression(path)


def test_a_decimal_comma_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT.replace(",", "\t").replace("8", "8,25"))
    message = r"line 4: patient p3, gene EGFR: .*found '8,25' \(a decimal comma: write 8\.25\)\. Such values .*: 1\."
    with pytest.raises(InputError, match=message):
        read_expression(path)
    genes = "sample\tTCGA-3M-AB46-01\tTCGA-BR-8077-01\nTP53\t1\t2\nMYC\t1,5\t2,5\n"
    with pytest.raises(InputError, match=r"line 3: gene MYC, sample TCGA-3M-AB46-01: .*'1,5' \(a decimal .*: 2\."):
        read_expression(write(tmp_path, genes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "p2,1.5,-9.9651,3\np1,2,0,1e-3\n",
            "expected names over the columns, found numbers: 1.5, -9.9651. Put the header",
        ),
        ("id,A,B\n", "expected a matrix of samples and genes, found 0 rows of 2 values"),
        ("id\np1\n", "found 1 rows of 0 values"),
        (TEXT.replace(",", ";"), "found semicolons in line 1: 'id;TP53;EGFR;MYC'"),
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
def test_the_three_repeated_cases_of_the_colorectal_matrix(real_data: Path) -> None:
    """The first row of each counts, and the others are named."""
    path = real_data / "expression" / "xena_coadread.csv"
    patients, unused = expression.read_expression_index(given(path))
    assert sorted(sample.label for sample in unused) == ["TCGA-G4-6317", "TCGA-G5-6572", "TCGA-NH-A8F7"]
    assert {sample.reason for sample in unused} == {"the first sample of that label is used"}
    first = pd.read_csv(path, index_col=0).astype(np.float32)
    first = first[~first.index.duplicated()]
    assert patients == list(first.index)
    pd.testing.assert_frame_equal(read_expression(path, expression_unit="log2"), first, check_names=False)


@pytest.mark.real
@pytest.mark.parametrize("cohort", ["stad", "blca"])
def test_real_matrices_equal_what_pandas_reads(real_data: Path, cohort: str) -> None:
    path = real_data / "expression" / f"xena_{cohort}.csv"
    expected = pd.read_csv(path, index_col=0).astype(np.float32)
    pd.testing.assert_frame_equal(read_expression(path, expression_unit="log2"), expected, check_names=False)
    with pytest.raises(InputError, match=r"expected linear .*found -9.9658 to [12]\d.* Declare expression_unit: log2"):
        read_expression(path, expression_unit="linear")


BARCODES = ["TCGA-3M-AB46-01", "TCGA-BR-8077-01", "TCGA-BR-8077-11", "TCGA-BR-4370-06"]
XENA = "sample\t" + "\t".join(BARCODES) + "\nTP53\t1\t2\t3\t4\nEGFR\t5\t6\t7\t8\n"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_matrix_of_xena(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "HiSeqV2"
    path.write_bytes(gzip.compress(XENA.encode()) if zipped else XENA.encode())
    assert read_genes(path) == ["TP53", "EGFR"]
    patients, unused = expression.read_expression_index(given(path))
    assert patients == ["TCGA-3M-AB46", "TCGA-BR-8077"]
    assert [(sample.label, sample.reason) for sample in unused] == [
        ("TCGA-BR-8077-11", "sample type 11 (solid tissue normal)"),
        ("TCGA-BR-4370-06", "sample type 06 (metastatic)"),
    ]
    table = read_expression(path, genes={"EGFR"}, expression_unit="log2")
    assert table.to_dict("index") == {"TCGA-3M-AB46": {"EGFR": 5}, "TCGA-BR-8077": {"EGFR": 6}}
    assert read_expression_index(path, sample_types=["06"]) == ["TCGA-BR-4370"]


def test_genes_in_rows_of_other_cohorts_are_declared(tmp_path: Path) -> None:
    path = write(tmp_path, "gene,C3N-1,C3N-2\nTP53,1,2\nEGFR,3,4\n")
    assert read_expression_index(path) == ["TP53", "EGFR"]
    assert read_expression_index(path, expression_layout="genes-in-rows") == ["C3N-1", "C3N-2"]
    table = read_expression(path, expression_layout="genes-in-rows")
    assert table.to_dict("index") == {"C3N-1": {"TP53": 1, "EGFR": 3}, "C3N-2": {"TP53": 2, "EGFR": 4}}


def test_a_file_of_cbioportal(tmp_path: Path) -> None:
    """Symbols and Entrez identifiers come first; no symbol, no gene; two rows of a gene count by their mean."""
    text = "Hugo_Symbol\tEntrez_Gene_Id\tTCGA-3M-AB46-01\tTCGA-BR-8077-01\n"
    text += "\t100130426\t9\t9\nPALM2\t1\t10\t1\nPALM2\t2\t300\t100\nTP53\t7157\t1023\t7\n"
    path = write(tmp_path, text, name="data_mrna_seq_v2_rsem.txt")
    assert read_genes(path) == ["PALM2", "PALM2", "TP53"]
    table = read_expression(path, expression_unit="linear")
    one, other, tp53 = np.log2(np.array([[10, 1], [300, 100], [1023, 7]]) + 1)
    expected = np.stack([(one + other) / 2, tp53], axis=1)
    np.testing.assert_allclose(table[["PALM2", "TP53"]].to_numpy(), expected, rtol=1e-6)


STAR = "# gene-model: GENCODE v36\ngene_id\tgene_name\tgene_type\tunstranded\ttpm_unstranded\n"
STAR += "N_unmapped\t\t\t5000\t\nN_multimapping\t\t\t300\t\n"


def write_gdc(folder: Path) -> tuple[Path, Path]:
    """A GDC download of three aliquots of two patients and one normal, with its sample sheet."""
    rows = ["File ID\tFile Name\tProject ID\tCase ID\tSample ID\tSample Type"]
    for number, (sample, kind) in enumerate(
        [("TCGA-3M-AB46-01A", "T"), ("TCGA-BR-8077-01A", "T"), ("TCGA-BR-8077-01B", "T"), ("TCGA-BR-8077-11A", "N")]
    ):
        name = f"u{number}.rna_seq.augmented_star_gene_counts.tsv"
        (folder / f"id{number}").mkdir(parents=True)
        genes = f"ENSG01.1\tTP53\tprotein_coding\t{100 * number + 100}\t{10.0 * number + 1}\n"
        genes += f"ENSG02.2\tEGFR\tprotein_coding\t{300 - number}\t{900.5}\nENSG02.2_PAR_Y\tEGFR\tx\t0\t0\n"
        (folder / f"id{number}" / name).write_text(STAR + genes)
        rows.append(f"id{number}\t{name}\tTCGA-X\t{sample[:12]}\t{sample}\t{kind}")
    (folder / "sheet.tsv").write_text("\n".join(rows) + "\n")
    return folder, folder / "sheet.tsv"


def test_star_counts_of_gdc(tmp_path: Path) -> None:
    folder, sheet = write_gdc(tmp_path / "gdc")
    options = {"expression_samples": sheet, "expression_unit": "linear"}
    patients, unused = expression.read_expression_index(given(folder, **options))
    assert patients == ["TCGA-3M-AB46", "TCGA-BR-8077"]
    assert [(sample.label, sample.reason) for sample in unused] == [
        ("TCGA-BR-8077-01A id1", "TCGA-BR-8077-01B id2 of the patient is used"),
        ("TCGA-BR-8077-11A id3", "sample type 11 (solid tissue normal)"),
    ]
    table = read_expression(folder, **options)
    np.testing.assert_allclose(table["TP53"], np.log2([2.0, 22.0]), rtol=1e-6)
    counts = {"expression_samples": sheet, "expression_unit": "counts", "expression_column": "unstranded"}
    expected = np.log2(np.array([[100 / 400, 300 / 400], [300 / 598, 298 / 598]]) * 1e6 + 1)
    np.testing.assert_allclose(read_expression(folder, **counts)[["TP53", "EGFR"]], expected, rtol=1e-6)


def test_a_download_of_gdc_that_does_not_fit(tmp_path: Path) -> None:
    folder, sheet = write_gdc(tmp_path / "gdc")
    with pytest.raises(InputError, match=r"expected a sample sheet .*\(inputs.expression_samples\), found none"):
        read_genes(folder)
    wanted = {"expression_samples": sheet, "expression_unit": "linear"}
    path = folder / "id0" / "u0.rna_seq.augmented_star_gene_counts.tsv"
    path.write_text(path.read_text().replace("\t1.0\n", "\t1,5\n"))
    with pytest.raises(InputError, match=r"u0.*: line 5, column tpm_unstranded, gene TP53: .* found '1,5' \(a decimal"):
        read_expression(folder, **wanted)
    (folder / "id1" / "u1.rna_seq.augmented_star_gene_counts.tsv").unlink()
    for name in ("../u9.tsv", "/u9.tsv"):
        (folder / "away.tsv").write_text(f"File ID\tFile Name\tSample ID\nid1\t{name}\tTCGA-3M-AB46-01A\n")
        with pytest.raises(InputError, match=r"away\.tsv: expected names of files .* found 'id1' and '.*u9"):
            read_genes(folder, expression_samples=folder / "away.tsv")
    with pytest.raises(InputError, match=r"expected its 4 count files .*found 3; missing: id1/u1"):
        read_genes(folder, expression_samples=sheet)
    folder, sheet = write_gdc(tmp_path / "other")
    path = folder / "id2" / "u2.rna_seq.augmented_star_gene_counts.tsv"
    path.write_text(path.read_text().replace("EGFR", "KRAS"))
    with pytest.raises(InputError, match=r"u2.*expected the genes of .*u0.* in their order, found others"):
        read_expression(folder, expression_samples=sheet)


def write_anndata(
    path: Path, values: np.ndarray, *, samples: list[str], genes: list[str], sparse: str | None = None
) -> None:
    with h5py.File(path, "w") as file:
        for name, labels in (("obs", samples), ("var", genes)):
            file.create_group(name).attrs["_index"] = "_index"
            file[name].create_dataset("_index", data=labels, dtype=h5py.string_dtype())
        if sparse is None:
            file["X"] = values
        else:
            matrix = getattr(scipy.sparse, sparse)(values)
            group = file.create_group("X")
            group.attrs["encoding-type"] = sparse
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)


@pytest.mark.parametrize("sparse", [None, "csr_matrix", "csc_matrix"])
def test_anndata(tmp_path: Path, sparse: str | None) -> None:
    values = np.array([[0, 5.5, 0], [2, 0, 1]], dtype=np.float32)
    path = tmp_path / "a.h5ad"
    write_anndata(path, values, samples=["TCGA-3M-AB46-01A", "p2"], genes=["TP53", "EGFR", "MYC"], sparse=sparse)
    table = read_expression(path, genes={"EGFR", "MYC"}, expression_unit="log2")
    assert table.to_dict("index") == {"TCGA-3M-AB46": {"EGFR": 5.5, "MYC": 0}, "p2": {"EGFR": 0, "MYC": 1}}


@pytest.mark.parametrize("index", [True, False])
def test_parquet(tmp_path: Path, index: bool) -> None:
    table = pd.DataFrame({"TP53": [1.5, 2.0], "EGFR": [3.0, 4.0]}, index=pd.Index(["p2", "p1"], name=None))
    (table if index else table.reset_index(names="case")).to_parquet(tmp_path / "a.parquet")
    assert read_expression_index(tmp_path / "a.parquet") == ["p2", "p1"]
    found = read_expression(tmp_path / "a.parquet", patients={"p1"}, genes={"EGFR"})
    assert found.to_dict("index") == {"p1": {"EGFR": 4.0}}


@pytest.mark.parametrize("name", ["a.parquet", "a.h5ad"])
def test_binary_files_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected a"):
        read_genes(write(tmp_path, "text", name=name))
    with pytest.raises(InputError, match="expected a file, found nothing"):
        read_genes(tmp_path / f"none{name}")


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        ((0.0, 9000.5), "log2", "these are no logarithms. Declare expression_unit: linear"),
        ((-11.0, 5.0), "log2", "found -11 to 5"),
        ((0.0, 14.2), "linear", r"beyond 50, found 0 to 14.2. Declare expression_unit: log2 or z-scores"),
        ((-1.0, 900.0), "linear", "expected linear .*found -1 to 900"),
        ((0.0, 14.0), "counts", "expected counts .*found 0 to 14. Declare expression_unit: log2"),
        ((0.0, 900.5), "counts", "in whole numbers, found 0 to 900.5, with fractions. Declare expression_unit: linear"),
    ],
)
def test_values_of_another_unit_than_declared(
    tmp_path: Path, values: tuple[float, float], unit: str, message: str
) -> None:
    path = write(tmp_path, f"id,A,B\np1,{values[0]},{values[1]}\np2,1,2\n")
    with pytest.raises(InputError, match=message):
        read_expression(path, expression_unit=unit)


@pytest.mark.parametrize("gene", ["1-Mar", "SEP-7", "2-Sep", "Dec-01"])
def test_genes_that_a_spreadsheet_has_turned_into_dates(tmp_path: Path, gene: str) -> None:
    with pytest.raises(InputError, match=f"found dates into which a spreadsheet has turned them: {gene}"):
        read_genes(write(tmp_path, f"id,TP53,{gene}\np1,1,2\n"))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cases.csv", "column 3"),
        ("xena.tsv", "line 4"),
        ("index.parquet", "column 2"),
        ("column.parquet", "column 3"),
        ("a.h5ad", "row 2 of var"),
        ("gdc", "line 6 of u0.rna_seq.augmented_star_gene_counts.tsv"),
    ],
)
def test_every_format_says_where_a_date_stands(tmp_path: Path, name: str, place: str) -> None:
    path, options = tmp_path / name, {}
    values = pd.DataFrame({"TP53": [1.0, 2.0], "2-Sep": [3.0, 4.0]}, index=pd.Index(["p2", "p1"], name=None))
    match name:
        case "cases.csv":
            values.to_csv(path)
        case "xena.tsv":
            path.write_text("# about\n" + XENA.replace("EGFR", "2-Sep"))
        case "index.parquet":
            values.to_parquet(path)
        case "column.parquet":
            values.reset_index(names="case").to_parquet(path)
        case "a.h5ad":
            write_anndata(path, values.to_numpy(), samples=list(values.index), genes=list(values.columns))
        case "gdc":
            path, options["expression_samples"] = write_gdc(path)
            first = path / "id0" / "u0.rna_seq.augmented_star_gene_counts.tsv"
            first.write_text(first.read_text().replace("ENSG02.2\tEGFR", "ENSG02.2\t2-Sep"))
    message = rf"{path.name}: expected names of genes, found dates .*: 2-Sep \({place}\)\. Fetch the file again"
    with pytest.raises(InputError, match=message):
        read_expression_index(path, **options)


@pytest.mark.parametrize(
    ("labels", "types", "kept", "reasons"),
    [
        (["TCGA-AA-0001-01A", "TCGA-AA-0001-01B"], ("01",), 1, "TCGA-AA-0001-01B of the patient is used"),
        (["TCGA-AA-0001-06A", "TCGA-AA-0001-01A"], ("01", "06"), 1, "TCGA-AA-0001-01A of the patient is used"),
        (["TCGA-AA-0001-01A", "TCGA-AA-0001-06A"], ("01", "06"), 0, "TCGA-AA-0001-01A of the patient is used"),
        (
            ["TCGA-AA-0001-01A-11R-A32D-31", "TCGA-AA-0001-01A-21R-1234-07"],
            ("01",),
            1,
            "TCGA-AA-0001-01A-21R-1234-07 of the patient is used",
        ),
        (["TCGA-AA-0001", "TCGA-AA-0001"], ("01",), 0, "the first sample of that label is used"),
    ],
)
def test_one_sample_stands_for_a_patient(labels: list[str], types: tuple[str, ...], kept: int, reasons: str) -> None:
    found, unused = choose(labels, types=types)
    assert found == {"TCGA-AA-0001": kept}
    assert [sample.reason for sample in unused] == [reasons]


def test_quoted_cells(tmp_path: Path) -> None:
    """R's write.csv quotes every label."""
    path = write(tmp_path, '"","TP53","EGFR"\n"p,1","1.5","2"\n"p2",3,4\n')
    table = read_expression(path)
    assert table.to_dict("index") == {"p,1": {"TP53": 1.5, "EGFR": 2}, "p2": {"TP53": 3, "EGFR": 4}}


def test_the_row_of_the_approved_symbol_counts_whatever_an_alias_holds(tmp_path: Path) -> None:
    """p53 and HER2 are aliases; ERBB2 has no row of its own, so the mean of its two stands for it."""
    path = write(tmp_path, "id,TP53,p53,HER2,CD340\na,1,9,2,5\nb,2,8,1,4\n")
    table = read_expression(path, gene_names="hgnc")
    assert table["TP53"].tolist() == [1, 2]
    assert table["ERBB2"].tolist() == [3.5, 2.5]
    assert list(table) == ["TP53", "ERBB2"]


def test_several_rows_of_a_gene_are_one_value_per_patient_whoever_else_is_in_the_matrix(tmp_path: Path) -> None:
    text = "id,a,b\nTP53,1,2\nEGFR,9,8\nTP53,2,6\n"
    table = read_expression(write(tmp_path, text), expression_layout="genes-in-rows")
    assert list(table) == ["TP53", "EGFR"]
    assert table.to_dict("index") == {"a": {"TP53": 1.5, "EGFR": 9}, "b": {"TP53": 4, "EGFR": 8}}
    assert (table.dtypes == np.float32).all()
    other = read_expression(write(tmp_path, text.replace("TP53,2,6", "TP53,2,60")), expression_layout="genes-in-rows")
    assert other.loc["a"].equals(table.loc["a"])
