"""What a risk must stand beside its C-index: calibration, proportional hazards, and clinical covariates.

A patient counts once in each: of several repeats and seeds, the first is taken.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tta_pipeline.numerics.calibration import Observed, calibrate
from tta_pipeline.numerics.comparison import SIGNIFICANT
from tta_pipeline.numerics.covariate_scales import encode
from tta_pipeline.numerics.hazards import AddedValue, added_value, proportional_hazards
from tta_pipeline.numerics.metrics import Fold, fits
from tta_pipeline.numerics.scores import Prediction

ALL_COVARIATES = "all of them"
NOT_BEYOND = "nothing shown beyond it"
_WRONG_WAY = "points the wrong way"
_FIT = ["model", "repeat", "seed"]
_BIN = ["n", "n_events", "predicted", "observed", "low", "high"]
CALIBRATION = [*_FIT, "at_days", "bin", *_BIN, "ratio", "difference", "missing", "reason"]
HAZARDS = [*_FIT, "correlation", "chi2", "p", "n_events", "reason"]
ADDED = [*_FIT, "covariate", "scale", "n", "missing", "c_covariate", "c_risk"]
ADDED += ["b_alone", "b_risk", "p_alone", "p_risk", "p_covariate", "verdict", "reason"]


def calibration_table(models: Mapping[str, Sequence[Prediction]], *, confidence: float) -> pd.DataFrame:
    """Predicted and observed survival at each horizon, of all test patients and of fifths by prediction.

    Returns
    -------
    Columns `CALIBRATION`. bin: 0 for all patients, then 1, 2, ... from the worst to the best prediction; ratio and
    difference (see `calibration.Calibration`) stand in the row of all patients. missing: patients of test parts whose
    training part has no prediction so late; they are left out.
    """
    rows = []
    for model, predictions in models.items():
        repeat, seed = fits([one.part for one in predictions])[0]
        own = [one for one in predictions if one.part.fit == (repeat, seed)]
        for day in dict.fromkeys(day for one in own for day in one.horizons_days.tolist()):
            rows += [(model, repeat, seed, day, *row) for row in _calibrated(own, day, confidence=confidence)]
    return pd.DataFrame(rows, columns=CALIBRATION)


def hazards_table(models: Mapping[str, Sequence[Fold]]) -> pd.DataFrame:
    """One row per model: the test that its hazard ratio does not change over time; columns `HAZARDS`."""
    rows = []
    for model, parts in models.items():
        repeat, seed, own = _first_fit(parts)
        found = proportional_hazards(own)
        rows.append((model, repeat, seed, found.correlation, found.chi2, found.p, found.n_events, found.reason))
    return pd.DataFrame(rows, columns=HAZARDS)


def added_table(models: Mapping[str, Sequence[Fold]], covariates: pd.DataFrame) -> pd.DataFrame:
    """One row per model and covariate, and per model one of all covariates together where there are several.

    Parameters
    ----------
    covariates
        patient_id, covariate, value as text, "" where unknown.

    Returns
    -------
    Columns `ADDED`; empty where there are no covariates. b_alone, b_risk: log hazard ratio per standard deviation of
    the risk, by itself and beside the covariate. verdict: "adds" where the risk improves on the covariate (p_risk below
    0.05) with b_risk above 0. Where it does not improve, "nothing shown beyond it" if by itself a higher risk is worse
    (p_alone below 0.05, b_alone above 0). "points the wrong way" where the coefficient that decides is not above 0;
    "nothing shown" where neither p is below 0.05; "not tested" has its reason.
    """
    cells = {str(name): dict(zip(own["patient_id"], own["value"], strict=True)) for name, own in _by_name(covariates)}
    encoded = {name: encode(values, name=name) for name, values in cells.items()}
    usable = {name: one for name, one in encoded.items() if not one.reason}
    rows = []
    for model, parts in models.items():
        repeat, seed, own = _first_fit(parts)
        for name, one in encoded.items():
            tested = None if one.reason else added_value(own, covariates=[one.values])
            rows.append((model, repeat, seed, name, one.scale, *_compared(tested, reason=one.reason)))
        if len(usable) > 1:
            tested = added_value(own, covariates=[one.values for one in usable.values()])
            rows.append((model, repeat, seed, ALL_COVARIATES, ", ".join(usable), *_compared(tested)))
    return pd.DataFrame(rows, columns=ADDED)


def _by_name(covariates: pd.DataFrame) -> list[tuple[object, pd.DataFrame]]:
    return list(covariates.groupby("covariate", sort=False))


def _first_fit(parts: Sequence[Fold]) -> tuple[int, int, list[Fold]]:
    repeat, seed = fits(parts)[0]
    return repeat, seed, [part for part in parts if part.fit == (repeat, seed)]


def _calibrated(own: Sequence[Prediction], day: float, *, confidence: float) -> list[tuple[object, ...]]:
    survival = np.concatenate([_at(one, day) for one in own])
    time_days = np.concatenate([one.part.time_days for one in own])
    event = np.concatenate([one.part.event for one in own])
    known = ~np.isnan(survival)
    missing = int((~known).sum())
    outcome = {"survival": survival[known], "time_days": time_days[known], "event": event[known]}
    found, whole = (calibrate(**outcome, horizon_days=day, bins=bins, confidence=confidence) for bins in (5, 1))
    if not found.bins:
        reason = f"no prediction so late for any of {missing} patients"
        return [(0, 0, 0, *[np.nan] * 6, missing, reason)]
    first = (0, *_values(whole.bins[0]), found.ratio, found.difference, missing, found.reason)
    return [first] + [
        (number, *_values(one), np.nan, np.nan, 0, one.reason) for number, one in enumerate(found.bins, start=1)
    ]


def _at(prediction: Prediction, day: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    column = np.flatnonzero(prediction.horizons_days == day)
    if len(column) == 0:
        return np.full(len(prediction.part.event), np.nan)
    return np.asarray(prediction.survival[:, column[0]], dtype=np.float64)


def _values(one: Observed) -> tuple[object, ...]:
    return tuple(getattr(one, name) for name in _BIN)


def _compared(found: AddedValue | None, *, reason: str = "") -> tuple[object, ...]:
    """Columns of `ADDED` from n on."""
    if found is None:
        return (0, 0, *[np.nan] * 7, "not tested", reason)
    concordance = (found.c_covariate.value, found.c_risk.value)
    tests = (found.b_alone, found.b_risk, found.p_alone, found.p_risk, found.p_covariate)
    return (found.n, found.missing, *concordance, *tests, _verdict(found), found.reason)


def _verdict(found: AddedValue) -> str:
    if np.isnan(found.p_risk):
        return "not tested"
    if found.p_risk < SIGNIFICANT:
        return "adds" if found.b_risk > 0 else _WRONG_WAY
    if found.p_alone < SIGNIFICANT:
        return NOT_BEYOND if found.b_alone > 0 else _WRONG_WAY
    return "nothing shown"
