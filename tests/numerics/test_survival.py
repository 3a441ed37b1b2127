import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter
from sksurv.linear_model.coxph import BreslowEstimator, CoxPHSurvivalAnalysis

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.survival import breslow_baseline, cox_loss, survival_at


@pytest.fixture
def cohort() -> dict[str, np.ndarray]:
    """Sixty patients with many ties, among events and between events and censorings."""
    generator = np.random.default_rng(0)
    covariate = generator.standard_normal(60)
    time_days = np.ceil(generator.exponential(8 * np.exp(-covariate)))
    return {"x": covariate, "time_days": time_days, "event": generator.random(60) < 0.7}


def loss(log_risk: np.ndarray, cohort: dict[str, np.ndarray], ties: str) -> torch.Tensor:
    return cox_loss(
        torch.as_tensor(log_risk),
        time_days=torch.as_tensor(cohort["time_days"]),
        event=torch.as_tensor(cohort["event"]),
        ties=ties,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_untied_loss_is_the_mean_over_events_of_the_log_rank_of_the_risk(ties: str) -> None:
    log_risk = np.log([4.0, 3.0, 2.0, 1.0])
    cohort = {"time_days": np.array([1.0, 2.0, 3.0, 4.0]), "event": np.array([True, False, True, False])}
    expected = (np.log(10 / 4) + np.log(3 / 2)) / 2
    assert float(loss(log_risk, cohort, ties)) == pytest.approx(expected, abs=1e-14)


def test_tied_events_have_their_closed_forms() -> None:
    log_risk = np.log([3.0, 2.0, 1.0])
    cohort = {"time_days": np.array([5.0, 5.0, 5.0]), "event": np.array([True, True, False])}
    assert float(loss(log_risk, cohort, "breslow")) == pytest.approx(np.log(6 * 6 / (3 * 2)) / 2, abs=1e-14)
    assert float(loss(log_risk, cohort, "efron")) == pytest.approx(np.log(6 * (6 - 2.5) / (3 * 2)) / 2, abs=1e-14)


def test_a_shift_of_all_risks_changes_nothing_and_large_risks_stay_finite(cohort: dict[str, np.ndarray]) -> None:
    reference = float(loss(cohort["x"], cohort, "efron"))
    assert float(loss(cohort["x"] + 3000, cohort, "efron")) == pytest.approx(reference, abs=1e-9)
    assert np.isfinite(float(loss(cohort["x"] * 1e4, cohort, "efron")))


def test_efron_equals_lifelines_at_its_fit(cohort: dict[str, np.ndarray]) -> None:
    table = pd.DataFrame(cohort).astype({"event": int})
    fit = CoxPHFitter().fit(table, duration_col="time_days", event_col="event")
    found = loss(cohort["x"] * float(fit.params_["x"]), cohort, "efron") * cohort["event"].sum()
    assert float(found) == pytest.approx(-fit.log_likelihood_, rel=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_scikit_survival_finds_our_minimum(cohort: dict[str, np.ndarray], ties: str) -> None:
    target = np.array(list(zip(cohort["event"], cohort["time_days"], strict=True)), dtype=[("e", "?"), ("t", "f8")])
    fit = CoxPHSurvivalAnalysis(ties=ties, tol=1e-12).fit(cohort["x"][:, None], target)
    slope = torch.tensor(fit.coef_[0], dtype=torch.float64, requires_grad=True)
    value = cox_loss(
        slope * torch.as_tensor(cohort["x"]),
        time_days=torch.as_tensor(cohort["time_days"]),
        event=torch.as_tensor(cohort["event"]),
        ties=ties,  # type: ignore[arg-type]
    )
    value.backward()  # type: ignore[no-untyped-call]
    assert slope.grad is not None
    assert abs(float(slope.grad)) < 1e-7


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_gradient(cohort: dict[str, np.ndarray], ties: str) -> None:
    few = {name: values[:12] for name, values in cohort.items()}
    risk = torch.tensor(few["x"], requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: loss_of(r, few, ties), (risk,))


def loss_of(risk: torch.Tensor, cohort: dict[str, np.ndarray], ties: str) -> torch.Tensor:
    time_days, event = torch.as_tensor(cohort["time_days"]), torch.as_tensor(cohort["event"])
    return cox_loss(risk, time_days=time_days, event=event, ties=ties)  # type: ignore[arg-type]


def test_no_event_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one event"):
        cox_loss(torch.zeros(3), time_days=torch.ones(3), event=torch.zeros(3, dtype=torch.bool))


def test_equal_risks_give_the_nelson_aalen_hazard() -> None:
    times, hazard = breslow_baseline(
        np.zeros(4), time_days=np.array([2.0, 1.0, 2.0, 3.0]), event=np.array([True, True, True, False])
    )
    np.testing.assert_allclose(times, [1, 2, 3])
    np.testing.assert_allclose(hazard, [1 / 4, 1 / 4 + 2 / 3, 1 / 4 + 2 / 3])


def test_baseline_and_survival_equal_scikit_survival(cohort: dict[str, np.ndarray]) -> None:
    log_risk, event, time_days = cohort["x"], cohort["event"], cohort["time_days"]
    times, hazard = breslow_baseline(log_risk, time_days=time_days, event=event)
    reference = BreslowEstimator().fit(log_risk, event, time_days)
    np.testing.assert_allclose(hazard, reference.cum_baseline_hazard_(times), rtol=1e-12)
    horizons = np.array([2.0, 5.5, times[-1]])
    found = survival_at(horizons, log_risk=log_risk, times=times, cumulative_hazard=hazard)
    expected = [[curve(t) for t in horizons] for curve in reference.get_survival_function(log_risk)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_survival_is_1_before_the_first_event_and_nan_beyond_support() -> None:
    found = survival_at(
        np.array([0.5, 2.0, 2.5]),
        log_risk=np.array([0.0, 2000.0]),
        times=np.array([1.0, 2.0]),
        cumulative_hazard=np.array([0.0, np.log(2)]),
    )
    np.testing.assert_allclose(found, [[1, 0.5, np.nan], [1, 0, np.nan]])
