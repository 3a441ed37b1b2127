from typing import Any

import numpy as np
import pytest
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from tests.models.tabular.cohorts import SETS, cohort
from tta_pipeline import model_sections
from tta_pipeline.models.tabular.survival_forest import SurvivalForest, to_arrays
from tta_pipeline.numerics.forest import step_survival
from tta_pipeline.numerics.pathway_scores import fit_scores, pathway_scores


def scores_of(expression: np.ndarray, train: np.ndarray) -> np.ndarray:
    return pathway_scores(expression, members=SETS, scaler=fit_scores(train, members=SETS))


@pytest.mark.parametrize("options", [{}, {"min_samples_leaf": 1, "min_samples_split": 2}, {"min_samples_leaf": 100}])
def test_arrays_predict_as_scikit_survival_does(options: dict[str, Any]) -> None:
    (train, outcomes), (test, _) = cohort(), cohort(50, seed=1)
    x, new = scores_of(train.expression, train.expression), scores_of(test.expression, train.expression)
    settings = {"min_samples_split": 10, "min_samples_leaf": 15} | options
    theirs = RandomSurvivalForest(n_estimators=60, random_state=7, **settings)
    theirs.fit(x, Surv.from_arrays(outcomes["event"], outcomes["time_days"]))
    ours = to_arrays(theirs)
    np.testing.assert_allclose(ours.mortality(new), theirs.predict(new), rtol=0, atol=1e-6)
    expected = theirs.predict_survival_function(new, return_array=True)  # at all times of the training part
    last = float(outcomes["time_days"].max())
    found = step_survival(theirs.unique_times_, survival=ours.survival(new), event_days=ours.event_days, last_day=last)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_model_is_that_forest_by_its_options_and_seed() -> None:
    train, outcomes = cohort()
    section = model_sections.SurvivalForest(architecture="survival-forest", trees=30, max_features="all")
    model = SurvivalForest(section)
    fitted = model.fit(train, **outcomes, seed=5)
    x = scores_of(train.expression, train.expression)
    theirs = RandomSurvivalForest(
        n_estimators=30, min_samples_split=10, min_samples_leaf=15, max_features=None, random_state=5
    ).fit(x, Surv.from_arrays(outcomes["event"], outcomes["time_days"]))
    np.testing.assert_allclose(model.risk(train, fitted), theirs.predict(x), rtol=0, atol=1e-6)


def test_trees_that_cannot_split_are_an_empty_model() -> None:
    train, outcomes = cohort()
    section = model_sections.SurvivalForest(architecture="survival-forest", trees=5, min_samples_leaf=100)
    model = SurvivalForest(section)
    fitted = model.fit(train, **outcomes, seed=0)
    assert fitted.notes == {"reason": "empty model"}
    assert np.ptp(model.risk(train, fitted)) == 0
