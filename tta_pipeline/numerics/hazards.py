"""Two questions to a risk score, by stratified Cox fits: are hazards proportional, does it add to a covariate.

Risks of different fits are not on one scale: they are standardised within each test part, and each part is a stratum
with a baseline hazard of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.cox import cox_fit
from tta_pipeline.numerics.metrics import TIED_RISK, Concordance, Fold, check_outcomes, fits, pooled_c

Floats = NDArray[np.float64]


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
    """What a risk and a covariate tell beside each other, by likelihood-ratio tests of one degree of freedom.

    c_covariate, c_risk: pooled C of each alone, on the same patients.
    p_risk: of adding the risk to the covariate. p_covariate: of adding the covariate to the risk.
    missing: patients without the covariate, who are left out.
    """

    c_covariate: Concordance
    c_risk: Concordance
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


def added_value(parts: Sequence[Fold], *, covariate: Mapping[str, float]) -> AddedValue:
    """Whether the risk tells more than a covariate such as age, and the other way round.

    The test parts are the strata. A likelihood-ratio statistic is 2 (log likelihood of both - log likelihood of one).

    Parameters
    ----------
    parts
        Test parts of one repeat and seed.
    covariate
        patient_id -> value; patients who are not in it, or have NaN there, are left out and counted.

    Raises
    ------
    InputError
        The parts are of several repeats or seeds, or a value is infinite.

    References
    ----------
    Cox, Biometrika 62 (1975), 269-276, for the likelihood ratio of a partial likelihood.
    """
    values = [np.array([covariate.get(str(name), np.nan) for name in part.patient_id], dtype=float) for part in parts]
    infinite = sum(int(np.isinf(one).sum()) for one in values)
    if infinite:
        raise InputError(f"expected a finite covariate, or NaN where unknown, found infinity for {infinite} patients.")
    known = [~np.isnan(one) for one in values]
    own = [_only(part, rows) for part, rows in zip(parts, known, strict=True)]
    alone = [replace(part, risk=one[rows]) for part, one, rows in zip(own, values, known, strict=True)]
    c_covariate, c_risk = pooled_c(alone), pooled_c(own)
    risk, strata, time_days, event = _standardised(own)
    of_covariate = _unit(np.concatenate([part.risk for part in alone]))
    both = cox_fit(covariates=np.column_stack([of_covariate, risk]), strata=strata, time_days=time_days, event=event)
    each = [
        cox_fit(covariates=one[:, None], strata=strata, time_days=time_days, event=event)
        for one in (of_covariate, risk)
    ]
    p = [float(chi2.sf(np.maximum(2 * (both.log_likelihood - one.log_likelihood), 0), 1)) for one in each]
    reason = both.reason or each[0].reason or each[1].reason
    missing = sum(int((~rows).sum()) for rows in known)
    return AddedValue(c_covariate, c_risk, p_risk=p[0], p_covariate=p[1], n=len(risk), missing=missing, reason=reason)


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
