"""The expression matrix that a user brings: patients in rows, genes in columns."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets


def read_expression_index(path: Path) -> list[str]:
    """Identifiers of the patients, the first column, in file order; no value is read.

    Raises
    ------
    InputError
        The file is no table, or a patient is missing or twice in it.
    """
    rows = sheets.read_rows(path)
    next(rows)
    names = [_patient(cells, line=line, path=path) for line, cells in rows]
    _check_patients(names, path)
    return names


def read_genes(path: Path) -> list[str]:
    """Names of the genes, all columns but the first, in file order.

    Raises
    ------
    InputError
        The file is no table, or a gene is without a name or twice in it.
    """
    _, header = next(sheets.read_rows(path))
    if "" in header[1:]:
        raise InputError(
            f"{path}: expected a gene name over each column, found none over column {header.index('', 1) + 1}."
        )
    return header[1:]


def read_expression(
    path: Path, *, patients: Collection[str] | None = None, genes: Collection[str] | None = None
) -> pd.DataFrame:
    """Values of the matrix as they stand in the file.

    Parameters
    ----------
    path
        CSV or TSV, gzipped or not: first column the patient, every other column a gene.
    patients, genes
        What to read; None reads all. Only these cells are read as numbers and checked.

    Returns
    -------
    DataFrame
        float32, patients x genes, in the order of the file.

    Raises
    ------
    InputError
        A patient or gene is missing or twice in the file, or a value is not a finite number.
    """
    names = read_genes(path)
    _check_known(genes, names, what="genes", path=path)
    columns = [column for column, name in enumerate(names, start=1) if genes is None or name in genes]
    rows = sheets.read_rows(path)
    next(rows)
    everyone: list[str] = []
    values: dict[str, NDArray[np.float32]] = {}
    for line, cells in rows:
        patient = _patient(cells, line=line, path=path)
        everyone.append(patient)
        if patients is None or patient in patients:
            values[patient] = _numbers(
                [cells[column] for column in columns],
                genes=[names[column - 1] for column in columns],
                where=f"{path}: patient {patient}",
            )
    _check_patients(everyone, path)
    _check_known(patients, everyone, what="patients", path=path)
    matrix = np.stack(list(values.values())) if values else np.empty((0, len(columns)), np.float32)
    return pd.DataFrame(matrix, index=list(values), columns=[names[column - 1] for column in columns])


def _numbers(cells: list[str], *, genes: list[str], where: str) -> NDArray[np.float32]:
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    largest = np.finfo(np.float32).max
    bad = ~(np.abs(values) <= largest)  # true for NaN and infinity too
    if bad.any():
        worst = int(bad.argmax())
        raise InputError(
            f"{where}, gene {genes[worst]}: expected a finite number, found {cells[worst]!r} "
            f"({int(bad.sum())} such values in this row). Fill the value in, or drop the patient or the gene."
        )
    return values.astype(np.float32)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _patient(cells: list[str], *, line: int, path: Path) -> str:
    patient = cells[0].strip()
    if sheets.is_missing(patient):
        raise InputError(f"{path}: expected a patient in the first column, found {cells[0]!r} in line {line}.")
    return patient


def _check_patients(names: list[str], path: Path) -> None:
    twice = sheets.first_duplicates(names)
    if twice:
        raise InputError(
            f"{path}: expected one row per patient, found more for {len(twice)}: {sheets.listed(twice)}. "
            "Keep one primary tumour sample of each patient."
        )


def _check_known(wanted: Collection[str] | None, found: list[str], *, what: str, path: Path) -> None:
    missing = sorted(set(wanted or ()) - set(found))
    if missing:
        raise InputError(
            f"{path}: expected {what} {sheets.listed(missing)}, found {len(found)} {what} without them "
            f"({sheets.listed(found, most=3)}). Run the cohort stage on this file."
        )
