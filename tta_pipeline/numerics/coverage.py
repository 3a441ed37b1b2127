"""What of each gene set was measured, under which name, and what is missing."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

_COUNTS = ("genes", "available", "renamed", "repeated")
_MOST_RENAMED = 3


@dataclass(frozen=True)
class Coverage:
    """A gene set and the rows of an expression matrix, brought together by one name for each gene.

    genes: all genes of the set, each once, in its order. available: those that were measured. renamed: available genes
    that the matrix writes otherwise than the set: name in the set -> name in the matrix. repeated: available genes with
    several rows in the matrix. missing: names, as the set writes them, of the genes that were not measured.
    """

    genes: list[str]
    available: list[str]
    renamed: dict[str, str]
    repeated: list[str]
    missing: list[str]


def cover(
    gene_sets: Mapping[str, Sequence[str]], *, measured: Sequence[str], name: Callable[[str], str]
) -> dict[str, Coverage]:
    """Coverage of each set.

    Parameters
    ----------
    gene_sets
        Names of genes as the sets write them.
    measured
        Names of genes as the matrix writes them, one for each of its rows.
    name
        The one name of a gene, however it is written.
    """
    rows = Counter(map(name, measured))
    written = {name(label): label for label in reversed(measured)}
    written |= {label: label for label in measured if name(label) == label}  # the row of the approved symbol counts
    labels = set(measured)
    return {
        title: _cover(genes, rows=rows, written=written, labels=labels, name=name) for title, genes in gene_sets.items()
    }


def _cover(
    members: Sequence[str],
    *,
    rows: Mapping[str, int],
    written: Mapping[str, str],
    labels: set[str],
    name: Callable[[str], str],
) -> Coverage:
    named = {name(label): label for label in reversed(members)}
    # Where a row bears the approved symbol, it alone counts.
    same = {name(label) for label in members if label in labels and (label == name(label) or name(label) not in labels)}
    genes = list(dict.fromkeys(map(name, members)))
    available = [gene for gene in genes if gene in rows]
    return Coverage(
        genes=genes,
        available=available,
        renamed={named[gene]: written[gene] for gene in available if gene not in same},
        repeated=[gene for gene in available if rows[gene] > 1],
        missing=[named[gene] for gene in genes if gene not in rows],
    )


def kept_sets(covered: Mapping[str, Coverage], *, min_genes: int, min_coverage: float) -> dict[str, list[str]]:
    """Available genes of the sets that have at least `min_genes` and the part `min_coverage` of theirs."""
    return {
        title: own.available
        for title, own in covered.items()
        if len(own.available) >= max(min_genes, min_coverage * len(own.genes))
    }


def share(table: pd.DataFrame) -> float:
    """Part of the genes of all sets of a coverage table that were measured; NaN without genes."""
    genes = int(table["genes"].sum())
    return float(table["available"].sum() / genes) if genes else float("nan")


def sentence(table: pd.DataFrame) -> str:
    """Totals of a coverage table in words; a gene of two sets counts twice."""
    genes, available, renamed, repeated = (int(table[name].sum()) for name in _COUNTS)
    pairs = list(dict.fromkeys(pair for cell in table["renamed_genes"] if cell for pair in cell.split(";")))
    shown = ", ".join(pair.replace("=", " as ") for pair in pairs[:_MOST_RENAMED])
    others = f" ({shown}{', ...' if len(pairs) > _MOST_RENAMED else ''})" if pairs else ""
    return (
        f"{genes:,} in {len(table):,} sets, one of two sets counted twice; {available:,} ({share(table):.0%}) were "
        f"measured, {renamed:,} of them under another name{others}, {repeated:,} in several rows; "
        f"{genes - available:,} are missing"
    )


def most_missing(table: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """Rows of the sets that miss the largest number of genes, the worst first; none of sets that miss nothing."""
    missing = table["genes"] - table["available"]
    worst = missing[missing > 0].sort_values(ascending=False, kind="stable")
    return table.assign(missing=missing).loc[worst.index[:most]]
