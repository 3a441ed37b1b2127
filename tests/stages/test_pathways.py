"""The pathways stage: rows by identifier, genes by name, and what is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.io.test_expression import write_gdc
from tta_pipeline.config import Inputs, Pathways
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hdf5, hgnc, tables
from tta_pipeline.io.expression import read_expression, read_genes
from tta_pipeline.io.gene_names import read_gene_names
from tta_pipeline.io.gene_sets import read_gene_sets
from tta_pipeline.stages import pathways

RNA = "id,C,A,B,D\np3,31,32,33,34\np1,11,12,13,14\np2,21,22,23,24\n"
SETS = "ONE\t\tD\nLARGE\t\tB\tX\tA\tC\nABSENT\t\tX\tY\nPAIR\t\tC\tB\n"


def run(
    folder: Path,
    *,
    rna: str = RNA,
    sets: str = SETS,
    patients: tuple[str, ...] = ("p1", "p3"),
    gene_names: str | None = None,
    **options: float,
):
    (folder / "rna.csv").write_text(rna, encoding="utf-8")
    (folder / "sets.gmt").write_text(sets, encoding="utf-8")
    table = pd.DataFrame({"patient_id": patients, "site": "", "time_days": 1.0, "event": True, "n_slides": 1})
    tables.write_table(folder / "patients.tsv", table, columns=tables.PATIENTS)
    inputs = Inputs(
        expression_unit="z-scores",
        slides=folder / "none",
        clinical=folder / "none",
        expression=folder / "rna.csv",
        gene_sets=folder / "sets.gmt",
        gene_names=gene_names,
    )
    out, coverage = folder / "pathways.h5", folder / "coverage.tsv"
    config = Pathways(**options)
    pathways.run(patients=folder / "patients.tsv", inputs=inputs, out=out, coverage=coverage, config=config)
    return artifacts.read_pathways(out), tables.read_table(coverage, columns=tables.COVERAGE)


def test_rows_follow_the_patients_and_sets_their_names(tmp_path: Path) -> None:
    found, coverage = run(tmp_path, min_genes=2)
    assert found.patient_id == ["p1", "p3"]
    assert found.genes == ["A", "B", "C"]
    assert found.expression.dtype == np.float32
    assert found.expression.tolist() == [[12, 13, 11], [32, 33, 31]]
    assert found.names == ["LARGE", "PAIR"]
    assert [[found.genes[gene] for gene in members] for members in found.members()] == [["A", "B", "C"], ["B", "C"]]
    assert coverage.to_numpy().tolist() == [
        ["ONE", 1, 1, 0, 0, False, "", ""],
        ["LARGE", 4, 3, 0, 0, True, "X", ""],
        ["ABSENT", 2, 0, 0, 0, False, "X;Y", ""],
        ["PAIR", 2, 2, 0, 0, True, "", ""],
    ]


RENAMED = "id,SEPT7,ENSG00000141510.18,983,CDC2,SEPTIN2\np3,1,2,3,2,5\np1,6,7,8,6,9\np2,0,0,0,90,0\n"
RENAMED_SETS = "ONE\t\tSEPTIN7\t7157\tCDK1\tSEPT2\tMARCH1\nTWO\t\tTP53\tCDC2\n"


def test_genes_are_found_by_former_symbols_and_identifiers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """CDK1 has two rows, neither by its approved symbol, and counts by their mean."""
    with caplog.at_level("INFO"):
        found, coverage = run(tmp_path, rna=RENAMED, sets=RENAMED_SETS, gene_names="hgnc", min_genes=2)
    assert found.genes == ["CDK1", "SEPTIN2", "SEPTIN7", "TP53"]
    assert found.expression.tolist() == [[7, 9, 6, 7], [2.5, 5, 1, 2]]
    renamed = "SEPTIN7=SEPT7;7157=ENSG00000141510;CDK1=983;SEPT2=SEPTIN2"
    assert coverage.to_numpy().tolist() == [
        ["ONE", 5, 4, 4, 1, True, "MARCH1", renamed],
        ["TWO", 2, 2, 1, 1, True, "", "TP53=ENSG00000141510"],
    ]
    assert (
        "gene sets: 6 symbols, 1 Entrez number (translated: 3 symbols, 1 Entrez number); matrix: 3 symbols, 1 Ensembl "
        "identifier, 1 Entrez number (translated: 2 symbols, 1 Ensembl identifier, 1 Entrez number)"
    ) in caplog.text
    assert (
        "1 genes have several rows; used is the one of the approved symbol, else their mean: CDK1 by 983 and CDC2"
        in (caplog.text)
    )


def test_the_artifact_knows_its_table(tmp_path: Path) -> None:
    run(tmp_path, gene_names="hgnc", min_genes=2, sets=SETS.replace("B", "b"), rna=RNA.replace("B", "b"))
    assert "gene_names" in hdf5.read_origin(tmp_path / "pathways.h5").inputs
    run(tmp_path, min_genes=2)
    assert "gene_names" not in hdf5.read_origin(tmp_path / "pathways.h5").inputs


ENSEMBL_RNA = "id,ENSG00000141510.18,ENSG00000170312.17,ENSG00000122545.19,X\np1,1,2,3,4\np3,5,6,7,8\n"
ENTREZ_SETS = "ONE\t\t7157\t983\t989\n"


@pytest.mark.parametrize(
    ("rna", "sets", "found"),
    [
        (
            ENSEMBL_RNA,
            "ONE\t\tTP53\tCDK1\tSEPTIN7\n",
            r"found 0 of 3 there; .*sets: 3 symbols \(translated: none\); matrix: 3 Ensembl identifiers, 1 symbol",
        ),
        (ENSEMBL_RNA, ENTREZ_SETS, "found 0 of 3 .*sets: 3 Entrez numbers.* like 7157, 983, 989; the matrix has ENSG"),
        (
            "id,TP53,CDK1,MYC,SEPT7\np1,1,2,3,4\np3,5,6,7,8\n",
            "ONE\t\tTP53\t983\t989\tENSG00000136997\n",
            "found 1 of 4 .*2 Entrez numbers, 1 symbol, 1 Ensembl identifier .*matrix: 4 symbols",
        ),
    ],
)
def test_other_kinds_of_names_are_an_error_without_a_table_and_found_with_it(
    tmp_path: Path, rna: str, sets: str, found: str
) -> None:
    message = rf"sets.gmt: expected genes identified as in .*rna.csv, {found}.*Set inputs.gene_names: hgnc, which"
    with pytest.raises(InputError, match=message):
        run(tmp_path, rna=rna, sets=sets, min_genes=1)
    _, coverage = run(tmp_path, rna=rna, sets=sets, min_genes=1, gene_names="hgnc")
    assert coverage["available"].tolist() == coverage["genes"].tolist()


def test_kinds_that_no_table_brings_together(tmp_path: Path) -> None:
    mouse = "id,ENSMUSG00000059552,ENSMUSG00000019942,ENSMUSG00000001833\np1,1,2,3\np3,5,6,7\n"
    message = (
        "found 0 of 3 there; gene names .HGNC of .*: gene sets: 3 symbols.*matrix: 3 Ensembl identifiers .translated"
    )
    with pytest.raises(InputError, match=rf"{message}: none.* Translated are identifiers ENSG"):
        run(tmp_path, rna=mouse, sets="ONE\t\tTP53\tCDK1\tSEPTIN7\n", gene_names="hgnc", min_genes=1)


def test_a_minority_of_another_kind_is_counted_and_missing(tmp_path: Path) -> None:
    _, coverage = run(tmp_path, sets="ONE\t\tA\tB\t7157\n", min_genes=1)
    assert coverage.loc[0, ["available", "missing_genes"]].tolist() == [2, "7157"]


def test_a_folder_of_counts_and_one_of_sets(tmp_path: Path) -> None:
    gdc, sheet = write_gdc(tmp_path / "gdc")
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "one.gmt").write_text("ONE\t\tTP53\tEGFR\n")
    table = pd.DataFrame({"patient_id": ["TCGA-BR-8077"], "site": "", "time_days": 1.0, "event": True, "n_slides": 1})
    tables.write_table(tmp_path / "patients.tsv", table, columns=tables.PATIENTS)
    inputs = Inputs(
        slides=gdc,
        clinical=gdc,
        expression=gdc,
        expression_samples=sheet,
        expression_unit="linear",
        gene_sets=tmp_path / "sets",
    )
    out, coverage = tmp_path / "pathways.h5", tmp_path / "coverage.tsv"
    pathways.run(
        patients=tmp_path / "patients.tsv", inputs=inputs, out=out, coverage=coverage, config=Pathways(min_genes=1)
    )
    assert artifacts.read_pathways(out).genes == ["EGFR", "TP53"]


def test_sets_that_are_covered_too_little_are_left_out(tmp_path: Path) -> None:
    found, coverage = run(tmp_path, min_genes=2, min_coverage=0.8)
    assert found.names == ["PAIR"]
    assert coverage.set_index("name")["kept"].to_dict() == {"ONE": False, "LARGE": False, "ABSENT": False, "PAIR": True}


def test_order_of_the_matrix_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _ = run(tmp_path / "a", min_genes=1)
    second, _ = run(tmp_path / "b", min_genes=1, rna="id,D,B,C,A\np1,14,13,11,12\np2,24,23,21,22\np3,34,33,31,32\n")
    assert first.genes == second.genes
    assert (first.expression == second.expression).all()
    assert (first.indices == second.indices).all()


def test_no_set_left_is_an_error_with_both_kinds_of_names(tmp_path: Path) -> None:
    message = "at least min_genes = 4 genes .*found at most 3 in each of 4 sets.*genes like D; the matrix has C, A, B"
    with pytest.raises(InputError, match=message):
        run(tmp_path, min_genes=4)
    assert not (tmp_path / "pathways.h5").exists()


def test_a_value_that_is_no_number_names_patient_and_gene(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patient p3, gene B: expected a finite number, found 'NA'"):
        run(tmp_path, rna=RNA.replace("33", "NA"), min_genes=2)


def test_a_value_that_is_not_used_is_not_checked(tmp_path: Path) -> None:
    found, _ = run(tmp_path, rna=RNA.replace("34", "NA").replace("23", ""), min_genes=2)
    assert found.expression.shape == (2, 3)


def test_a_patient_who_is_not_in_the_matrix_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected patients p9, found 3 patients.*Run the cohort stage"):
        run(tmp_path, patients=("p1", "p9"), min_genes=1)


@pytest.mark.real
@pytest.mark.parametrize("gene_names", ["hgnc", None])
@pytest.mark.parametrize(("name", "kept", "genes"), [("xena", 225, 1530), ("hallmarks", 50, 819)])
def test_published_sets_at_the_default(
    *, tmp_path: Path, real_data: Path, name: str, kept: int, genes: int, gene_names: str | None
) -> None:
    """The same genes with the table as without it, some of them by newer symbols."""
    rna = real_data / "expression" / "xena_stad.csv"
    sets = real_data / "pathways" / f"{name}_signatures.csv"
    patients = pd.read_csv(rna, index_col=0).index[5:60]
    table = pd.DataFrame({"patient_id": patients, "site": "", "time_days": 1.0, "event": True, "n_slides": 1})
    tables.write_table(tmp_path / "patients.tsv", table, columns=tables.PATIENTS)
    pathways.run(
        patients=tmp_path / "patients.tsv",
        inputs=Inputs(slides=rna, clinical=rna, expression=rna, gene_sets=sets, gene_names=gene_names),
        out=tmp_path / "pathways.h5",
        coverage=tmp_path / "coverage.tsv",
        config=Pathways(),
    )
    found = artifacts.read_pathways(tmp_path / "pathways.h5")
    assert (len(found.names), len(found.genes)) == (kept, genes)
    symbol = read_gene_names(gene_names)
    expected = pd.read_csv(rna, index_col=0).rename(columns=symbol).loc[patients, found.genes].to_numpy(np.float32)
    assert (found.expression == expected).all()
    source = pd.read_csv(sets)
    for set_name, members in list(zip(found.names, found.members(), strict=True))[::20]:
        assert [found.genes[gene] for gene in members] == sorted(
            symbol(gene) for gene in source[set_name].dropna() if symbol(gene) in set(found.genes)
        )


@pytest.mark.real
@pytest.mark.parametrize("cohort", ["stad", "blca", "coadread"])
@pytest.mark.parametrize(
    ("name", "gene_names", "genes", "available", "renamed"),
    [
        ("xena_signatures", None, 1577, 1577, 0),
        ("xena_signatures", "hgnc", 1577, 1577, 0),
        ("hallmarks_signatures", None, 4241, 819, 0),
        ("hallmarks_signatures", "hgnc", 4241, 819, 0),
        ("signatures", None, 3047, 269, 0),
        ("signatures", "hgnc", 3047, 273, 4),  # CARS1, NECTIN1, NECTIN2 and NECTIN3 have former symbols in the matrix
    ],
)
def test_coverage_of_published_sets(
    *, real_data: Path, cohort: str, name: str, gene_names: str | None, genes: int, available: int, renamed: int
) -> None:
    rna, sets = real_data / "expression" / f"xena_{cohort}.csv", real_data / "pathways" / f"{name}.csv"
    inputs = Inputs(slides=rna, clinical=rna, expression=rna, gene_sets=sets, gene_names=gene_names)
    covered = pathways.cover_sets(
        read_gene_sets(sets), measured=read_genes(inputs), inputs=inputs, names=read_gene_names(gene_names)
    ).values()
    found = {
        "genes": {gene for own in covered for gene in own.genes},
        "available": {gene for own in covered for gene in own.available},
        "renamed": {pair for own in covered for pair in own.renamed.items()},
        "repeated": {gene for own in covered for gene in own.repeated},
    }
    expected = {"genes": genes, "available": available, "renamed": renamed, "repeated": 0}
    assert {what: len(names) for what, names in found.items()} == expected


@pytest.mark.real
def test_a_real_matrix_by_identifiers_has_the_values_of_its_symbols(tmp_path: Path, real_data: Path) -> None:
    """A third of the columns by Ensembl with a version, a third by Entrez: the values of symbols come out."""
    rna, sets = real_data / "expression" / "xena_stad.csv", real_data / "pathways" / "xena_signatures.csv"
    table = pd.read_csv(rna, index_col=0).iloc[:40]
    symbol = read_gene_names("hgnc")
    entries = {entry[0]: entry for entry in hgnc.read_entries(hgnc.shipped_table())}
    written = []
    for number, label in enumerate(table.columns):
        _, _, _, entrez, ensembl = entries.get(symbol(label), ("", "", "", "", ""))
        written.append((label, f"{ensembl}.7" if ensembl else label, entrez or label)[number % 3])
    table.set_axis(written, axis=1).to_csv(tmp_path / "rna.csv")
    options = {"slides": rna, "clinical": rna, "gene_sets": sets}
    found = read_expression(Inputs(expression=tmp_path / "rna.csv", **options))
    expected = read_expression(Inputs(expression=rna, **options)).loc[table.index]
    pd.testing.assert_frame_equal(found, expected)
    assert sum(label.startswith("ENSG") for label in written) > 500
    assert sum(label.isdecimal() for label in written) > 500
    inputs, names = Inputs(expression=tmp_path / "rna.csv", gene_names=None, **options), read_gene_names(None)
    with pytest.raises(InputError, match=r"gene sets: 1,577 symbols.*matrix: \d+ .*Ensembl.*, \d+ Entrez"):
        pathways.cover_sets(read_gene_sets(sets), measured=read_genes(inputs), inputs=inputs, names=names)
