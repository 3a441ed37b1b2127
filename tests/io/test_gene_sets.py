"""Gene sets: two formats, one content."""

import gzip
import re
from pathlib import Path

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io.gene_sets import read_gene_sets

SETS = {"CELL_CYCLE": ["MYC", "TP53", "RB1"], "ERBB": ["EGFR", "ERBB2"]}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_gmt_and_columns_hold_the_same(tmp_path: Path) -> None:
    gmt = "CELL_CYCLE\thttp://x\tMYC\tTP53\tRB1\n\nERBB\tna\tEGFR\tERBB2\t\t\n"
    (tmp_path / "s.gmt.gz").write_bytes(gzip.compress(gmt.encode()))
    columns = "CELL_CYCLE,ERBB\nMYC,EGFR\nTP53,ERBB2\nRB1,\n"
    for path in [
        write(tmp_path, "s.gmt", gmt),
        tmp_path / "s.gmt.gz",
        write(tmp_path, "s.csv", columns),
        write(tmp_path, "s.tsv", columns.replace(",", "\t").replace("RB1\t", "RB1\tNA")),
        write(tmp_path, "windows.csv", "\ufeff" + columns.replace("\n", "\r\n")),
    ]:
        assert read_gene_sets(path) == SETS, path.name


def test_a_folder_of_gmt_files_is_their_sets(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    write(tmp_path / "sets", "b.gmt", "ERBB\tna\tEGFR\tERBB2\n")
    (tmp_path / "sets" / "a.gmt.gz").write_bytes(gzip.compress(b"CELL_CYCLE\tx\tMYC\tTP53\tRB1\n"))
    write(tmp_path / "sets", "README.txt", "not sets")
    assert read_gene_sets(tmp_path / "sets") == SETS
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: expected gene sets, found none"):
        read_gene_sets(tmp_path / "none")


def test_a_gene_that_stands_twice_is_kept_once_in_order(tmp_path: Path) -> None:
    assert read_gene_sets(write(tmp_path, "s.gmt", "A\t\tG2\tG1\tG2\tG3\tG1\n")) == {"A": ["G2", "G1", "G3"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.gmt", "A\tabout\tG1\nB\tabout\n", "expected name, description and genes.* in line 2, found 2 fields: 'B'"),
        ("s.gmt", "A\tabout\tG1\nC\n", "expected name, description and genes.* in line 2, found 1 fields: 'C'"),
        ("s.gmt", "A\tabout\tG1\nB\tabout\t\n", "expected genes in each set, found none in B"),
        ("s.gmt", "A\tabout\tG1\nB\tabout\t\t \n", "found none in B"),
        ("s.gmt", "A\tx\tG1\nA\tx\tG2\n", "expected each gene set once, found A"),
        ("s.gmt", "\tx\tG1\n", "expected the name of a gene set at the start of line 1"),
        ("s.gmt", "\n", "expected gene sets, found none"),
        ("s.csv", "A,B\nG1,\nG2,\n", "expected genes in each set, found none in B"),
        ("s.csv", "A,B\n", "found none in A, B"),
        ("s.csv", "A,A\nG1,G2\n", "expected each column once, found A"),
        ("s.csv", ",A\n0,G1\n", "expected the name of a gene set over each column, found none over column 1"),
        ("gmt.txt", "A\tx\tG1\tG2\nB\tx\tG1\n", "expected 4 cells in each row"),
        ("s.csv", "", "found an empty file"),
    ],
)
def test_sets_that_do_not_fit_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: .*{message}"):
        read_gene_sets(write(tmp_path, name, text))


def test_a_gene_by_two_versions_of_its_identifier_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, "s.gmt", "A\t\tENSG00000141510.18\tENSG00000141510.9\tTP53\t7157\n")
    assert read_gene_sets(path) == {"A": ["ENSG00000141510", "TP53", "7157"]}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("s.gmt", "A\tabout\tG1\n\nB\tx\tG2\t1-Mar\t2-Sep\n", "1-Mar (set B, line 3), 2-Sep (set B, line 3)"),
        ("s.csv", "A,B\nG1,G2\nMar-01,G3\n,2021-09-02\n", "Mar-01 (set A, line 3), 2021-09-02 (set B, line 4)"),
        ("s.tsv", "A\tB\n1-DEC-01\t9/2/2021\n", "1-DEC-01 (set A, line 2), 9/2/2021 (set B, line 2)"),
    ],
)
def test_dates_are_refused_with_their_set_and_line(tmp_path: Path, name: str, text: str, found: str) -> None:
    message = f"{name}: expected names of genes, found dates into which a spreadsheet has turned them: {found}."
    with pytest.raises(InputError, match=re.escape(message)):
        read_gene_sets(write(tmp_path, name, text))


def test_a_date_in_a_folder_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    write(tmp_path / "sets", "a.gmt", "A\tx\tG1\n")
    write(tmp_path / "sets", "b.gmt", "B\tx\t4-Oct\n")
    with pytest.raises(InputError, match=r"b.gmt: .*: 4-Oct \(set B, line 1\)"):
        read_gene_sets(tmp_path / "sets")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "n_sets", "n_genes"), [("xena", 281, 2635), ("hallmarks", 50, 7110), ("combine", 331, 9745)]
)
def test_published_sets(real_data: Path, name: str, n_sets: int, n_genes: int) -> None:
    sets = read_gene_sets(real_data / "pathways" / f"{name}_signatures.csv")
    assert (len(sets), sum(map(len, sets.values()))) == (n_sets, n_genes)


def test_a_gmt_without_descriptions_would_lose_genes(tmp_path: Path) -> None:
    lines = [
        f"SET{number}\t{genes}" for number, genes in enumerate(["TP53\tMYC\tRB1", "EGFR\tERBB2\tKRAS", "na\tA\tB"])
    ]
    with pytest.raises(InputError, match=r"found genes in 2 of 3 lines: TP53 \(line 1\), EGFR \(line 2\)"):
        read_gene_sets(write(tmp_path, "s.gmt", "\n".join(lines)))
    mostly_described = [*lines, "SET4\thttps://x\tA", "SET5\tHallmark set\tB"]
    assert len(read_gene_sets(write(tmp_path, "t.gmt", "\n".join(mostly_described)))) == 5
