"""The pathways stage: rows by identifier, genes by name, and what is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tta_pipeline.config import Inputs, Pathways
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.stages import pathways

RNA = "id,C,A,B,D\np3,31,32,33,34\np1,11,12,13,14\np2,21,22,23,24\n"
SETS = "ONE\t\tD\nLARGE\t\tB\tX\tA\tC\nABSENT\t\tX\tY\nPAIR\t\tC\tB\n"


def run(folder: Path, *, rna: str = RNA, sets: str = SETS, patients: tuple[str, ...] = ("p1", "p3"), **options: float):
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
    )
    out, coverage = folder / "pathways.h5", folder / "coverage.tsv"
    config = Pathways(**options)
    pathways.run(patients=folder / "patients.tsv", inputs=inputs, out=out, coverage=coverage, config=config)
    return artifacts.read_pathways(out), tables.read_table(coverage, columns=tables.COVERAGE)


def test_rows_follow_the_patients_and_sets_their_file(tmp_path: Path) -> None:
    found, coverage = run(tmp_path, min_genes=2)
    assert found.patient_id == ["p1", "p3"]
    assert found.genes == ["A", "B", "C"]
    assert found.expression.dtype == np.float32
    assert found.expression.tolist() == [[12, 13, 11], [32, 33, 31]]
    assert found.names == ["LARGE", "PAIR"]
    assert [[found.genes[gene] for gene in members] for members in found.members()] == [["B", "A", "C"], ["C", "B"]]
    assert coverage.to_numpy().tolist() == [
        ["ONE", 1, 1, False],
        ["LARGE", 4, 3, True],
        ["ABSENT", 2, 0, False],
        ["PAIR", 2, 2, True],
    ]


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
@pytest.mark.parametrize(("name", "kept", "genes"), [("xena", 225, 1530), ("hallmarks", 50, 819)])
def test_published_sets_at_the_default(tmp_path: Path, real_data: Path, name: str, kept: int, genes: int) -> None:
    rna = real_data / "expression" / "xena_stad.csv"
    sets = real_data / "pathways" / f"{name}_signatures.csv"
    patients = pd.read_csv(rna, index_col=0).index[5:60]
    table = pd.DataFrame({"patient_id": patients, "site": "", "time_days": 1.0, "event": True, "n_slides": 1})
    tables.write_table(tmp_path / "patients.tsv", table, columns=tables.PATIENTS)
    pathways.run(
        patients=tmp_path / "patients.tsv",
        inputs=Inputs(slides=rna, clinical=rna, expression=rna, gene_sets=sets),
        out=tmp_path / "pathways.h5",
        coverage=tmp_path / "coverage.tsv",
        config=Pathways(),
    )
    found = artifacts.read_pathways(tmp_path / "pathways.h5")
    assert (len(found.names), len(found.genes)) == (kept, genes)
    expected = pd.read_csv(rna, index_col=0).loc[patients, found.genes].to_numpy(np.float32)
    assert (found.expression == expected).all()
    source = pd.read_csv(sets)
    for set_name, members in list(zip(found.names, found.members(), strict=True))[::20]:
        assert [found.genes[gene] for gene in members] == [
            gene for gene in source[set_name].dropna() if gene in set(found.genes)
        ]
