"""Calibration at a horizon: predicted survival against the Kaplan-Meier estimate of the same patients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.groups import kaplan_meier
from tta_pipeline.numerics.metrics import check_outcomes


@dataclass(frozen=True)
class Observed:
    """Patients with similar predictions: what was predicted, and Kaplan-Meier with its interval at the horizon.

    The last three are NaN, and `reason` says why, where nobody is followed to the horizon and not everybody died.
    low, high: the log(-log) interval of Kaplan-Meier; where nobody died, which leaves it without a width, or everybody,
    the exact binomial one of the patients who were followed to the horizon.
    """

    n: int
    n_events: int
    predicted: float
    observed: float
    low: float
    high: float
    reason: str = ""


@dataclass(frozen=True)
class Calibration:
    """Bins from the worst to the best prediction, all patients as one, and two numbers; NaN with a reason.

    ratio: deaths observed by the horizon (1 - Kaplan-Meier of all patients) over deaths expected (mean of
    1 - prediction). Above 1 more patients die than predicted.
    difference: mean over bins, weighted by their patients, of |predicted - observed|.
    """

    horizon_days: float
    bins: tuple[Observed, ...]
    ratio: float
    difference: float
    reason: str = ""


def calibrate(
    *,
    survival: NDArray[np.float64],
    horizon_days: float,
    time_days: NDArray[np.float64],
    event: NDArray[np.bool_],
    bins: int = 5,
    confidence: float = 0.95,
) -> Calibration:
    """Calibration of the predicted survival at one horizon.

    Predictions are probabilities, which unlike risks are on one scale: the test parts of all folds may be put together.

    Parameters
    ----------
    survival
        (n,) predicted probability of surviving the horizon, in [0, 1].
    horizon_days
        Positive.
    time_days, event
        (n,) outcome of the same patients.
    bins
        Bins between quantiles of the prediction; equal predictions share a bin, so that there may be fewer.
    confidence
        Level of the interval of each bin, in (0, 1).

    Raises
    ------
    InputError
        The shapes differ, a survival is not in [0, 1], a time is not finite, or there is no bin.

    References
    ----------
    D'Agostino, Nam (2003), Handbook of Statistics 23, 1-25, for the bins; Clopper, Pearson (1934), Biometrika 26,
    404-413, for bins in which nobody or everybody died; Royston, Altman (2013), BMC Medical Research
    Methodology 13, 33, for observed over expected.
    """
    check_outcomes(risk=np.zeros(survival.shape), time_days=time_days, event=event)
    bad = int((~((survival >= 0) & (survival <= 1))).sum())
    if bad:
        raise InputError(
            f"expected predicted survival in [0, 1], found other values or NaN for {bad} of {len(survival)} patients."
        )
    if bins < 1 or not horizon_days > 0:
        raise InputError(f"expected at least one bin and a horizon above 0, found {bins} bins, day {horizon_days:g}.")

    def observed(rows: NDArray[np.bool_]) -> Observed:
        return _observed(
            survival[rows], horizon_days, time_days=time_days[rows], event=event[rows], confidence=confidence
        )

    if len(survival) == 0:
        return Calibration(horizon_days, (), np.nan, np.nan, "no patients")
    edges = np.unique(np.quantile(survival, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    bin_of = np.searchsorted(edges, survival, side="left")
    each = tuple(observed(bin_of == one) for one in np.unique(bin_of))
    whole = observed(np.ones(len(survival), dtype=bool))
    reasons = [one.reason for one in (whole, *each) if one.reason]
    if not whole.reason and whole.predicted == 1:
        reasons.append("no death is expected")
    expected = 1 - whole.predicted
    return Calibration(
        horizon_days=horizon_days,
        bins=each,
        ratio=(1 - whole.observed) / expected if expected > 0 else np.nan,
        difference=float(
            np.average([abs(one.predicted - one.observed) for one in each], weights=[one.n for one in each])
        ),
        reason="; ".join(dict.fromkeys(reasons)),
    )


def _observed(
    survival: NDArray[np.float64],
    horizon: float,
    *,
    time_days: NDArray[np.float64],
    event: NDArray[np.bool_],
    confidence: float,
) -> Observed:
    curve = kaplan_meier(time_days=time_days, event=event, confidence=confidence)
    sizes = (len(event), int((event & (time_days <= horizon)).sum()), float(survival.mean()))
    if time_days.max() < horizon and curve.survival[-1] > 0:
        reason = f"none of {len(event)} patients is followed to day {horizon:g}"
        return Observed(*sizes, np.nan, np.nan, np.nan, reason)
    last = int(np.searchsorted(curve.time_days, horizon, side="right")) - 1
    observed, low, high = (float(one[last]) for one in (curve.survival, curve.low, curve.high))
    if observed in (0.0, 1.0):
        followed = int(((time_days >= horizon) | event).sum())
        least = ((1 - confidence) / 2) ** (1 / followed)  # survival at which so many survivors are still this likely
        low, high = (least, 1.0) if observed == 1 else (0.0, 1 - least)
    return Observed(*sizes, observed, low, high)
