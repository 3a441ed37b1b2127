"""Cox's model of a few covariates, stratified: the coefficients, their covariance, and the residuals of the events."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.numerics.metrics import check_outcomes

Floats = NDArray[np.float64]
_STEPS, _TOLERANCE = 50, 1e-10
_FLAT = 1e-8  # of the information at the start, or of one per event: below, the likelihood is flat in some direction


@dataclass(frozen=True)
class CoxFit:
    """Maximum of the stratified partial likelihood; NaN with a reason where there is none.

    coefficients: (p,) log hazard ratio per unit of each covariate.
    covariance: (p, p) inverse of the observed information.
    residuals: (events, p) Schoenfeld residuals, in the order of `event_days`, (events,).
    """

    coefficients: Floats
    covariance: Floats
    log_likelihood: float
    event_days: Floats
    residuals: Floats
    iterations: int
    reason: str = ""


def cox_fit(*, covariates: Floats, strata: NDArray[np.int64], time_days: Floats, event: NDArray[np.bool_]) -> CoxFit:
    """Cox's model with one baseline hazard per stratum and Efron's treatment of ties, by Newton's method.

    Maximises, over the events i,

        sum_i [ x_i b - log( sum_{j in R_i} e^{x_j b} - f_i sum_{j in D_i} e^{x_j b} ) ],

    where R_i are the patients of the stratum of i who are followed at its time, D_i those with an event at that time,
    and f_i goes 0, 1/d, ..., (d-1)/d through them. A step is halved until the likelihood does not fall.

    Parameters
    ----------
    covariates
        (n, p), each with a standard deviation near 1, by which a flat likelihood is told from a steep one.
    strata
        (n,) number of the stratum of each patient.
    time_days, event
        (n,).

    Returns
    -------
    The fit; its reason where there are no events, the covariates are collinear or constant within strata, or the
    likelihood grows without end because a covariate orders all events.

    Raises
    ------
    InputError
        The shapes differ, or a covariate or time is NaN or infinite.

    References
    ----------
    Cox, J. R. Stat. Soc. B 34 (1972), eq. 12; Efron, J. Am. Stat. Assoc. 72 (1977), section 7.
    """
    for column in covariates.T:
        check_outcomes(risk=column, time_days=time_days, event=event)
    groups = [np.flatnonzero(strata == one) for one in np.unique(strata)]
    parts = [(covariates[rows], time_days[rows], event[rows]) for rows in groups if event[rows].any()]
    if not parts:
        return _undefined(covariates.shape[1], f"no events among {len(event)} patients")
    beta = np.zeros(covariates.shape[1])
    value, residuals, information = _likelihood(beta, parts)
    scale = max(float(np.linalg.eigvalsh(information)[-1]), float(len(residuals)))
    for iteration in range(1, _STEPS + 1):
        if np.linalg.eigvalsh(information)[0] <= _FLAT * scale:
            return _undefined(len(beta), "a covariate is constant within the strata, collinear, or orders all events")
        step = np.linalg.solve(information, residuals.sum(axis=0))
        gain = float(step @ residuals.sum(axis=0))
        if gain < _TOLERANCE:
            days = np.concatenate([np.sort(time[event]) for _, time, event in parts])
            return CoxFit(beta, np.linalg.inv(information).astype(np.float64), value, days, residuals, iteration)
        while (new := _likelihood(beta + step, parts))[0] < value - _TOLERANCE:
            step = step / 2
        beta, (value, residuals, information) = beta + step, new
    return _undefined(len(beta), f"the Cox fit has not converged in {_STEPS} steps")


def _likelihood(
    beta: Floats, parts: Sequence[tuple[Floats, Floats, NDArray[np.bool_]]]
) -> tuple[float, Floats, Floats]:
    """Log partial likelihood; its gradient per event (events, p), in order of stratum and time; its information."""
    value, residuals, information = 0.0, [], np.zeros((len(beta), len(beta)))
    for x, time_days, event in parts:
        deaths = np.flatnonzero(event)[np.argsort(time_days[event], kind="stable")]
        same_time = (time_days[deaths, None] == time_days) & event  # (events, patients)
        tied = same_time[:, deaths]
        fraction = np.tril(tied, -1).sum(axis=1) / tied.sum(axis=1)
        risk = x @ beta
        at_risk = np.where(time_days >= time_days[deaths, None], risk, -np.inf)  # (events, patients)
        top = at_risk.max(axis=1)
        weights = np.exp(at_risk - top[:, None]) * (1 - fraction[:, None] * same_time)
        total = weights.sum(axis=1)
        weights /= total[:, None]
        mean = weights @ x  # (events, p)
        value += float((risk[deaths] - top - np.log(total)).sum())
        residuals.append(x[deaths] - mean)
        information += (x * weights.sum(axis=0)[:, None]).T @ x - mean.T @ mean
    return value, np.concatenate(residuals), information


def _undefined(p: int, reason: str) -> CoxFit:
    nothing = np.empty(0)
    return CoxFit(np.full(p, np.nan), np.full((p, p), np.nan), np.nan, nothing, np.empty((0, p)), 0, reason)
