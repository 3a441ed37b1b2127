"""What the models that are not networks take and give: a table with a row per patient in, fitted arrays out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from warnings import catch_warnings, filterwarnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning

from tta_pipeline.errors import ConvergenceError
from tta_pipeline.numerics.survival import breslow_baseline, survival_at

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
EMPTY = "empty model"  # the reason of one that selects nothing


@dataclass(frozen=True)
class Table:
    """Some patients.

    expression: (patients, genes) float32, as in the table. pathways: gene columns of each set, named by `names`.
    covariates: covariate -> text of each patient, "" where it is not known.
    risks: model -> (patients,) its risk, above the median of the patients whom the fit that gave it was trained on.
    """

    expression: NDArray[np.float32]
    pathways: Sequence[NDArray[np.int64]]
    names: Sequence[str]
    covariates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    risks: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """Everything that was fitted on the training patients.

    weights, scaler, baseline: arrays by name, as the artifact holds them. baseline has the distinct times of the
    training patients in `time_days`.
    notes: what a reader wants to know, and what is no number (names of columns); JSON-serialisable. `reason` says why a
    model gives every patient one risk.
    """

    weights: Arrays
    scaler: Arrays
    baseline: Arrays
    notes: Mapping[str, Any]


class TabularModel(Protocol):
    """A model, built from its section of the config. A higher risk is worse."""

    def fit(self, table: Table, *, time_days: Floats, event: NDArray[np.bool_], seed: int) -> Fitted:
        """Fit on the training patients; at least one has an event."""

    def risk(self, table: Table, fitted: Fitted) -> Floats:
        """(patients,), each of its own row of the table alone."""

    def survival(self, days: Floats, *, table: Table, fitted: Fitted) -> Floats:
        """(patients, days) in [0, 1]; NaN beyond the last training time."""


def cox_baseline(log_risk: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> dict[str, Floats]:
    """Breslow's cumulative hazard, as the artifact holds it."""
    times, hazard = breslow_baseline(log_risk, time_days=time_days, event=event)
    return {"time_days": times, "cumulative_hazard": hazard}


def cox_survival(days: Floats, *, log_risk: Floats, baseline: Arrays) -> Floats:
    """exp(-H0(t) e^r)."""
    hazard, times = baseline["cumulative_hazard"], baseline["time_days"]
    return survival_at(days, log_risk=log_risk, times=times, cumulative_hazard=hazard)


def linear(columns: Floats, coefficients: NDArray[Any]) -> Floats:
    """Linear predictor (patients,); a row is summed alike, however many rows there are."""
    found: Floats = (np.ascontiguousarray(columns) * coefficients).sum(axis=1)
    return found


@contextmanager
def converging(what: str, *, remedy: str) -> Iterator[None]:
    """What a solver warns of within becomes an error.

    Raises
    ------
    ConvergenceError
        The solver has not converged, or its numbers cannot be trusted.
    """
    with catch_warnings():
        for category in (ConvergenceWarning, LinAlgWarning, RuntimeWarning):
            simplefilter("error", category)
        filterwarnings("ignore", message="all coefficients are zero", category=UserWarning)  # an answer, and no fault
        try:
            yield
        except (ConvergenceWarning, LinAlgWarning, RuntimeWarning, np.linalg.LinAlgError, ArithmeticError) as error:
            raise ConvergenceError(f"{what}: expected a fit that converges, found: {error}. {remedy}") from error
