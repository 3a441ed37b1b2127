"""Expression matrices as text: which way round they are, their labels, and the values of some samples and genes.

Patients in rows: first column the sample, every other a gene. Genes in rows: first column the gene, every other a
sample (UCSC Xena); cBioPortal puts `Hugo_Symbol` and `Entrez_Gene_Id` first. Only wanted cells become numbers.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets
from tta_pipeline.io.wide_tables import read_lazy_rows

Layout = Literal["patients-in-rows", "genes-in-rows"]
Values = NDArray[np.float32]
_GENE_COLUMNS = ("hugo_symbol", "entrez_gene_id", "entrez_id", "cytoband")
_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}([-.].*)?")


@dataclass(frozen=True)
class TextMatrix:
    """A matrix in a text file, of which the labels have been read.

    samples, genes: labels in the order of the file; a gene's may come twice, or be empty where it has no symbol.
    leading: columns before the values. lines: of the file, one for each row.
    """

    path: Path
    layout: Layout
    samples: list[str]
    genes: list[str]
    leading: int
    lines: list[int]

    def place_of(self, gene: int) -> str:
        """Column or line of a gene's name."""
        if self.layout == "patients-in-rows":
            return f"column {self.leading + gene + 1}"
        return f"line {self.lines[gene]}"

    def read(self, samples: Sequence[int], genes: Sequence[int]) -> Values:
        """Values of the samples and genes at these positions, float32 (samples, genes)."""
        if self.layout == "patients-in-rows":
            return self._read(rows=samples, columns=genes, row_labels=self.samples, column_labels=self.genes)
        return self._read(rows=genes, columns=samples, row_labels=self.genes, column_labels=self.samples).T

    def _read(
        self, *, rows: Sequence[int], columns: Sequence[int], row_labels: list[str], column_labels: list[str]
    ) -> Values:
        place = {row: number for number, row in enumerate(rows)}
        values = np.empty((len(rows), len(columns)), dtype=np.float32)
        row_is, column_is = ("patient", "gene") if self.layout == "patients-in-rows" else ("gene", "sample")
        for row, found in enumerate(read_lazy_rows(self.path)):
            if row in place:
                cells = found.cells()
                values[place[row]] = _numbers(
                    [cells[self.leading + column] for column in columns],
                    where=f"{self.path}: line {found.line}: {row_is} {row_labels[row]}, {column_is}",
                    names=[column_labels[column] for column in columns],
                )
        return values


def open_matrix(path: Path, *, layout: Layout | None) -> TextMatrix:
    """Read the labels of a matrix.

    Parameters
    ----------
    layout
        None finds it: genes in rows where most columns are named by TCGA barcodes or the first is `Hugo_Symbol`.

    Raises
    ------
    InputError
        The file is no table, or a label is missing.
    """
    _, header = next(sheets.read_rows(path))
    named = [name.lower() for name in header]
    leading = next((at for at, name in enumerate(named) if name not in _GENE_COLUMNS), len(header)) or 1
    barcodes = sum(bool(_BARCODE.fullmatch(name)) for name in header[leading:])
    if layout is None:
        by_genes = named[0] in _GENE_COLUMNS or 2 * barcodes > len(header) - leading
        layout = "genes-in-rows" if by_genes else "patients-in-rows"
    across = header[leading:]
    if "" in across:
        what = "gene" if layout == "patients-in-rows" else "sample"
        column = leading + across.index("") + 1
        raise InputError(f"{path}: expected a {what} name over each column, found none over column {column}.")
    numbers = [name for name in across if "." in name and not math.isnan(sheets.number(name))]
    if numbers:
        raise InputError(
            f"{path}: expected names over the columns, found numbers: {sheets.listed(numbers, most=3)}. Put the header "
            "into the first line; it seems to be missing."
        )
    down, lines = [], []
    for row in read_lazy_rows(path):
        label = row.label.strip()
        if layout == "patients-in-rows" and sheets.is_missing(label):
            raise InputError(
                f"{path}: expected a patient in the first column, found {row.label!r} in line {row.line}. Fill it in."
            )
        down.append(label if not sheets.is_missing(label) else "")
        lines.append(row.line)
    if not across or not down:
        raise InputError(
            f"{path}: expected a matrix of samples and genes, found {len(down)} rows of {len(across)} values. Check "
            "that this is the file that you mean."
        )
    samples, genes = (down, across) if layout == "patients-in-rows" else (across, down)
    return TextMatrix(path=path, layout=layout, samples=samples, genes=genes, leading=leading, lines=lines)


def _numbers(cells: list[str], *, where: str, names: list[str]) -> Values:
    try:
        values = np.array(cells, dtype=np.float64)
        if "_" in "".join(cells):  # NumPy reads 1_000
            raise ValueError
    except ValueError:
        values = np.array([sheets.number(cell) for cell in cells])
    largest = np.finfo(np.float32).max
    bad = ~(np.abs(values) <= largest)  # true for NaN and infinity too
    if bad.any():
        worst = int(bad.argmax())
        raise InputError(
            f"{where} {names[worst]}: expected a finite number, found {sheets.shown(cells[worst])}. "
            f"Such values in this row: {int(bad.sum())}. Fill the value in, or drop the patient or the gene."
        )
    return values.astype(np.float32)
