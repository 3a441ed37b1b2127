"""Two questions to a risk score, by stratified Cox fits: are hazards proportional, does it add to a covariate.

Risks of different fits are not on one scale: they are standardised within each test part, and each part is a stratum
with a baseline hazard of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm, rankdata

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.cox import cox_fit
from tta_pipeline.numerics.metrics import TIED_RISK, Concordance, Fold, check_outcomes, fits, pooled_c

Floats = NDArray[np.float64]
_NO_ORDER = Concordance(np.nan, 0.0, 0, "several covariates have no order of their own")


@dataclass(frozen=True)
class HazardsCheck:
    """Test that the log hazard ratio of a risk does not change over time; NaN with a reason where undefined.

    correlation: of the scaled residuals with the rank of event time; negative where the risk tells less and less.
    """

    correlation: float
    chi2: float
    p: float
    n_events: int
    reason: str = ""


@dataclass(frozen=True)
class AddedValue:
    """What a risk and covariates tell beside each other, by likelihood-ratio tests.

    c_covariate, c_risk: pooled C of each alone, on the same patients; several covariates have none, for nothing but
    a fit to these very patients would put them in one order.
    b_alone, b_risk: log hazard ratio per standard deviation of the risk, by itself and beside the covariates; below 0
    a higher risk is better, and the risk points the wrong way.
    p_alone: of the risk by itself, by Wald's test. p_risk: of adding the risk to the covariates, one degree of freedom.
    Both are two-sided: the coefficient tells the direction.
    p_covariate: of adding the covariates to the risk, as many degrees as covariates.
    missing: patients without a covariate, who are left out.
    """

    c_covariate: Concordance
    c_risk: Concordance
    b_alone: float
    b_risk: float
    p_alone: float
    p_risk: float
    p_covariate: float
    n: int
    missing: int
    reason: str = ""


def proportional_hazards(parts: Sequence[Fold]) -> HazardsCheck:
    """Grambsch and Therneau's test of proportional hazards of the risk, over the test parts of one fit.

    With d events, Schoenfeld residuals s_k, their scaled form s*_k = d V s_k + b, V the variance of the coefficient b,
    and g_k the rank of the event's time among all events (mean rank where tied),

        chi2 = ( sum_k (g_k - mean g) s*_k )^2 / ( d V sum_k (g_k - mean g)^2 ),   one degree of freedom.

    Parameters
    ----------
    parts
        Test parts of one repeat and seed.

    Raises
    ------
    InputError
        The parts are of several repeats or seeds, so that a patient would count twice.

    References
    ----------
    Grambsch, Therneau (1994), Biometrika 81, 515-526.
    """
    risk, strata, time_days, event = _standardised(parts)
    fit = cox_fit(covariates=risk[:, None], strata=strata, time_days=time_days, event=event)
    d = int(event.sum())
    if fit.reason:
        return HazardsCheck(np.nan, np.nan, np.nan, d, fit.reason)
    variance = float(fit.covariance[0, 0])
    scaled = d * variance * fit.residuals[:, 0] + fit.coefficients[0]
    rank = rankdata(fit.event_days) - (d + 1) / 2
    spread, scatter = float(rank @ rank), float(np.sum((scaled - scaled.mean()) ** 2))
    if spread == 0 or scatter == 0:
        return HazardsCheck(np.nan, np.nan, np.nan, d, f"the {d} events have one time, or all residuals are equal")
    statistic = float(rank @ scaled) ** 2 / (d * variance * spread)
    correlation = float(rank @ scaled) / np.sqrt(spread * scatter)
    return HazardsCheck(float(correlation), statistic, float(chi2.sf(statistic, 1)), d)


def added_value(parts: Sequence[Fold], *, covariates: Sequence[Mapping[str, float]]) -> AddedValue:
    """Whether the risk tells more than covariates such as age, and the other way round.

    The test parts are the strata. A likelihood-ratio statistic is 2 (log likelihood of both - log likelihood of one).
    The risks are taken as given. Where they come from cross-validation, each part's patients trained the models of the
    other parts, the risks of different patients depend on each other, and p_risk and p_alone are too small.

    Parameters
    ----------
    parts
        Test parts of one repeat and seed.
    covariates
        patient_id -> value of each, at least one; patients who are not in one of them, or have NaN there, are left out
        and counted.

    Raises
    ------
    InputError
        The parts are of several repeats or seeds, a value is infinite, or there is no covariate.

    References
    ----------
    Cox, Biometrika 62 (1975), 269-276, for the likelihood ratio of a partial likelihood. Höfling, Tibshirani, Ann.
    Appl. Stat. 2 (2008), 643-664, for the level of such tests on out-of-fold predictions.
    """
    if not covariates:
        raise InputError("expected at least one covariate, found none.")
    values = [
        np.array([[one.get(str(name), np.nan) for one in covariates] for name in part.patient_id], dtype=float)
        for part in parts
    ]
    values = [rows.reshape(-1, len(covariates)) for rows in values]  # (patients, covariates), also without patients
    infinite = sum(int(np.isinf(one).any(axis=1).sum()) for one in values)
    if infinite:
        raise InputError(f"expected a finite covariate, or NaN where unknown, found infinity for {infinite} patients.")
    known = [~np.isnan(one).any(axis=1) for one in values]
    own = [_only(part, rows) for part, rows in zip(parts, known, strict=True)]
    alone = [one[rows] for one, rows in zip(values, known, strict=True)]
    risk, strata, time_days, event = _standardised(own)
    of_covariates = np.column_stack([_unit(column) for column in np.concatenate(alone).T])
    both, without_risk, only_risk = (
        cox_fit(covariates=columns, strata=strata, time_days=time_days, event=event)
        for columns in (np.column_stack([of_covariates, risk]), of_covariates, risk[:, None])
    )
    gain = [2 * (both.log_likelihood - one.log_likelihood) for one in (without_risk, only_risk)]
    return AddedValue(
        c_covariate=_c_of([column[:, 0] for column in alone], own) if len(covariates) == 1 else _NO_ORDER,
        c_risk=pooled_c(own),
        b_alone=float(only_risk.coefficients[0]),
        b_risk=float(both.coefficients[-1]),
        p_alone=float(2 * norm.sf(abs(only_risk.coefficients[0]) / np.sqrt(only_risk.covariance[0, 0]))),
        p_risk=float(chi2.sf(np.maximum(gain[0], 0), 1)),
        p_covariate=float(chi2.sf(np.maximum(gain[1], 0), len(covariates))),
        n=len(risk),
        missing=sum(int((~rows).sum()) for rows in known),
        reason=both.reason or without_risk.reason or only_risk.reason,
    )


def _c_of(values: Sequence[Floats], parts: Sequence[Fold]) -> Concordance:
    return pooled_c([replace(part, risk=one) for part, one in zip(parts, values, strict=True)])


def _standardised(parts: Sequence[Fold]) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.bool_]]:
    if len(fits(parts)) != 1:
        raise InputError(f"expected test parts of one repeat and seed, found {fits(parts)}: choose one.")
    for part in parts:
        check_outcomes(risk=part.risk, time_days=part.time_days, event=part.event)
    return (
        np.concatenate([_unit(part.risk) for part in parts]),
        np.repeat(np.arange(len(parts)), [len(part.event) for part in parts]),
        np.concatenate([part.time_days for part in parts]),
        np.concatenate([part.event for part in parts]),
    )


def _unit(values: Floats) -> Floats:
    """Mean 0 and standard deviation 1; all 0 where the values are equal."""
    if len(values) == 0 or np.ptp(values) <= TIED_RISK:
        return np.zeros_like(values)
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)


def _only(part: Fold, rows: NDArray[np.bool_]) -> Fold:
    return replace(
        part,
        patient_id=part.patient_id[rows],
        risk=part.risk[rows],
        time_days=part.time_days[rows],
        event=part.event[rows],
    )
