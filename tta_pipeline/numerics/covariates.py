"""Clinical covariates as columns of numbers: which ones, and what fills a gap, is fitted on the training patients."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.clinical_terms import Kind, kind_of, numbers_of, years_per_unit

Floats = NDArray[np.float64]
Cells = Mapping[str, Sequence[str]]
_YEARS_PER_DECADE = 10.0


@dataclass(frozen=True)
class Covariate:
    """How the cells of one covariate become columns.

    kind: age is counted in decades, sex is 0 (female) or 1 (male), stage and grade are ordered numbers, any other
    numbers stand as they are; a category has a column for each of `categories`, 0 or 1.
    factor: of the number that is read. fill: what stands for a missing number; categories have 0 in all columns.
    indicator: whether a further column says that the cell is missing.
    """

    name: str
    kind: Kind
    factor: float = 1.0
    fill: float = 0.0
    categories: tuple[str, ...] = ()
    indicator: bool = False

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        own = [f"{self.name}={one}" for one in self.categories] if self.kind == "category" else [self.name]
        return own + [f"{self.name} missing"] * self.indicator

    def encode(self, cells: Sequence[str]) -> Floats:
        """(patients, columns); a cell that cannot be read is missing, a category without column is the reference."""
        if self.kind == "category":
            missing = np.array([cell == "" for cell in cells])
            values = np.array([[cell == one for one in self.categories] for cell in cells], dtype=np.float64)
            values = values.reshape(len(cells), len(self.categories))
        else:
            read = self.factor * numbers_of(self.kind, cells)
            missing = np.isnan(read)
            values = np.where(missing, self.fill, read)[:, None]
        return np.column_stack([values, missing.astype(np.float64)]) if self.indicator else values


@dataclass(frozen=True)
class Encoding:
    """The columns of all covariates. kept: those that varied in training. dropped: those that did not."""

    covariates: tuple[Covariate, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]

    def encode(self, cells: Cells) -> Floats:
        """(patients, kept columns)."""
        columns, values = _all_columns(self.covariates, cells)
        return values[:, [columns.index(name) for name in self.kept]]


def fit_encoding(cells: Cells, *, min_patients: int = 5) -> Encoding:
    """Columns of the covariates of the training patients.

    What each covariate is, `clinical_terms.kind_of` says. Missing numbers become the median, a missing sex
    and category the most frequent one, which is the reference of the others; where training patients lack the
    covariate, an indicator says so. A column that is constant is dropped.

    Parameters
    ----------
    cells
        Covariate -> text of each training patient, "" where it is not known.
    min_patients
        Training patients that a category needs for a column of its own; with fewer it stands with the reference.

    Raises
    ------
    InputError
        No column varies.
    """
    covariates = tuple(_fit(name, own, min_patients=min_patients) for name, own in cells.items())
    columns, values = _all_columns(covariates, cells)
    varies = np.ptp(values, axis=0) > 0 if len(values) else np.zeros(len(columns), dtype=bool)
    kept = tuple(name for name, keep in zip(columns, varies, strict=True) if keep)
    constant = [name for name, keep in zip(columns, varies, strict=True) if not keep]
    constant += [one.name for one in covariates if not one.columns]
    if not kept:
        raise InputError(
            f"expected a covariate that differs between the training patients, found {', '.join(constant)}: all "
            "constant or missing. Name others in inputs.covariates."
        )
    return Encoding(covariates, kept, tuple(constant))


def _all_columns(covariates: Sequence[Covariate], cells: Cells) -> tuple[list[str], Floats]:
    absent = [one.name for one in covariates if one.name not in cells]
    if absent:
        raise InputError(
            f"expected the covariates that the model was trained on, found none named {', '.join(absent)}. Train again."
        )
    names = [column for one in covariates for column in one.columns]
    return names, np.concatenate([one.encode(cells[one.name]) for one in covariates], axis=1)


def _fit(name: str, cells: Sequence[str], *, min_patients: int) -> Covariate:
    known = [cell for cell in cells if cell != ""]
    kind = kind_of(name, known)
    if kind == "category":
        counts = sorted(Counter(known).items(), key=lambda item: (-item[1], item[0]))  # ties in order of the alphabet
        categories = tuple(sorted(one for one, count in counts[1:] if count >= min_patients))
        return Covariate(name, kind, categories=categories, indicator=len(known) < len(cells))
    values = numbers_of(kind, cells)
    read = values[~np.isnan(values)]
    factor = years_per_unit(read) / _YEARS_PER_DECADE if kind == "age" else 1.0
    fill = float(np.median(read)) if kind != "sex" else float(read.mean() > 0.5)
    return Covariate(name, kind, factor=factor, fill=factor * fill, indicator=len(read) < len(values))
