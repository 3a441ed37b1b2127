"""Names of genes: approved symbols from former ones, aliases and identifiers."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT
from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io.expression import read_expression, read_genes
from tta_pipeline.io.gene_names import read_gene_names
from tta_pipeline.io.hgnc import date_of, shipped_table

HGNC = """hgnc_id\tsymbol\tname\talias_symbol\tprev_symbol\tentrez_id\tensembl_gene_id
HGNC:1\tMMUT\tmutase\tMCM\tMUT\t4594\tENSG00000146085
HGNC:2\tSEPTIN7\tseptin\tSEPT7A|CDC3\tSEPT7\t989\tENSG00000122545
HGNC:3\tMCM2\thelicase\tCDC3|MITOTIN\t\t4171\tENSG00000073111
HGNC:4\tCDK1\tkinase\tMUT\tCDC2\t983\tENSG00000170312
HGNC:5\tOLD1\tx\t\tMCM2|SHARED\t1\t
HGNC:6\tOLD2\tx\t\tSHARED\t2\t
HGNC:7\tOLD3\tx\t"SHARED| MDR"\tOLD3||"ABL"\t3\t
HGNC:8\tOLD4\tx\tABL\tSHARED\t983000\t
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
        ("SHARED", "SHARED"),  # the former symbol of three, which being the alias of one does not change
        ("ABL", "OLD3"),
        ("MDR", "OLD3"),  # spaces and quotes around a name are none of it
        ("OLD3", "OLD3"),
        ("", ""),
        ("ENSG00000170312", "CDK1"),
        ("ENSG00000170312.17", "CDK1"),
        ("ENSG00000170312.17_PAR_Y", "CDK1"),
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
    assert read_genes(inputs) == ["ENSG00000170312", "MUT", "CDC2"]
    assert read_expression(inputs, genes={"CDK1"})["CDK1"].tolist() == [2, 6.5], "the mean of its two rows"


def test_another_table(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("symbol\tprev\nA\tB\n")
    with pytest.raises(InputError, match="expected column 'prev_symbol'"):
        read_gene_names(tmp_path / "x.txt")


def test_a_table_without_entries_or_with_dates(tmp_path: Path, table: Path) -> None:
    empty, dates = tmp_path / "empty.txt", tmp_path / "dates.txt"
    empty.write_text(HGNC.splitlines()[0] + "\n")
    with pytest.raises(InputError, match=r"empty.txt: expected approved entries of HGNC, found none"):
        read_gene_names(empty)
    dates.write_text(HGNC.replace("\tSEPT7\t", "\t7-Sep\t"))
    with pytest.raises(InputError, match=r"dates.txt: .*found dates.*: 7-Sep \(in the entry of SEPTIN7\)"):
        read_gene_names(dates)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *((f"SEPT{number}", f"SEPTIN{number}") for number in (*range(1, 13), 14)),
        *((f"MARCH{number}", f"MARCHF{number}") for number in range(1, 12)),
        ("MARC1", "MTARC1"),
        ("MARC2", "MTARC2"),
        ("DEC1", "DELEC1"),
        ("MUT", "MMUT"),
        ("ENSG00000141510.18", "TP53"),
        ("7157", "TP53"),
        ("TP53", "TP53"),
        ("MDR1", "ABCB1"),  # an alias of TBC1D9, too
        ("CPT1", "CPT1"),  # once CPT1A and CPT2
        ("p53", "TP53"),
        ("no gene", "no gene"),
    ],
)
def test_the_table_that_is_shipped(name: str, symbol: str) -> None:
    assert read_gene_names("hgnc")(name) == symbol


def test_no_approved_symbol_is_changed_and_what_is_given_is_approved() -> None:
    """By pandas, which reads the table in its own way."""
    table = pd.read_csv(shipped_table(), sep="\t", comment="#", dtype=str, keep_default_na=False)
    names = read_gene_names("hgnc")
    symbols = set(table["symbol"])
    assert [symbol for symbol in symbols if names(symbol) != symbol] == []
    assert names.source == f"HGNC of {date_of(shipped_table())}"
    former = table.assign(name=table["prev_symbol"].str.split("|")).explode("name")
    former = former[(former["name"] != "") & ~former["name"].isin(symbols)]
    of_one = former.groupby("name")["symbol"].agg(["nunique", "first"])
    given = {name: names(name) for name in of_one.index if not name.isdecimal()}
    expected = of_one["first"].where(of_one["nunique"] == 1, of_one.index.to_series())
    assert given == expected[list(given)].to_dict()
    assert len(given) > 15_000


def test_reading_the_table_is_cheap() -> None:
    """Below 0.3 s on the machine that it was written on; a loaded one gets three times that."""
    code = (
        "import time; from tta_pipeline.io import gene_names; started = time.process_time(); "
        "names = gene_names.read_gene_names('hgnc'); first = time.process_time() - started; "
        "assert gene_names.read_gene_names('hgnc') is names; print(first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(done.stdout) < 0.9
