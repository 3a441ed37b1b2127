"""Proportional hazards and added value: lifelines, the level of the tests, laws, and what is undefined."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import proportional_hazard_test
from scipy.stats import chi2, rankdata

from tests.numerics.test_metrics import fold
from tta_pipeline.errors import InputError
from tta_pipeline.numerics.hazards import added_value, proportional_hazards
from tta_pipeline.numerics.metrics import pooled_c


def study(*, n=60, folds=3, seed=0, of_risk=0.7, of_age=0.5, waning=False, ties=False):
    """Test parts with a risk and an age; a waning risk tells nothing of deaths after day 300."""
    generator = np.random.default_rng(seed)
    parts, ages = [], {}
    for number in range(folds):
        risk, age = generator.normal(size=n), generator.normal(60, 10, n)
        rate = np.exp(of_risk * risk + of_age * (age - 60) / 10) / 500
        death = generator.exponential(1 / rate)
        if waning:
            late = death > 300
            death[late] = 300 + generator.exponential(500, late.sum())
        end = generator.exponential(1000, n)
        time_days = np.minimum(death, end)
        time_days = np.ceil(time_days / 100) * 100 if ties else time_days
        part = fold(n=n, number=number, risk=risk * 10**number + number, time_days=time_days, event=death <= end)
        parts.append(part)
        ages |= dict(zip(part.patient_id.tolist(), age.tolist(), strict=True))
    return parts, ages


def frame(parts, ages):
    """What lifelines reads: risk with unit spread within its part, age in tens of years."""
    return pd.concat(
        pd.DataFrame(
            {
                "risk": (part.risk - part.risk.mean()) / part.risk.std(),
                "age": [ages[str(name)] / 10 for name in part.patient_id],
                "time": part.time_days,
                "event": part.event,
                "part": part.fold,
            }
        )
        for part in parts
    ).reset_index(drop=True)


def fitted(table, names):
    options = {"precision": 1e-10}
    return CoxPHFitter().fit(
        table[[*names, "time", "event", "part"]], "time", "event", strata=["part"], fit_options=options
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("waning", [False, True])
def test_lifelines_agrees_on_proportional_hazards(seed, waning):
    parts, ages = study(seed=seed, waning=waning)
    table = frame(parts, ages).sort_values(["part", "time"], ignore_index=True)

    def rank(durations, events, weights):
        ranks = pd.Series(np.nan, index=durations.index)
        ranks[events.astype(bool)] = rankdata(durations[events.astype(bool)])
        return ranks

    theirs = proportional_hazard_test(fitted(table, ["risk"]), table[["risk", "time", "event", "part"]], rank)
    ours = proportional_hazards(parts)
    assert ours.chi2 == pytest.approx(float(np.squeeze(theirs.test_statistic)), rel=1e-4)
    assert ours.p == pytest.approx(float(np.squeeze(theirs.p_value)), rel=1e-3)
    assert ours.n_events == table["event"].sum()
    one = frame(parts[:1], ages)[["risk", "time", "event"]]
    theirs = proportional_hazard_test(CoxPHFitter().fit(one, "time", "event"), one, "rank")
    assert proportional_hazards(parts[:1]).chi2 == pytest.approx(float(np.squeeze(theirs.test_statistic)), rel=1e-3)


def test_a_waning_risk_is_found_and_its_correlation_is_negative():
    found = proportional_hazards(study(n=400, waning=True, of_risk=1.2, of_age=0)[0])
    assert found.p < 1e-6
    assert found.correlation < -0.2


def test_the_level_of_both_tests_where_nothing_is_to_be_found():
    p = np.array([proportional_hazards(study(seed=seed, of_age=0)[0]).p for seed in range(300)])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.035)
    added = [
        added_value(parts, covariates=[ages]).p_risk for parts, ages in (study(seed=s, of_risk=0) for s in range(300))
    ]
    assert np.mean(np.array(added) < 0.05) == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize("seed", range(3))
def test_lifelines_agrees_on_what_each_adds(seed):
    parts, ages = study(seed=seed)
    found, table = added_value(parts, covariates=[ages]), frame(parts, ages)
    both, risk, age = (fitted(table, names).log_likelihood_ for names in (["risk", "age"], ["risk"], ["age"]))
    assert found.p_risk == pytest.approx(chi2.sf(2 * (both - age), 1), rel=1e-3)
    assert found.p_covariate == pytest.approx(chi2.sf(2 * (both - risk), 1), rel=1e-3)
    fits = (fitted(table, ["risk"]), fitted(table, ["risk", "age"]))
    assert (found.b_alone, found.b_risk) == pytest.approx(tuple(fit.params_["risk"] for fit in fits), rel=1e-3)
    assert found.c_risk == pooled_c(parts)
    of_age = [replace(one, risk=np.array([ages[str(name)] for name in one.patient_id])) for one in parts]
    assert found.c_covariate == pooled_c(of_age)
    assert (found.n, found.missing, found.reason) == (180, 0, "")


def test_a_change_of_scale_of_one_part_changes_nothing():
    parts, ages = study()
    moved = [replace(part, risk=5 + 100 * part.risk) if part.fold == 1 else part for part in parts]
    assert proportional_hazards(moved).chi2 == pytest.approx(proportional_hazards(parts).chi2)
    in_months = {name: 12 * age for name, age in ages.items()}
    ours, theirs = added_value(parts, covariates=[ages]), added_value(moved, covariates=[in_months])
    assert (theirs.p_risk, theirs.p_covariate) == pytest.approx((ours.p_risk, ours.p_covariate))


def test_the_likelihood_ratio_of_an_inverted_risk_is_the_same_and_its_coefficients_change_sign():
    parts, ages = study()
    found = added_value(parts, covariates=[ages])
    inverted = added_value([replace(part, risk=-part.risk) for part in parts], covariates=[ages])
    assert (inverted.p_risk, inverted.p_alone) == pytest.approx((found.p_risk, found.p_alone))
    assert (inverted.b_risk, inverted.b_alone) == pytest.approx((-found.b_risk, -found.b_alone))
    assert min(found.b_risk, found.b_alone) > 0


def test_patients_without_the_covariate_are_left_out_and_counted():
    parts, ages = study()
    names = list(ages)
    some = {name: ages[name] for name in names[2:]} | {names[2]: np.nan}
    found = added_value(parts, covariates=[some])
    assert (found.n, found.missing) == (177, 3)
    assert np.isfinite(found.p_risk)
    nobody = added_value(parts, covariates=[{}])
    assert (nobody.n, nobody.missing) == (0, 180)
    assert np.isnan([nobody.b_alone, nobody.b_risk, nobody.p_risk, nobody.p_covariate]).all()
    assert np.isnan(nobody.c_covariate.value)
    assert nobody.reason == "no events among 0 patients"
    with pytest.raises(InputError, match="finite covariate, or NaN where unknown, found infinity for 1 patients"):
        added_value(parts, covariates=[ages | {names[0]: np.inf}])


def test_undefined_is_nan_with_a_reason():
    parts, ages = study()
    flat = [replace(part, risk=np.full(60, 3.0)) for part in parts]
    quiet = [replace(part, event=np.zeros(60, dtype=bool)) for part in parts]
    orders = [replace(part, risk=-rankdata(part.time_days)) for part in parts]
    known = {str(name): value for part in parts[:1] for name, value in zip(part.patient_id, part.risk, strict=True)}
    for changed, reason in (
        (flat, "constant within the strata"),
        (quiet, "no events among 180 patients"),
        (orders, "orders all events"),
        ([fold(n=1, event=np.array([True]))], "constant"),
    ):
        found = proportional_hazards(changed)
        assert np.isnan([found.chi2, found.p, found.correlation]).all()
        assert reason in found.reason
    for changed, covariate, reason in (
        (flat, ages, "constant within the strata"),
        (quiet, ages, "no events"),
        (parts[:1], known, "collinear"),
        (parts, {name: 60.1 + 7.3 * int(name[1]) for name in ages}, "constant within the strata"),
    ):
        value = added_value(changed, covariates=[covariate])
        assert np.isnan([value.p_risk, value.p_covariate]).all()
        assert reason in value.reason
    same_day = [replace(part, time_days=np.where(part.event, 5.0, 9.0)) for part in parts]
    assert "one time" in proportional_hazards(same_day).reason


def test_bad_inputs():
    parts, ages = study()
    with pytest.raises(InputError, match="one repeat and seed"):
        proportional_hazards([*parts, replace(parts[0], seed=1)])
    with pytest.raises(InputError, match="one repeat and seed"):
        added_value([*parts, replace(parts[0], repeat=1)], covariates=[ages])
    risk = parts[0].risk.copy()
    risk[3] = np.nan
    with pytest.raises(InputError, match="finite risk, found NaN or infinity for 1 of 60"):
        proportional_hazards([replace(parts[0], risk=risk), *parts[1:]])
    with pytest.raises(InputError, match="at least one covariate, found none"):
        added_value(parts, covariates=[])


def test_lifelines_agrees_on_several_covariates_and_on_the_risk_alone():
    parts, ages = study(seed=4)
    stage = {name: float(number % 3) for number, name in enumerate(ages)}
    found = added_value(parts, covariates=[ages, stage])
    table = frame(parts, ages).assign(stage=list(stage.values()))
    both, without, risk = (fitted(table, names) for names in (["risk", "age", "stage"], ["age", "stage"], ["risk"]))
    assert found.p_risk == pytest.approx(chi2.sf(2 * (both.log_likelihood_ - without.log_likelihood_), 1), rel=1e-3)
    assert found.p_covariate == pytest.approx(chi2.sf(2 * (both.log_likelihood_ - risk.log_likelihood_), 2), rel=1e-3)
    assert found.p_alone == pytest.approx(risk.summary.loc["risk", "p"], rel=1e-3)
    assert np.isnan(found.c_covariate.value)
    assert found.c_covariate.reason == "several covariates have no order of their own"
