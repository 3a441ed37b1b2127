"""One name for each gene: the approved symbol, by HGNC's table."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from tta_pipeline.io import hgnc
from tta_pipeline.io.gene_labels import is_date, plain, refuse_dates


class GeneNames:
    """Gives genes their approved symbols.

    An Ensembl identifier loses its version. With a table, identifiers of Ensembl and Entrez become symbols, a former
    symbol becomes the one that replaced it, then an alias the one it stands for: matrices and gene sets are written in
    the symbols that were approved in their day, and a former symbol counts more than an alias of another gene. A name
    that is approved, that stands for several genes, or for none, stays as it is.

    source: what gives the names, for messages.
    """

    def __init__(self, symbols: dict[str, str], *, source: str):
        self._symbols = symbols
        self.source = source

    def __call__(self, name: str) -> str:
        """The symbol of a gene."""
        short = plain(name)
        return self._symbols.get(short, short)


def read_gene_names(table: Literal["hgnc"] | Path | None) -> GeneNames:
    """Read the table that is shipped, or one of HGNC's; None knows no symbols and takes versions away alone.

    Raises
    ------
    InputError
        The file lacks a column, or a spreadsheet has turned symbols into dates.
    """
    if table is None:
        return GeneNames({}, source="null: no table")
    if table == "hgnc":
        return _shipped()
    entries = hgnc.read_entries(table)
    dates = [(cell, f"in the entry of {entry[0]}") for entry in entries for cell in entry[:2] if is_date(cell)]
    refuse_dates(dates, path=table)
    return GeneNames(_symbols(entries), source=str(table))


@cache
def _shipped() -> GeneNames:
    path = hgnc.shipped_table()
    return GeneNames(_symbols(hgnc.read_entries(path)), source=f"HGNC of {hgnc.date_of(path)}")


def _symbols(entries: Iterable[tuple[str, ...]]) -> dict[str, str]:
    symbols, former, alias, entrez, ensembl = zip(*entries, strict=True)
    known: dict[str, str] = {}
    for column in (alias, former, entrez, ensembl, symbols):  # the later ones count more
        known |= _unambiguous(zip(column, symbols, strict=True))
    return known


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Symbol of each name; a name of several genes stands for itself."""
    found: dict[str, str] = {}
    for cell, symbol in pairs:
        for name in filter(None, cell.split(hgnc.SEPARATOR)):
            if found.setdefault(name, symbol) != symbol:
                found[name] = name
    return found
