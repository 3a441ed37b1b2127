"""The sum of other models' risks, and Cox's model that reads them beside clinical covariates."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from tests.models.tabular.cohorts import cohort
from tests.models.tabular.test_laws import build
from tta_pipeline.models.tabular.model import Table
from tta_pipeline.numerics.metrics import harrell_c


def with_risks(table: Table, **risks: np.ndarray) -> Table:
    return replace(table, risks=risks)


def test_the_sum_is_of_standardised_risks_by_the_training_patients() -> None:
    (train, outcomes), (test, _) = cohort(), cohort(30, seed=1)
    model = build("risk-sum")
    fitted = model.fit(train, **outcomes, seed=0)
    expected = sum((test.risks[one] - train.risks[one].mean()) / train.risks[one].std() for one in ("good", "scaled"))
    np.testing.assert_allclose(model.risk(test, fitted), expected, rtol=1e-12)
    assert fitted.notes == {"risks_of": ["good", "scaled"], "dropped": []}


def test_scale_and_zero_of_a_risk_do_not_count() -> None:
    table, outcomes = cohort()
    other = with_risks(table, good=0.01 * table.risks["good"] + 7, scaled=table.risks["scaled"])
    for architecture in ("risk-sum", "clinical-plus"):
        model = build(architecture)
        first, second = (model.risk(one, model.fit(one, **outcomes, seed=0)) for one in (table, other))
        np.testing.assert_allclose(first, second, atol=1e-9)


def test_two_noisy_risks_together_are_better_than_one() -> None:
    (train, outcomes), (test, later) = cohort(200), cohort(400, seed=1)
    model = build("risk-sum")
    both = harrell_c(risk=model.risk(test, model.fit(train, **outcomes, seed=0)), **later).value
    assert both > max(harrell_c(risk=own, **later).value for own in test.risks.values())


def test_no_outcome_changes_the_sum() -> None:
    """Nothing but predicted survival is fitted to it, and that never against the risk."""
    table, outcomes = cohort()
    model = build("risk-sum")
    fitted = model.fit(table, **outcomes, seed=0)
    turned = model.fit(with_risks(table, **{name: -own for name, own in table.risks.items()}), **outcomes, seed=0)
    np.testing.assert_array_equal(
        model.risk(table, fitted), model.risk(table, replace(fitted, baseline={}, weights={}))
    )
    assert fitted.weights["slope"][0] > 0
    assert turned.weights["slope"][0] == 0


def test_a_constant_risk_is_left_out_and_said() -> None:
    (train, outcomes), (test, _) = cohort(), cohort(30, seed=1)
    known = with_risks(train, good=train.risks["good"], scaled=np.full(120, 3.0))
    new = with_risks(test, good=test.risks["good"], scaled=np.arange(30.0))
    model = build("risk-sum")
    fitted = model.fit(known, **outcomes, seed=0)
    assert fitted.notes == {"risks_of": ["good"], "dropped": ["scaled"]}
    expected = (test.risks["good"] - train.risks["good"].mean()) / train.risks["good"].std()
    np.testing.assert_allclose(model.risk(new, fitted), expected)
    clinical = build("clinical-plus", penalty=0.0)
    assert clinical.fit(known, **outcomes, seed=0).notes["dropped"] == ["scaled"]


def test_constant_risks_alone_are_an_empty_model() -> None:
    (train, outcomes), (test, _) = cohort(), cohort(30, seed=1)
    model = build("risk-sum")
    nothing = np.zeros(120)
    fitted = model.fit(with_risks(train, good=nothing, scaled=nothing), **outcomes, seed=0)
    assert fitted.notes["reason"] == "empty model"
    np.testing.assert_array_equal(model.risk(test, fitted), np.zeros(30))
    survival = model.survival(np.array([5.0]), table=test, fitted=fitted)
    assert len(np.unique(survival)) == 1
    assert 0 < survival[0, 0] < 1


def test_clinical_plus_is_the_clinical_model_with_one_more_column_for_each_risk() -> None:
    table, outcomes = cohort(300)
    alone = build("clinical-cox").fit(replace(table, risks={}), **outcomes, seed=0)
    plus = build("clinical-plus").fit(table, **outcomes, seed=0)
    assert plus.notes["columns"] == alone.notes["columns"]
    assert len(plus.weights["coefficients"]) == len(alone.weights["coefficients"]) + 2
    assert (plus.weights["coefficients"][-2:] > 0.3).all()
    noise = {name: np.random.default_rng(5).standard_normal(300) for name in table.risks}
    beside = build("clinical-plus").fit(with_risks(table, **noise), **outcomes, seed=0)
    assert np.abs(beside.weights["coefficients"][-2:]).max() < norm.isf(0.001) * 0.1


@pytest.mark.parametrize("architecture", ["risk-sum", "clinical-plus"])
def test_one_row_is_scored_as_among_others(architecture: str) -> None:
    (train, outcomes), (test, _) = cohort(), cohort(30, seed=1)
    model = build(architecture)
    fitted = model.fit(train, **outcomes, seed=0)
    assert np.isfinite(model.risk(test, fitted)).all()
