"""HGNC's table: two layouts, one content, and the short table that is made from either."""

import datetime
import gzip
from pathlib import Path

import pytest

from tta_pipeline.errors import InputError
from tta_pipeline.io import hgnc

ENTRIES = [
    ("CDK1", "CDC2", "", "983", "ENSG00000170312"),
    ("SEPTIN1", "DIFF6|SEPT1", "PNUTL3|Septin-1", "1731", "ENSG00000180096"),
]
COMPLETE = """hgnc_id\tsymbol\tname\tstatus\talias_symbol\tprev_symbol\tentrez_id\tensembl_gene_id
HGNC:1\tSEPTIN1\tseptin 1\tApproved\t"PNUTL3|Septin-1"\t"DIFF6|SEPT1"\t1731\tENSG00000180096
HGNC:2\tOLD\tx\tEntry Withdrawn\t\tSEPT1\t\t
HGNC:3\tCDK1\tkinase\tApproved\t\tCDC2\t983\tENSG00000170312
"""
CUSTOM = """Approved symbol\tStatus\tAlias symbols\tNCBI Gene ID(supplied by NCBI)\tPrevious symbols\tEnsembl gene ID
SEPTIN1\tApproved\tPNUTL3, Septin-1\t1731\tDIFF6, SEPT1\tENSG00000180096
OLD\tSymbol Withdrawn\t\t\tSEPT1\t
CDK1\tApproved\t\t983\tCDC2\tENSG00000170312
"""
DATE = datetime.date(2024, 7, 23)


@pytest.mark.parametrize("text", [COMPLETE, CUSTOM])
def test_both_layouts_give_the_same_table_with_the_same_bytes(tmp_path: Path, text: str) -> None:
    source, folder = tmp_path / "source.txt", tmp_path / "data"
    source.write_text(text)
    folder.mkdir()
    assert sorted(hgnc.read_entries(source)) == ENTRIES
    path = hgnc.write_table(source, date=DATE, folder=folder)
    assert path.name == "hgnc_2024-07-23.tsv.gz"
    assert hgnc.date_of(path) == "2024-07-23"
    assert hgnc.read_entries(path) == ENTRIES
    first = path.read_bytes()
    assert first[4:8] == bytes(4), "no time of day in the file"
    assert hgnc.write_table(source, date=DATE, folder=folder).read_bytes() == first
    lines = ["# HGNC (genenames.org), download of 2024-07-23, CC0 1.0: approved entries, five columns"]
    lines += ["\t".join(hgnc.COLUMNS), *map("\t".join, ENTRIES)]
    assert gzip.decompress(first).decode().splitlines() == lines


def test_a_newer_table_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text(COMPLETE)
    (tmp_path / "data").mkdir()
    for year in (2024, 2026):
        hgnc.write_table(tmp_path / "source.txt", date=datetime.date(year, 1, 31), folder=tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["hgnc_2026-01-31.tsv.gz"]


def test_a_table_that_is_not_hgncs_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("Approved symbol\tStatus\nA\tApproved\n")
    (tmp_path / "hgnc_2024-07-23.tsv.gz").touch()
    with pytest.raises(InputError, match=r"source.txt: expected column 'Previous symbols' and 'Alias symbols'"):
        hgnc.write_table(tmp_path / "source.txt", date=DATE, folder=tmp_path)
    assert (tmp_path / "hgnc_2024-07-23.tsv.gz").exists()


def test_the_shipped_table_is_dated_and_says_where_it_is_from() -> None:
    path = hgnc.shipped_table()
    assert datetime.date.fromisoformat(hgnc.date_of(path)) >= DATE
    assert len(hgnc.read_entries(path)) > 40_000
    about = (hgnc.FOLDER / "README.md").read_text(encoding="utf-8")
    assert hgnc.date_of(path) in about
    assert "CC0 1.0" in about
