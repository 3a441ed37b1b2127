"""Gene counts of GDC's STAR workflow: one file per aliquot, and the sample sheet that says whose they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets

_SHEET = ("File ID", "File Name", "Sample ID")
_SUFFIXES = (".rna_seq.augmented_star_gene_counts.tsv", ".tsv", ".tsv.gz")
_SUMMARY = "N_"  # N_unmapped, N_multimapping, ...: counts of reads, no genes
_SECOND_COPY = "_PAR_Y"  # genes of the pseudoautosomal regions, once more on Y, always 0


@dataclass(frozen=True)
class StarCounts:
    """The files of a folder that a sample sheet names.

    samples: sample barcode and file identifier, by which the aliquots of a sample are told apart. column: the values.
    """

    files: tuple[Path, ...]
    samples: list[str]
    column: str

    @cached_property
    def genes(self) -> list[str]:
        """Symbols, in the order of the first file."""
        return [name for _, name, _ in self._rows(self.files[0])]

    def place_of(self, gene: int) -> str:
        """Line of a gene's name in the first file."""
        line, _, _ = self._rows(self.files[0])[gene]
        return f"line {line} of {self.files[0].name}"

    def read(self, samples: Sequence[int], genes: Sequence[int]) -> NDArray[np.float32]:
        """Values, float32 (samples, genes).

        Raises
        ------
        InputError
            A file has other genes than the first, or a value that is no number.
        """
        values = np.empty((len(samples), len(genes)), dtype=np.float32)
        for number, sample in enumerate(samples):
            path = self.files[sample]
            rows = self._rows(path)
            if [name for _, name, _ in rows] != self.genes:
                raise InputError(
                    f"{path}: expected the genes of {self.files[0]} in their order, found others. Use files of one GDC "
                    "release and gene model."
                )
            values[number] = [self._number(*rows[gene], path=path) for gene in genes]
        return values

    def _number(self, line: int, gene: str, cell: str, *, path: Path) -> float:
        value = sheets.number(cell)
        if not math.isfinite(value):
            raise InputError(
                f"{path}: line {line}, column {self.column}, gene {gene}: expected a finite number, found "
                f"{sheets.shown(cell)}. Download the file again."
            )
        return value

    def _rows(self, path: Path) -> list[tuple[int, str, str]]:
        """Line, symbol and value of each gene."""
        rows = sheets.read_rows(path)
        _, header = next(rows)
        sheets.require_columns(
            header, ["gene_id", "gene_name", self.column], path=path, hint="Set inputs.expression_column."
        )
        identifier, name, value = (header.index(column) for column in ("gene_id", "gene_name", self.column))
        return [
            (line, cells[name], cells[value])
            for line, cells in rows
            if not cells[identifier].startswith(_SUMMARY) and not cells[identifier].endswith(_SECOND_COPY)
        ]


def open_star_counts(folder: Path, *, sample_sheet: Path | None, column: str) -> StarCounts:
    """Find the files of a GDC download, each in a folder named by its identifier or all in one.

    Raises
    ------
    InputError
        There is no sample sheet, or files that it names are missing.
    """
    if sample_sheet is None:
        raise InputError(
            f"{folder}: expected a sample sheet beside a folder of GDC counts (inputs.expression_samples), found none. "
            "Download it from the GDC cart."
        )
    sheet = sheets.read_sheet(sample_sheet)
    sheets.require_columns(sheet.columns, _SHEET, path=sample_sheet, hint="It is GDC's gdc_sample_sheet.tsv.")
    wanted = sheet[[str(name).endswith(_SUFFIXES) for name in sheet["File Name"]]]
    files, samples, missing = [], [], []
    for file_id, name, sample in wanted[list(_SHEET)].itertuples(index=False):
        if len(Path(file_id).parts) > 1 or len(Path(name).parts) > 1 or ".." in (file_id, name):
            raise InputError(
                f"{sample_sheet}: expected names of files and of their folders, found {file_id!r} and {name!r}. "
                "Download the sheet again from the GDC cart."
            )
        places = [folder / file_id / name, folder / name]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            missing.append(f"{file_id}/{name}")
            continue
        files.append(found)
        samples.append(f"{sample} {file_id}")
    if missing or not files:
        raise InputError(
            f"{sample_sheet}: expected its {len(wanted)} count files under {folder}, found {len(files)}; missing: "
            f"{sheets.listed(missing, most=3) or 'all'}. Download them again, or correct the sheet."
        )
    return StarCounts(files=tuple(files), samples=samples, column=column)
