"""Cox's model of clinical covariates, and of risks of other models beside them."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from tta_pipeline import model_sections
from tta_pipeline.models.tabular.model import (
    Arrays,
    Fitted,
    Floats,
    Table,
    converging,
    cox_baseline,
    cox_survival,
    linear,
)
from tta_pipeline.models.tabular.risk_sum import fit_risks, standardised
from tta_pipeline.numerics.covariates import Covariate, Encoding, fit_encoding

log = logging.getLogger(__name__)


class ClinicalCox:
    """log-risk = (x - mean x) b, with b the maximum of Efron's partial likelihood less penalty / 2 ||b||^2.

    x are the columns of the covariates and, in `clinical-plus`, risks of other models in standard deviations of the
    training patients' (see `RiskSum`).

    References
    ----------
    Cox, J. R. Stat. Soc. B 34 (1972), eq. 12; Efron, J. Am. Stat. Assoc. 72 (1977), section 7.
    """

    def __init__(self, options: model_sections.ClinicalCox | model_sections.ClinicalPlus):
        self._options = options
        self._risks_of = options.risks_of if isinstance(options, model_sections.ClinicalPlus) else ()

    def fit(self, table: Table, *, time_days: Floats, event: NDArray[np.bool_], seed: int) -> Fitted:  # noqa: ARG002
        """Fit columns and coefficients; a column that does not vary is dropped, by name."""
        encoding = fit_encoding(table.covariates)
        if encoding.dropped:
            log.info("covariates constant among the training patients, dropped: %s", ", ".join(encoding.dropped))
        risks_of, scaler = fit_risks({name: table.risks[name] for name in self._risks_of})
        columns = _columns(table, encoding, risks_of, scaler)
        mean = columns.mean(axis=0)
        model = CoxPHSurvivalAnalysis(alpha=self._options.penalty, ties="efron", n_iter=100)
        remedy = "Covariates may be collinear, or one orders all events: leave one out, or set a penalty."
        with converging("clinical-cox", remedy=remedy):
            model.fit(columns - mean, Surv.from_arrays(event, time_days))
        coefficients = np.asarray(model.coef_, dtype=np.float64)
        notes = {
            "covariates": [asdict(one) for one in encoding.covariates],
            "columns": list(encoding.kept),
            "dropped": [*encoding.dropped, *(name for name in self._risks_of if name not in risks_of)],
            "risks_of": risks_of,
        }
        baseline = cox_baseline(linear(columns - mean, coefficients), time_days=time_days, event=event)
        return Fitted({"coefficients": coefficients}, {"covariate_mean": mean, **scaler}, baseline, notes)

    def risk(self, table: Table, fitted: Fitted) -> Floats:
        """The log-risk."""
        covariates = tuple(
            Covariate(**one | {"categories": tuple(one["categories"])}) for one in fitted.notes["covariates"]
        )
        encoding = Encoding(covariates, tuple(fitted.notes["columns"]), tuple(fitted.notes["dropped"]))
        columns = _columns(table, encoding, fitted.notes["risks_of"], fitted.scaler) - fitted.scaler["covariate_mean"]
        return linear(columns, fitted.weights["coefficients"])

    def survival(self, days: Floats, *, table: Table, fitted: Fitted) -> Floats:
        """By Breslow's baseline hazard."""
        return cox_survival(days, log_risk=self.risk(table, fitted), baseline=fitted.baseline)


def _columns(table: Table, encoding: Encoding, risks_of: Sequence[str], scaler: Arrays) -> Floats:
    """(patients, columns of the covariates and of the risks)."""
    return np.column_stack([encoding.encode(table.covariates), standardised(table, risks_of, scaler)])
