"""Risks of other models: standardised for a model that reads them, and added up."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from tta_pipeline import model_sections
from tta_pipeline.models.tabular.model import (
    EMPTY,
    Arrays,
    Fitted,
    Floats,
    Table,
    converging,
    cox_baseline,
    cox_survival,
    linear,
)

log = logging.getLogger(__name__)

_PENALTY = 0.1  # ridge of the slope, which without one is infinite where a sum puts all events in their order


class RiskSum:
    """risk = sum over models m of (r_m - mean r_m) / sd r_m, with means and deviations of the training patients.

    r_m of a training patient is by a fit of m that did not see that patient, so that a model which knows its training
    patients by heart weighs no more than another. No weight is fitted: one model counts as much as another, and one
    that gives all training patients one risk is left out. Predicted survival is by Cox's model of the sum, its slope at
    least 0, which changes nobody's rank.
    """

    def __init__(self, options: model_sections.RiskSum):
        self._options = options

    def fit(self, table: Table, *, time_days: Floats, event: NDArray[np.bool_], seed: int) -> Fitted:  # noqa: ARG002
        """Fit means and deviations, and the slope of predicted survival."""
        kept, scaler = fit_risks({name: table.risks[name] for name in self._options.risks_of})
        total = _total(table, kept, scaler)
        notes: dict[str, Any] = {
            "risks_of": kept,
            "dropped": [name for name in self._options.risks_of if name not in kept],
        }
        slope = 0.0
        if np.ptp(total) > 0:
            model = CoxPHSurvivalAnalysis(alpha=_PENALTY, ties="efron", n_iter=100)
            with converging("risk-sum", remedy="The risks that are added may be far apart: look at their models."):
                model.fit(total[:, None], Surv.from_arrays(event, time_days))
            slope = max(0.0, float(model.coef_[0]))
        else:
            notes["reason"] = EMPTY
        baseline = cox_baseline(slope * total, time_days=time_days, event=event)
        return Fitted({"slope": np.array([slope])}, scaler, baseline, notes)

    def risk(self, table: Table, fitted: Fitted) -> Floats:
        """The sum."""
        return _total(table, fitted.notes["risks_of"], fitted.scaler)

    def survival(self, days: Floats, *, table: Table, fitted: Fitted) -> Floats:
        """By Breslow's baseline hazard."""
        log_risk = float(fitted.weights["slope"][0]) * self.risk(table, fitted)
        return cox_survival(days, log_risk=log_risk, baseline=fitted.baseline)


def _total(table: Table, names: Sequence[str], scaler: Arrays) -> Floats:
    return linear(standardised(table, names, scaler), np.ones(len(names)))


def fit_risks(risks: Mapping[str, Floats]) -> tuple[list[str], dict[str, Floats]]:
    """What puts risks of different models on one scale.

    Parameters
    ----------
    risks
        Model -> (patients,), of the training patients.

    Returns
    -------
    names
        Models whose risks differ between the training patients; the others, which are logged, have no scale.
    scaler
        risk_mean, risk_scale: (names,), mean and standard deviation.
    """
    names = [name for name, own in risks.items() if np.ptp(own) > 0]
    if constant := [name for name in risks if name not in names]:
        log.info("one risk for all training patients, dropped: %s", ", ".join(constant))
    return names, {
        "risk_mean": np.array([risks[name].mean() for name in names]),
        "risk_scale": np.array([risks[name].std() for name in names]),
    }


def standardised(table: Table, names: Sequence[str], scaler: Arrays) -> Floats:
    """(patients, names)."""
    columns = np.array([table.risks[name] for name in names]).reshape(len(names), len(table.expression)).T
    found: Floats = (columns - scaler["risk_mean"]) / scaler["risk_scale"]
    return found
