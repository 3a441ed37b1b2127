"""Names of genes: approved symbols from former ones, aliases and identifiers."""

from pathlib import Path

import pytest

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io.expression import read_expression, read_genes
from tta_pipeline.io.gene_names import read_gene_names

HGNC = """hgnc_id\tsymbol\tname\talias_symbol\tprev_symbol\tentrez_id\tensembl_gene_id
HGNC:1\tMMUT\tmutase\tMCM\tMUT\t4594\tENSG00000146085
HGNC:2\tSEPTIN7\tseptin\tSEPT7A|CDC3\tSEPT7\t989\tENSG00000122545
HGNC:3\tMCM2\thelicase\tCDC3|MITOTIN\t\t4171\tENSG00000073111
HGNC:4\tCDK1\tkinase\tMUT\tCDC2\t983\tENSG00000170312
HGNC:5\tOLD1\tx\t\tMCM2|SHARED\t1\t
HGNC:6\tOLD2\tx\t\tSHARED\t2\t
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "hgnc_complete_set.txt").write_text(HGNC)
    return tmp_path / "hgnc_complete_set.txt"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("MMUT", "MMUT"),
        ("MUT", "MMUT"),  # a former symbol counts more than an alias of CDK1
        ("SEPT7", "SEPTIN7"),
        ("MITOTIN", "MCM2"),
        ("MCM2", "MCM2"),  # an approved symbol, though it was OLD1's once
        ("CDC3", "CDC3"),  # an alias of two
        ("SHARED", "SHARED"),  # the former symbol of two
        ("ENSG00000170312", "CDK1"),
        ("ENSG00000170312.17", "CDK1"),
        ("ENSG00000999999.1", "ENSG00000999999"),
        ("983", "CDK1"),
        ("unheard of", "unheard of"),
    ],
)
def test_the_symbol_of_a_gene(table: Path, name: str, symbol: str) -> None:
    assert read_gene_names(table)(name) == symbol


def test_without_a_table_versions_go_alone() -> None:
    names = read_gene_names(None)
    assert [names(name) for name in ("ENSG00000170312.17", "MUT")] == ["ENSG00000170312", "MUT"]


def test_a_matrix_has_the_symbols_of_the_table(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "rna.csv"
    path.write_text("id,ENSG00000170312.17,MUT,CDC2\np1,1,2,3\np2,4,5,9\n")
    inputs = Inputs(slides=path, clinical=path, gene_sets=path, expression=path, gene_names=table)
    assert read_genes(inputs) == ["CDK1", "MMUT"]
    assert read_expression(inputs, genes={"CDK1"})["CDK1"].tolist() == [3, 9], "the row of the larger mean"


def test_another_table(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("symbol\tprev\nA\tB\n")
    with pytest.raises(InputError, match="expected column 'prev_symbol'"):
        read_gene_names(tmp_path / "x.txt")
