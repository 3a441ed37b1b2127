"""Expression matrices as Parquet and as AnnData's .h5ad: samples in rows, genes in columns."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import hdf5, sheets

SUFFIXES = (".parquet", ".h5ad")


@dataclass(frozen=True)
class ArrayMatrix:
    """A matrix of which the labels have been read."""

    path: Path
    samples: list[str]
    genes: list[str]

    def place_of(self, gene: int) -> str:
        """Column of a Parquet file, or row of an .h5ad file's var, that has a gene's name."""
        if self.path.suffix == ".h5ad":
            return f"row {gene + 1} of var"
        columns = _arrow_file(self.path).schema.names
        return f"column {columns.index(self.genes[gene]) + 1}"

    def read(self, samples: Sequence[int], genes: Sequence[int]) -> NDArray[np.float32]:
        """Values of the samples and genes at these positions, float32 (samples, genes)."""
        read = _parquet_values if self.path.suffix == ".parquet" else _h5ad_values
        values = read(self, genes)[np.asarray(samples, dtype=np.int64)].astype(np.float32)
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = (int(place) for place in np.argwhere(bad)[0])
            raise InputError(
                f"{self.path}: patient {self.samples[samples[row]]}, gene {self.genes[genes[column]]}: expected a "
                f"finite number, found {values[row, column]} ({int(bad.sum())} such values). Fill them in."
            )
        return values


def open_arrays(path: Path) -> ArrayMatrix:
    """Read the labels of a .parquet file, whose first column or index names the samples, or of an .h5ad file.

    Raises
    ------
    InputError
        The file is missing or of another kind, or pyarrow is not installed for a Parquet file.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found nothing. Check the path in the config's inputs.")
    if path.suffix == ".parquet":
        columns = _arrow_file(path).schema.names
        names = _table(path, [columns[_label_column(columns)]]).column(0).to_pylist()
        genes = [name for number, name in enumerate(columns) if number != _label_column(columns)]
        return ArrayMatrix(path, [str(name) for name in names], genes)
    try:
        with hdf5.open_hdf5(path) as file:
            return ArrayMatrix(path, _labels(file, "obs"), _labels(file, "var"))
    except (ArtifactError, KeyError) as error:
        raise InputError(f"{path}: expected an .h5ad file with X, obs and var, found: {error}") from error


def _label_column(columns: Sequence[str]) -> int:
    """Pandas writes an index last, under this name; else the first column names the samples."""
    return len(columns) - 1 if columns[-1].startswith("__index_level_") else 0


def _arrow_file(path: Path) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            f"{path}: expected the package pyarrow to read Parquet, found none. Install it with: pip install pyarrow"
        ) from error
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: expected a Parquet file, found: {error}") from error


def _table(path: Path, columns: list[str]) -> Any:
    return _arrow_file(path).read(columns=columns)


def _parquet_values(matrix: ArrayMatrix, genes: Sequence[int]) -> NDArray[Any]:
    names = [matrix.genes[gene] for gene in genes]
    table = _table(matrix.path, names)
    try:
        columns = [np.asarray(table.column(name).to_numpy(), dtype=np.float64) for name in names]
    except (ValueError, TypeError) as error:
        raise InputError(f"{matrix.path}: expected numbers in the columns of genes, found: {error}") from error
    return np.stack(columns, axis=1) if columns else np.empty((len(matrix.samples), 0))


def _labels(file: h5py.File, name: str) -> list[str]:
    group = file[name]
    return list(group[group.attrs["_index"]].asstr()[()])


def _h5ad_values(matrix: ArrayMatrix, genes: Sequence[int]) -> NDArray[Any]:
    with hdf5.open_hdf5(matrix.path) as file:
        values = file["X"]
        if isinstance(values, h5py.Dataset):
            return np.asarray(values[()][:, list(genes)])
        encoding = values.attrs.get("encoding-type", "")
        sparse = {"csr_matrix": "csr_matrix", "csc_matrix": "csc_matrix"}.get(encoding)
        if sparse is None:
            raise InputError(
                f"{matrix.path}: expected X as an array or as a csr or csc matrix, found "
                f"{encoding or sheets.listed(values)}."
            )
        parts = values["data"][()], values["indices"][()], values["indptr"][()]
        shape = (len(matrix.samples), len(matrix.genes))
        found = getattr(importlib.import_module("scipy.sparse"), sparse)(parts, shape=shape)
        return np.asarray(found.tocsc()[:, list(genes)].toarray())
