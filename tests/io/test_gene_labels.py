"""Names of genes as people write them: kinds, versions, and the dates of spreadsheets."""

from pathlib import Path

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io import hgnc
from tta_pipeline.io.gene_labels import ENSEMBL, ENTREZ, SYMBOL, count_kinds, described, is_date, plain, refuse_dates


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TP53", SYMBOL),
        ("ENSA", SYMBOL),
        ("7SK", SYMBOL),
        ("HLA-A", SYMBOL),
        ("7157", ENTREZ),
        ("ENSG00000141510", ENSEMBL),
        ("ENSG00000141510.18", ENSEMBL),
        ("ENSMUSG00000059552", ENSEMBL),
        ("ENST00000269305.9", ENSEMBL),
    ],
)
def test_the_kind_of_a_name(name: str, kind: str) -> None:
    assert count_kinds([name]) == {kind: 1}


def test_kinds_in_words() -> None:
    assert described(count_kinds(["1", "A", "B"])) == "2 symbols, 1 Entrez number"
    assert described(count_kinds([])) == "none"


@pytest.mark.parametrize("name", ["TP53", "ENST00000269305.9", "RP11-34P13.7", "7157"])
def test_only_genes_of_ensembl_have_versions(name: str) -> None:
    assert plain(name) == name
    assert plain("ENSG00000141510.18") == plain("ENSG00000141510.1_PAR_Y") == "ENSG00000141510"


@pytest.mark.parametrize(
    "name", ["1-Mar", "01-Mar", "2-Sep", "1-DEC", "Mar-01", "SEP-7", "1-Apr-01", "2021-03-01", "2021-09-02 00:00:00"]
)
def test_what_spreadsheets_make_of_symbols(name: str) -> None:
    assert is_date(name)
    with pytest.raises(InputError, match=rf"x.csv: expected names of genes, found dates .*: {name} \(line 3\)"):
        refuse_dates([(name, "line 3")], path=Path("x.csv"))


def test_no_name_of_hgnc_is_a_date() -> None:
    names = [name for entry in hgnc.read_entries(hgnc.shipped_table()) for cell in entry for name in cell.split("|")]
    assert [name for name in names if is_date(name)] == []
    refuse_dates([], path=Path("x.csv"))


def test_firehose_writes_symbol_and_number() -> None:
    assert plain("A1BG|1") == "A1BG"
    assert plain("?|100130426") == "?|100130426"
    assert plain("A|B") == "A|B"
