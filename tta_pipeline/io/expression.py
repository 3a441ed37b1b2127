"""The expression that a user brings: one sample per patient, checked against its declared unit.

Formats: text with patients or genes in rows, plain or gzipped (case x gene tables, UCSC Xena, cBioPortal); a folder of
GDC's STAR counts with its sample sheet; Parquet; AnnData's .h5ad.
"""

import logging
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io import expression_arrays, sheets
from tta_pipeline.io.expression_tables import open_matrix
from tta_pipeline.io.gdc_counts import open_star_counts
from tta_pipeline.io.gene_labels import is_date, plain, refuse_dates
from tta_pipeline.io.gene_names import read_gene_names
from tta_pipeline.io.samples import LeftOut, choose

log = logging.getLogger(__name__)

Unit = Literal["log2", "linear", "counts", "z-scores"]
# log2(x + 0.001) of nothing is -9.97; more than 2**30 reads of one gene there are not.
_LOG_LIMITS = (-10.5, 30.0)
# Linear values and counts of whole cohorts go far beyond this; no logarithm does.
_LINEAR_REACHES = 50.0


class Matrix(Protocol):
    """Expression of which the labels have been read."""

    @property
    def samples(self) -> list[str]:
        """Labels of the samples, in the order of the file."""

    @property
    def genes(self) -> list[str]:
        """Names of the genes, in the order of the file; may repeat, or be empty."""

    def place_of(self, gene: int) -> str:
        """Where the name of the gene at this position stands in the file, for a message."""

    def read(self, samples: Sequence[int], genes: Sequence[int]) -> NDArray[np.float32]:
        """Values at these positions, (samples, genes)."""


def open_expression(inputs: Inputs) -> Matrix:
    """Read the labels of the study's expression, as they stand in the file.

    Raises
    ------
    InputError
        It is missing or of an unknown format, or a gene's name is a date.
    """
    if not inputs.expression.is_file():
        return _checked(inputs)
    written = inputs.expression.stat()
    return _labels(inputs, (written.st_mtime_ns, written.st_size))


@lru_cache(maxsize=1)
def _labels(inputs: Inputs, written: tuple[int, int]) -> Matrix:  # noqa: ARG001 (another state of the file is another key)
    """Labels of a large matrix cost seconds, and several readers of one process want them."""
    return _checked(inputs)


def _checked(inputs: Inputs) -> Matrix:
    matrix = _open(inputs)
    dates = [(gene, matrix.place_of(at)) for at, gene in enumerate(matrix.genes) if is_date(gene)]
    refuse_dates(dates, path=inputs.expression)
    return matrix


def _open(inputs: Inputs) -> Matrix:
    path = inputs.expression
    if path.is_dir():
        return open_star_counts(path, sample_sheet=inputs.expression_samples, column=inputs.expression_column)
    if path.suffix in expression_arrays.SUFFIXES:
        return expression_arrays.open_arrays(path)
    return open_matrix(path, layout=None if inputs.expression_layout == "auto" else inputs.expression_layout)


def read_expression_index(inputs: Inputs) -> tuple[list[str], list[LeftOut]]:
    """Patients with a usable sample, in the order of the file, and the samples that are not used; no value is read."""
    kept, left_out = choose(open_expression(inputs).samples, types=inputs.sample_types)
    return list(kept), left_out


def read_genes(inputs: Inputs) -> list[str]:
    """Names of the genes as they stand in the file, in its order, without the versions of identifiers; may repeat."""
    return [plain(gene) for gene in open_expression(inputs).genes if gene]


def read_expression(
    inputs: Inputs, *, patients: Collection[str] | None = None, genes: Collection[str] | None = None
) -> pd.DataFrame:
    """Expression of patients on a logarithmic scale, or as z-scores.

    Parameters
    ----------
    inputs
        Where it is, its unit (`expression_unit`) and which samples count (`sample_types`).
    patients, genes
        What to read, genes by the symbols that `inputs.gene_names` gives; None reads all. Only these cells are read as
        numbers and checked.

    Returns
    -------
    DataFrame
        float32, patients x genes, in the order of the file. "log2" and "z-scores" as they stand; "linear" as
        log2(x + 1); "counts" as log2 of counts per million of the sample's counts, plus 1. Several rows of one gene
        count as one: that of its approved symbol, else their mean, which no other patient has a part in.

    Raises
    ------
    InputError
        A patient or gene is absent, a value is no finite number, or the values are not of their unit.
    """
    path = inputs.expression
    matrix = open_expression(inputs)
    symbols = list(map(read_gene_names(inputs.gene_names), matrix.genes))
    kept, _ = choose(matrix.samples, types=inputs.sample_types)
    _check_known(patients, list(kept), what="patients", path=path)
    _check_known(genes, symbols, what="genes", path=path)
    samples = {name: at for name, at in kept.items() if patients is None or name in patients}
    columns = [at for at, gene in enumerate(symbols) if gene and (genes is None or gene in genes)]
    if inputs.expression_unit == "counts":
        values = _per_million(matrix, list(samples.values()), columns, path=path)
    else:
        values = matrix.read(list(samples.values()), columns)
        values = in_log2(values, unit=inputs.expression_unit, where=str(path))
    table = pd.DataFrame(values, index=list(samples), columns=[symbols[column] for column in columns])
    return _one_column_each(table, written=[plain(matrix.genes[column]) for column in columns], path=path)


def in_log2(values: NDArray[np.float32], *, unit: Unit, where: str) -> NDArray[np.float32]:
    """Check values against their unit, and put them on a logarithmic scale."""
    if values.size == 0 or unit == "z-scores":
        return values
    low, high = float(values.min()), float(values.max())
    if unit == "log2":
        if low < _LOG_LIMITS[0] or high > _LOG_LIMITS[1]:
            raise InputError(
                f"{where}: expected logarithms to base 2 (inputs.expression_unit: log2), {_LOG_LIMITS[0]:g} to "
                f"{_LOG_LIMITS[1]:g}, found {low:g} to {high:g}: these are no logarithms. Declare expression_unit: "
                "linear (TPM, FPKM, RSEM) or counts."
            )
        return values
    whole = bool((values == np.round(values)).all()) or unit != "counts"
    if low < 0 or high < _LINEAR_REACHES or not whole:
        fractions = "" if whole else ", with fractions"
        raise InputError(
            f"{where}: expected {unit} (inputs.expression_unit), 0 or more and beyond {_LINEAR_REACHES:g}"
            f"{' in whole numbers' if unit == 'counts' else ''}, found {low:g} to {high:g}{fractions}. Declare "
            f"expression_unit: {'linear' if high >= _LINEAR_REACHES and low >= 0 else 'log2 or z-scores'}."
        )
    return values if unit == "counts" else np.log2(values + 1)


def _per_million(matrix: Matrix, samples: Sequence[int], genes: Sequence[int], *, path: Path) -> NDArray[np.float32]:
    everything = matrix.read(samples, range(len(matrix.genes)))
    in_log2(everything, unit="counts", where=str(path))
    total = everything.sum(axis=1, keepdims=True, dtype=np.float64)  # (samples, 1)
    if (total == 0).any():
        empty = matrix.samples[samples[int((total == 0).argmax())]]
        raise InputError(f"{path}: expected counts of each sample, found none of {empty}. Leave the sample out.")
    return np.asarray(np.log2(everything[:, list(genes)] / total * 1e6 + 1), dtype=np.float32)


def _one_column_each(table: pd.DataFrame, *, written: Sequence[str], path: Path) -> pd.DataFrame:
    """One column of each gene: the mean of those that bear its approved symbol, else of all.

    A choice among the columns by their values would be fitted on every patient of the matrix, those tested included.

    written: what the matrix calls each column.
    """
    if not table.columns.has_duplicates:
        return table
    columns_of: dict[str, list[int]] = {}
    for column, gene in enumerate(table.columns):
        columns_of.setdefault(gene, []).append(column)
    repeated = [gene for gene, columns in columns_of.items() if len(columns) > 1]
    for gene in repeated:
        columns_of[gene] = [column for column in columns_of[gene] if written[column] == gene] or columns_of[gene]
    said = "%s: %d genes have several rows; used is the one of the approved symbol, else their mean: %s"
    names = (f"{gene} by {' and '.join(written[column] for column in columns_of[gene])}" for gene in repeated)
    log.info(said, path, len(repeated), sheets.listed(names))
    merged = table.iloc[:, [columns[0] for columns in columns_of.values()]].copy()
    for place, columns in enumerate(columns_of.values()):
        if len(columns) > 1:
            merged.isetitem(place, table.iloc[:, columns].to_numpy().mean(axis=1, dtype=np.float64).astype(np.float32))
    return merged


def _check_known(wanted: Collection[str] | None, found: list[str], *, what: str, path: Path) -> None:
    missing = sorted(set(wanted or ()) - set(found))
    if missing:
        raise InputError(
            f"{path}: expected {what} {sheets.listed(missing)}, found {len(found)} {what} without them "
            f"({sheets.listed(found, most=3)}). Run the cohort stage on this file."
        )
