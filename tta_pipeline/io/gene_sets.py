"""Gene sets that a user brings: GMT, or a table with one column per set."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import hgnc, sheets
from tta_pipeline.io.gene_labels import is_date, plain, refuse_dates

GeneSets = dict[str, list[str]]
_Named = list[tuple[str, list[tuple[str, int]]]]  # name of each set, its genes and their lines in the file


def read_gene_sets(path: Path) -> GeneSets:
    """Genes of each set as they are written, in the order of the file; a name that stands twice in a set is kept once.

    Identifiers of Ensembl lose their version.

    Parameters
    ----------
    path
        `.gmt` or `.gmt.gz`: a line per set holding name, description and genes, separated by tabs. A folder: all such
        files in it, in the order of their names. Any other name: CSV or TSV with a set's name over each column and its
        genes below; empty cells are skipped.

    Raises
    ------
    InputError
        No set, a set without a name or without genes, two sets of one name, a gene's name that is a date, or a GMT
        with genes where descriptions should be.
    """
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if _is_gmt(each))
        named = [found for each in files for found in _read_file(each)]
    else:
        named = _read_file(path)
    if not named:
        raise InputError(f"{path}: expected gene sets, found none.")
    twice = sheets.first_duplicates(title for title, _ in named)
    if twice:
        raise InputError(
            f"{path}: expected each gene set once, found {sheets.listed(twice)} more than once. Rename or drop one."
        )
    gene_sets = {title: _distinct(genes) for title, genes in named}
    empty = [title for title, genes in gene_sets.items() if not genes]
    if empty:
        raise InputError(
            f"{path}: expected genes in each set, found none in {sheets.listed(empty)}. Fill them in, or drop them."
        )
    return gene_sets


def _is_gmt(path: Path) -> bool:
    return path.name.lower().endswith((".gmt", ".gmt.gz"))


def _read_file(path: Path) -> _Named:
    named = _read_gmt(path) if _is_gmt(path) else _read_columns(path)
    dates = [(gene, f"set {title}, line {line}") for title, genes in named for gene, line in genes if is_date(gene)]
    refuse_dates(dates, path=path)
    return named


def _read_gmt(path: Path) -> _Named:
    named, described = [], []
    with sheets.open_text(path) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            name, *rest = (cell.strip() for cell in line.rstrip("\r\n").split("\t"))
            if len(rest) < 2:
                raise InputError(
                    f"{path}: expected name, description and genes, separated by tabs, in line {number}, found "
                    f"{len(rest) + 1} fields: {name[:60]!r}. Mend that line."
                )
            if not name:
                raise InputError(f"{path}: expected the name of a gene set at the start of line {number}, found none.")
            named.append((name, [(gene, number) for gene in rest[1:]]))
            described.append((number, rest[0], rest[1:]))
    _refuse_genes_as_descriptions(described, path=path)
    return named


def _refuse_genes_as_descriptions(described: Sequence[tuple[int, str, Sequence[str]]], *, path: Path) -> None:
    """Stop where most descriptions are genes: the file has none, and the first gene of each set would be lost."""
    genes = {gene for _, _, own in described for gene in own}
    suspects = [(line, text) for line, text, _ in described if text and " " not in text and "://" not in text]
    if not suspects or 2 * len(suspects) < len(described):
        return
    genes |= _approved_symbols()
    found = [f"{text} (line {line})" for line, text in suspects if plain(text) in genes]
    if 2 * len(found) >= len(described):
        raise InputError(
            f"{path}: expected a description after the name of each set, found genes in {len(found)} of "
            f"{len(described)} lines: {sheets.listed(found, most=3)}. A line holds name, description and genes; write "
            "na where there is no description."
        )


@cache
def _approved_symbols() -> frozenset[str]:
    return frozenset(entry[0] for entry in hgnc.read_entries(hgnc.shipped_table()))


def _read_columns(path: Path) -> _Named:
    rows = sheets.read_rows(path)
    _, names = next(rows)
    if "" in names:
        raise InputError(
            f"{path}: expected the name of a gene set over each column, found none over column {names.index('') + 1}. "
            "Name the set, or drop the column if it only numbers the rows."
        )
    columns: list[list[tuple[str, int]]] = [[] for _ in names]
    for line, cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            column.append((cell.strip(), line))
    return list(zip(names, columns, strict=True))


def _distinct(genes: Iterable[tuple[str, int]]) -> list[str]:
    return list(dict.fromkeys(plain(gene) for gene, _ in genes if not sheets.is_missing(gene)))
