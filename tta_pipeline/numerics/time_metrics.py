"""Discrimination and accuracy over time of one test part, weighted by the censoring of its training part.

All are scikit-survival's. Everywhere: the test part is followed up to tau, the longest follow-up of the training part,
for nothing is known of the censoring beyond: whoever is followed longer counts as censored at tau.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc, integrated_brier_score
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from sksurv.util import Surv

from tta_pipeline.numerics.metrics import TIED_RISK, check_outcomes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """Follow-up of some patients. time_days, event: (patients,) each."""

    time_days: Floats
    event: NDArray[np.bool_]

    def until(self, tau: float) -> "Outcomes":
        """The same patients, censored at tau."""
        return Outcomes(np.minimum(self.time_days, tau), self.event & (self.time_days < tau))

    def structured(self) -> NDArray[Any]:
        """As scikit-survival takes them."""
        outcomes: NDArray[Any] = Surv.from_arrays(self.event, self.time_days)
        return outcomes


@dataclass(frozen=True)
class Score:
    """A metric; NaN, and `reason` says why, where it is undefined.

    at_days: tau of Uno's C, the horizon of an AUC or Brier score, the last time of an integrated one.
    from_days: the first time of an integrated Brier score, which is a mean over its range; NaN for the others.
    reference: the same of the Kaplan-Meier estimate of the training part, where that is a prediction; else NaN.
    """

    metric: str
    at_days: float
    value: float
    reference: float = np.nan
    reason: str = ""
    from_days: float = np.nan


def uno_c(*, risk: Floats, test: Outcomes, train: Outcomes) -> Score:
    """Uno's C: concordance of pairs, weighted so that it does not depend on the censoring.

    Parameters
    ----------
    risk
        (test patients,), higher is worse.

    References
    ----------
    Uno, Cai, Pencina, D'Agostino, Wei, Statistics in Medicine 30 (2011) 1105.
    """
    check_outcomes(risk=risk, time_days=test.time_days, event=test.event)
    tau = float(train.time_days.max())
    reason = _undefined(test.until(tau), train)
    if not reason and not (test.time_days[test.until(tau).event].min() < test.time_days).any():
        reason = "no comparable pairs"
    if reason:
        return Score("uno_c", tau, np.nan, reason=reason)
    value, *_ = concordance_index_ipcw(train.structured(), test.structured(), risk, tau=tau, tied_tol=TIED_RISK)
    return Score("uno_c", tau, float(value))


def auc_at(horizons_days: Sequence[float], *, risk: Floats, test: Outcomes, train: Outcomes) -> list[Score]:
    """Cumulative/dynamic AUC: of those with the event by a horizon and those without it then, who has the higher risk.

    References
    ----------
    Uno, Cai, Tian, Wei, J. Am. Stat. Assoc. 102 (2007) 527; Hung, Chiang, Can. J. Stat. 38 (2010) 8.
    """
    check_outcomes(risk=risk, time_days=test.time_days, event=test.event)
    seen = test.until(float(train.time_days.max()))
    scores = []
    for horizon in horizons_days:
        reason = _undefined(seen, train) or _outside(horizon, seen) or _no_case(horizon, seen)
        value = np.nan
        if not reason:
            values, _ = cumulative_dynamic_auc(
                train.structured(), seen.structured(), risk, times=[horizon], tied_tol=TIED_RISK
            )
            value = float(values[0])
        scores.append(Score("auc", float(horizon), value, reason=reason))
    return scores


def brier_at(horizons_days: Sequence[float], *, survival: Floats, test: Outcomes, train: Outcomes) -> list[Score]:
    """Brier score of predicted survival at horizons: 0 is perfect, 0.25 a coin.

    Before the first event of the test part it is defined as anywhere else: whoever predicts survival 1 has 0.

    Parameters
    ----------
    survival
        (test patients, horizons), probabilities; NaN where the model gives none.

    References
    ----------
    Graf, Schmoor, Sauerbrei, Schumacher, Statistics in Medicine 18 (1999) 2529, section 3.
    """
    seen = test.until(float(train.time_days.max()))
    scores = []
    for column, horizon in enumerate(horizons_days):
        early = not _undefined(seen, train) and horizon < seen.time_days.min()
        reason = _undefined(seen, train) or ("" if early else _outside(horizon, seen))
        if not reason and np.isnan(survival[:, column]).any():
            reason = "no prediction so late"
        value = reference = np.nan
        if not reason:
            common = np.full((len(seen.event), 1), _kaplan_meier(train, np.array([horizon]))[0])
            value, reference = (
                _brier_of_all_alive(predicted, horizon=horizon, train=train)
                if early
                else float(brier_score(train.structured(), seen.structured(), predicted, [horizon])[1][0])
                for predicted in (survival[:, [column]], common)
            )
        scores.append(Score("brier", float(horizon), value, reference, reason))
    return scores


def integrated_brier(*, curves: Floats, curve_days: Floats, test: Outcomes, train: Outcomes) -> Score:
    """Brier score, averaged over time from the first to the last time of the test part (integrated Brier score).

    Parameters
    ----------
    curves
        (test patients, times), predicted survival at `curve_days`, ascending; NaN where the model gives none.

    References
    ----------
    Graf, Schmoor, Sauerbrei, Schumacher, Statistics in Medicine 18 (1999) 2529, section 3.
    """
    seen = test.until(float(train.time_days.max()))
    reason = _undefined(seen, train)
    inside = (curve_days >= seen.time_days.min(initial=np.inf)) & (curve_days < seen.time_days.max(initial=-np.inf))
    inside &= ~np.isnan(curves).any(axis=0)
    if not reason and inside.sum() < 2:
        reason = "fewer than two times within the follow-up of the test part"
    if reason:
        return Score("ibs", np.nan, np.nan, reason=reason)
    days = curve_days[inside]
    common = np.broadcast_to(_kaplan_meier(train, days), (len(seen.event), len(days)))
    value, reference = (
        float(integrated_brier_score(train.structured(), seen.structured(), predicted, days))
        for predicted in (curves[:, inside], common)
    )
    return Score("ibs", float(days[-1]), value, reference, from_days=float(days[0]))


def _undefined(test: Outcomes, train: Outcomes) -> str:
    if len(test.event) < 2:
        return f"{len(test.event)} test patients"
    if not train.event.any():
        return f"no events among {len(train.event)} training patients"
    if not test.event.any():
        return f"no events among {len(test.event)} patients within the follow-up of the training part"
    return ""


def _outside(horizon: float, test: Outcomes) -> str:
    low, high = float(test.time_days.min()), float(test.time_days.max())
    if not low <= horizon < high:
        return f"horizon outside the follow-up of the test part, {low:g} to {high:g} days"
    return ""


def _no_case(horizon: float, test: Outcomes) -> str:
    return "" if (test.event & (test.time_days <= horizon)).any() else "no event before the horizon"


def _brier_of_all_alive(survival: Floats, *, horizon: float, train: Outcomes) -> float:
    """Graf's score where everybody is followed beyond the horizon, which scikit-survival does not take."""
    censoring = CensoringDistributionEstimator().fit(train.structured())
    uncensored = float(censoring.predict_proba(np.array([horizon]))[0])
    return float(np.mean((1 - survival) ** 2)) / uncensored


def _kaplan_meier(train: Outcomes, days: Floats) -> Floats:
    times, survival = kaplan_meier_estimator(train.event, train.time_days)
    before = np.searchsorted(times, days, side="right")
    curve: Floats = np.concatenate([[1.0], survival])[before]
    return curve
