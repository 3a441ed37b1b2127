"""One name for each gene: the approved symbol, by the HGNC's table that a user brings."""

import re
from collections.abc import Iterable
from pathlib import Path

from tta_pipeline.io import sheets

_ENSEMBL = re.compile(r"(ENSG\d{11})\.\d+")
_COLUMNS = ("symbol", "prev_symbol", "alias_symbol", "entrez_id", "ensembl_gene_id")
_SEPARATOR = "|"


class GeneNames:
    """Gives genes their approved symbols.

    An Ensembl identifier loses its version. With a table, identifiers of Ensembl and Entrez become symbols, a former
    symbol becomes the one that replaced it, then an alias the one it stands for; a name that stands for several genes,
    or for none, stays as it is.
    """

    def __init__(self, symbols: dict[str, str]):
        self._symbols = symbols

    def __call__(self, name: str) -> str:
        """The symbol of a gene."""
        found = _ENSEMBL.fullmatch(name)
        plain = found.group(1) if found else name
        return self._symbols.get(plain, plain)


def read_gene_names(path: Path | None) -> GeneNames:
    """Read HGNC's complete set (hgnc_complete_set.txt); None knows no symbols and takes versions away alone.

    Raises
    ------
    InputError
        The file lacks a column.
    """
    if path is None:
        return GeneNames({})
    table = sheets.read_sheet(path)
    sheets.require_columns(table.columns, _COLUMNS, path=path, hint="It is HGNC's hgnc_complete_set.txt.")
    symbols: dict[str, str] = {}
    for former in ("symbol", "ensembl_gene_id", "entrez_id", "prev_symbol", "alias_symbol"):
        found = _unambiguous(zip(table[former], table["symbol"], strict=True))
        symbols = found | symbols  # what is known already counts more
    return GeneNames(symbols)


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    several = set()
    for cell, symbol in pairs:
        for name in filter(None, (part.strip().strip('"') for part in cell.split(_SEPARATOR))):
            if found.setdefault(name, symbol) != symbol:
                several.add(name)
    return {name: symbol for name, symbol in found.items() if name not in several}
