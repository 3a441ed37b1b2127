"""Kaplan-Meier and log-rank: closed forms, then lifelines; risk groups by each fold's own cut-off."""

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test

from tests.numerics.test_metrics import cohort, fold
from tta_pipeline.errors import InputError
from tta_pipeline.numerics.groups import group_row, kaplan_meier, log_rank, numbers_at_risk, split_by_risk


def test_without_censoring_survival_is_the_fraction_still_alive():
    time_days = np.array([3.0, 1, 4, 2])
    curve = kaplan_meier(time_days=time_days, event=np.ones(4, dtype=bool))
    np.testing.assert_allclose(curve.survival, [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_array_equal(curve.time_days, [0, 1, 2, 3, 4])
    assert curve.median_days() == 2
    np.testing.assert_allclose(curve.at(np.array([0.0, 0.9, 1.0, 3.5, 9.0])), [1, 1, 0.75, 0.25, 0])


def test_without_events_survival_stays_1_and_has_no_median():
    curve = kaplan_meier(time_days=np.array([5.0, 9.0]), event=np.zeros(2, dtype=bool))
    for values in (curve.survival, curve.low, curve.high):
        np.testing.assert_array_equal(values, 1)
    assert np.isnan(curve.median_days())
    np.testing.assert_array_equal(curve.censored_days, [5, 9])


@pytest.mark.parametrize("seed", range(4))
def test_lifelines_agrees_on_the_curve_and_its_interval(seed):
    values = cohort(n=150, seed=seed)
    curve = kaplan_meier(time_days=values["time_days"], event=values["event"], confidence=0.9)
    theirs = KaplanMeierFitter(alpha=0.1).fit(values["time_days"], values["event"])
    np.testing.assert_array_equal(curve.time_days, theirs.survival_function_.index)
    np.testing.assert_allclose(curve.survival, theirs.survival_function_.iloc[:, 0], atol=1e-12)
    inside = (curve.survival > 0) & (curve.survival < 1)
    np.testing.assert_allclose(curve.low[inside], theirs.confidence_interval_.iloc[inside, 0], atol=1e-10)
    np.testing.assert_allclose(curve.high[inside], theirs.confidence_interval_.iloc[inside, 1], atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_lifelines_agrees_on_the_log_rank_test(seed):
    values = cohort(n=150, seed=seed)
    high = values["risk"] > np.median(values["risk"])
    ours = log_rank(time_days=values["time_days"], event=values["event"], high=high)
    theirs = logrank_test(
        values["time_days"][high], values["time_days"][~high], values["event"][high], values["event"][~high]
    )
    assert ours.chi2 == pytest.approx(theirs.test_statistic, rel=1e-9)
    assert ours.p == pytest.approx(theirs.p_value, rel=1e-9)
    turned = log_rank(time_days=values["time_days"], event=values["event"], high=~high)
    assert turned.chi2 == pytest.approx(ours.chi2)


@pytest.mark.parametrize(
    ("event", "high", "reason"),
    [
        ([True, True], [True, True], "all 2 patients are in one group"),
        ([True, True], [False, False], "all 2 patients are in one group"),
        ([False, False], [True, False], "no events among 2 patients"),
    ],
)
def test_log_rank_undefined(event, high, reason):
    test = log_rank(time_days=np.array([1.0, 2]), event=np.array(event), high=np.array(high))
    assert np.isnan(test.chi2)
    assert np.isnan(test.p)
    assert test.reason == reason


@pytest.mark.parametrize(
    ("time_days", "event"),
    [
        ([5.0, 5, 5, 5], [True, True, True, True]),  # everybody dies at once
        ([1.0, 2, 3, 9], [False, False, False, True]),  # the one event is of the last who is followed
    ],
)
def test_log_rank_without_variance_is_undefined(time_days, event):
    test = log_rank(time_days=np.array(time_days), event=np.array(event), high=np.array([True, False, True, False]))
    assert np.isnan([test.chi2, test.p]).all()
    assert test.reason == "at no event are both groups followed with a patient who lives on"


def test_numbers_at_risk_count_those_who_are_followed_up_to_the_day():
    found = numbers_at_risk(np.array([5.0, 1, 3]), at_days=np.array([0.0, 1, 2, 3, 6]))
    np.testing.assert_array_equal(found, [3, 3, 2, 2, 0])


def test_no_patients_no_curve():
    with pytest.raises(InputError, match="at least one patient"):
        kaplan_meier(time_days=np.array([]), event=np.array([], dtype=bool))


def medians(*parts):
    """A cut-off for each part, as if its training patients had the risks of its test patients."""
    return {(part.repeat, part.fold, part.seed): float(np.median(part.risk)) for part in parts}


def test_each_fold_is_split_at_its_own_cut_off_so_that_scales_do_not_mix():
    parts = [fold(number=0, seed=1), fold(number=1, seed=2)]
    moved = [parts[0], fold(number=1, seed=2, risk=1e6 + 50 * parts[1].risk)]
    groups = split_by_risk(parts, train_median=medians(*parts))
    np.testing.assert_array_equal(split_by_risk(moved, train_median=medians(*moved)).high, groups.high)
    assert abs(int(groups.high.sum()) - 60) <= 6  # ties at the cut-off are low


def test_the_cut_off_is_that_of_the_training_patients():
    parts = [fold(number=0), fold(number=1)]
    groups = split_by_risk(parts, train_median={(0, 0, 0): -1e9, (0, 1, 0): 1e9})
    np.testing.assert_array_equal(groups.high, np.repeat([True, False], 60))
    assert group_row(groups)["cut_off"] == "median risk of the fold's training patients"


@pytest.mark.parametrize("known", [{}, {(0, 0, 0): -1e9}, {(0, 0, 0): -1e9, (0, 1, 0): np.nan}])
def test_without_a_cut_off_of_training_patients_there_are_no_groups(known):
    row = group_row(split_by_risk([fold(number=0), fold(number=1)], train_median=known))
    assert (row["n_low"], row["n_high"]) == (0, 0)
    assert np.isnan([row["median_days_low"], row["median_days_high"], row["chi2"], row["p"]]).all()
    lacking = 2 if not known else 1
    assert row["reason"] == f"no median risk of the training patients in {lacking} of 2 folds: train again"


def test_only_the_first_repeat_and_seed_are_drawn():
    parts = [fold(repeat=1), fold(fit_seed=1), fold(number=1), fold()]
    groups = split_by_risk(parts, train_median=medians(*parts))
    assert (groups.repeat, groups.seed, len(groups.event)) == (0, 0, 120)


def test_equal_risks_leave_one_group_and_no_test():
    part = fold(risk=np.zeros(60))
    row = group_row(split_by_risk([part], train_median=medians(part)))
    assert (row["n_low"], row["n_high"]) == (60, 0)
    assert np.isnan(row["median_days_high"])
    assert np.isnan(row["p"])
    assert row["reason"] == "all 60 patients are in one group"
