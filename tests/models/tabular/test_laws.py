"""What holds for every model that is no network."""

from typing import Any

import numpy as np
import pytest

from tests.models.tabular.cohorts import cohort, rows_of
from tta_pipeline.model_sections import ARCHITECTURES
from tta_pipeline.models.tabular import TABULAR
from tta_pipeline.models.tabular.model import TabularModel
from tta_pipeline.numerics.metrics import harrell_c

SMALL = {"trees": 40, "penalties": 12, "risks_of": ("good", "scaled")}
WITHOUT_DRAW = ("clinical-cox", "clinical-plus", "risk-sum")  # the seed, and the order of patients, do not count


def build(architecture: str, **options: Any) -> TabularModel:
    section = ARCHITECTURES[architecture]
    wanted = {key: value for key, value in (SMALL | options).items() if key in section.model_fields}
    return TABULAR[architecture](section(architecture=architecture, **wanted))


@pytest.mark.parametrize("architecture", TABULAR)
def test_a_planted_risk_is_found_in_new_patients(architecture: str) -> None:
    (train, outcomes), (test, later) = cohort(200), cohort(200, seed=1)
    model = build(architecture)
    fitted = model.fit(train, **outcomes, seed=0)
    found = harrell_c(risk=model.risk(test, fitted), **later)
    assert found.value > (0.55 if architecture == "clinical-cox" else 0.68)
    assert "reason" not in fitted.notes


@pytest.mark.parametrize("architecture", TABULAR)
def test_the_order_of_training_patients_does_not_matter_much(architecture: str) -> None:
    """A forest and inner folds draw patients by their row; the rest is a sum over patients."""
    table, outcomes = cohort()
    order = np.random.default_rng(0).permutation(120)
    shuffled = {name: values[order] for name, values in outcomes.items()}
    model = build(architecture)
    risk = model.risk(table, model.fit(table, **outcomes, seed=0))
    other = model.risk(table, model.fit(rows_of(table, order.tolist()), **shuffled, seed=0))
    if architecture in WITHOUT_DRAW:
        np.testing.assert_allclose(other, risk, atol=1e-8)
    else:
        assert np.corrcoef(other, risk)[0, 1] > 0.9


@pytest.mark.parametrize("architecture", TABULAR)
def test_a_patients_prediction_does_not_depend_on_others(architecture: str) -> None:
    (train, outcomes), (test, _) = cohort(), cohort(30, seed=1)
    model, days = build(architecture), np.array([5.0, 20.0])
    fitted = model.fit(train, **outcomes, seed=0)
    risk, survival = model.risk(test, fitted), model.survival(days, table=test, fitted=fitted)
    for rows in ([7], [20, 3, 7]):
        own = rows_of(test, rows)
        np.testing.assert_array_equal(model.risk(own, fitted), risk[rows])
        np.testing.assert_array_equal(model.survival(days, table=own, fitted=fitted), survival[rows])


@pytest.mark.parametrize("architecture", TABULAR)
def test_survival_falls_from_1_and_ends_with_support(architecture: str) -> None:
    table, outcomes = cohort()
    model = build(architecture)
    fitted = model.fit(table, **outcomes, seed=0)
    last = fitted.baseline["time_days"][-1]
    assert last == outcomes["time_days"].max()
    found = model.survival(np.array([0.5, 3, 10, 30, last, last + 1]), table=table, fitted=fitted)
    assert (found[:, 0] == 1).all()
    assert (np.diff(found[:, :5], axis=1) <= 0).all()
    assert ((found[:, :5] >= 0) & (found[:, 4:5] < 1)).all()
    assert np.isnan(found[:, 5]).all()
    assert np.corrcoef(model.risk(table, fitted), found[:, 2])[0, 1] < -0.7


@pytest.mark.parametrize("architecture", TABULAR)
def test_one_seed_gives_one_fit(architecture: str) -> None:
    table, outcomes = cohort()
    first, again, other = (build(architecture).fit(table, **outcomes, seed=seed) for seed in (3, 3, 4))
    assert {name: values.tobytes() for name, values in first.weights.items()} == {
        name: values.tobytes() for name, values in again.weights.items()
    }
    differs = any(not np.array_equal(values, other.weights[name]) for name, values in first.weights.items())
    assert differs == (architecture not in WITHOUT_DRAW)
