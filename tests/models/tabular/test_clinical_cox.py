import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from tests.models.tabular.cohorts import cohort
from tta_pipeline import model_sections
from tta_pipeline.errors import ConvergenceError
from tta_pipeline.models.tabular.clinical_cox import ClinicalCox
from tta_pipeline.models.tabular.model import Fitted, Table
from tta_pipeline.numerics.covariates import fit_encoding
from tta_pipeline.numerics.cox import cox_fit


def fit(table: Table, outcomes: dict[str, np.ndarray], *, penalty: float = 0.0) -> tuple[ClinicalCox, Fitted]:
    model = ClinicalCox(model_sections.ClinicalCox(architecture="clinical-cox", penalty=penalty))
    return model, model.fit(table, **outcomes, seed=0)


def test_coefficients_and_curves_are_those_of_lifelines() -> None:
    table, outcomes = cohort(300)
    model, fitted = fit(table, outcomes)
    encoding = fit_encoding(table.covariates)
    columns = encoding.encode(table.covariates)
    frame = pd.DataFrame(columns, columns=list(encoding.kept)).assign(**outcomes)
    theirs = CoxPHFitter().fit(frame, "time_days", "event", fit_options={"precision": 1e-10})
    assert fitted.notes["columns"] == ["age", "age missing", "sex", "stage", "stage missing"]
    np.testing.assert_allclose(fitted.weights["coefficients"], theirs.params_[fitted.notes["columns"]], atol=1e-4)
    days = [2.0, 10.0, 40.0]
    expected = theirs.predict_survival_function(frame, times=days).T
    found = model.survival(np.array(days), table=table, fitted=fitted)
    np.testing.assert_allclose(found, expected, atol=0.01)  # their baseline hazard shares out ties


def test_coefficients_are_those_of_our_own_newton_and_a_ridge_shrinks_them() -> None:
    table, outcomes = cohort()
    columns = fit_encoding(table.covariates).encode(table.covariates)
    ours = cox_fit(covariates=columns, strata=np.zeros(120, dtype=np.int64), **outcomes).coefficients
    free, slight, strong = (fit(table, outcomes, penalty=p)[1].weights["coefficients"] for p in (0.0, 0.1, 1000.0))
    np.testing.assert_allclose(free, ours, atol=1e-5)
    assert np.linalg.norm(slight) < np.linalg.norm(free)
    assert np.linalg.norm(strong) < 0.2 * np.linalg.norm(free)


def test_the_unit_of_a_covariate_does_not_matter_without_penalty() -> None:
    table, outcomes = cohort()
    years = [age or "60" for age in table.covariates["age"]]
    days = [str(365 * int(age)) for age in years]
    by_years, by_days = (
        replace(table, covariates={"sex": table.covariates["sex"], name: cells})
        for name, cells in (("age", years), ("days_of_life", days))
    )
    (one, fitted), (other, other_fitted) = fit(by_years, outcomes), fit(by_days, outcomes)
    ratio = fitted.weights["coefficients"] / other_fitted.weights["coefficients"]
    np.testing.assert_allclose(ratio, [1, 3650], rtol=1e-6)
    np.testing.assert_allclose(other.risk(by_days, other_fitted), one.risk(by_years, fitted), atol=1e-8)


def test_a_constant_column_is_dropped_by_name(caplog: pytest.LogCaptureFixture) -> None:
    table, outcomes = cohort()
    constant = replace(table, covariates=table.covariates | {"grade": ["G2"] * 120})
    with caplog.at_level(logging.INFO):
        model, fitted = fit(constant, outcomes)
    assert fitted.notes["dropped"] == ["grade"]
    assert "dropped: grade" in caplog.text
    plain_model, plain = fit(table, outcomes)
    np.testing.assert_array_equal(model.risk(constant, fitted), plain_model.risk(table, plain))


def test_collinear_covariates_need_a_penalty() -> None:
    table, outcomes = cohort()
    twice: dict[str, Any] = dict(table.covariates) | {"gender": table.covariates["sex"]}
    doubled = replace(table, covariates=twice)
    with pytest.raises(ConvergenceError, match=r"clinical-cox: expected a fit that converges, .*set a penalty"):
        fit(doubled, outcomes)
    weights = fit(doubled, outcomes, penalty=0.1)[1].weights["coefficients"]
    assert weights[2] == pytest.approx(weights[-1])
