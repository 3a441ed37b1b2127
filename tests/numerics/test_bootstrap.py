"""The bootstrap: exact against resampled data, and an interval that covers what it should."""

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from tests.numerics.test_metrics import cohort, fold
from tta_pipeline.numerics.bootstrap import (
    bootstrap_pooled_c,
    draw_patients,
    pair_counts,
    percentile_interval,
)
from tta_pipeline.numerics.metrics import harrell_c, mean_pooled_c


@pytest.mark.parametrize("seed", range(3))
def test_weights_count_pairs_as_scikit_survival_does_on_resampled_patients(seed):
    part = fold(n=80, seed=seed)
    _, weights = draw_patients([part], samples=20, seed=seed)
    order = np.argsort(part.patient_id)
    by_patient = np.empty_like(weights)
    by_patient[:, order] = weights
    concordant, comparable = pair_counts(part, by_patient)
    for sample in range(20):
        rows = np.repeat(np.arange(80), by_patient[sample].astype(int))
        value, right, wrong, tied, _ = concordance_index_censored(
            part.event[rows], part.time_days[rows], part.risk[rows]
        )
        assert comparable[sample] == right + wrong + tied
        assert concordant[sample] == right + tied / 2
        assert concordant[sample] / comparable[sample] == pytest.approx(value, abs=1e-12)


def test_pairs_are_the_same_in_blocks(monkeypatch):
    part = fold(n=90)
    weights = np.random.default_rng(0).integers(0, 4, (5, 90)).astype(float)
    whole = pair_counts(part, weights)
    monkeypatch.setattr("tta_pipeline.numerics.bootstrap._BLOCK", 7)
    np.testing.assert_array_equal(pair_counts(part, weights), whole)


def test_each_patient_once_is_the_point_estimate():
    parts = [fold(number=n, seed=n, fit_seed=s) for n in range(3) for s in range(2)]
    patient_id, weights = draw_patients(parts, samples=1, seed=0)
    values = bootstrap_pooled_c(parts, patient_id=patient_id, weights=np.ones_like(weights))
    assert values[0] == pytest.approx(mean_pooled_c(parts).value, abs=1e-12)


def test_patients_are_drawn_within_the_folds_of_the_first_repeat():
    first = [fold(n=20 + number, number=number, seed=number) for number in range(3)]
    patient_id, weights = draw_patients([*first, fold(n=5, repeat=1)], samples=50, seed=3)
    for part in first:
        own = np.isin(patient_id, part.patient_id)
        np.testing.assert_array_equal(weights[:, own].sum(axis=1), len(part.patient_id))
    again = draw_patients(first, samples=50, seed=3)
    np.testing.assert_array_equal(again[1], weights)
    assert (draw_patients(first, samples=50, seed=4)[1] != weights).any()


def test_a_sample_without_pairs_is_nan_and_is_counted():
    part = fold(time_days=np.array([1.0, 2, 3]), event=np.array([True, False, False]), risk=np.array([3.0, 2, 1]))
    patient_id, weights = draw_patients([part], samples=400, seed=0)
    values = bootstrap_pooled_c([part], patient_id=patient_id, weights=weights)
    without_event = weights[:, 0] == 0
    assert np.isnan(values[without_event]).all()
    assert without_event.any()
    interval = percentile_interval(values, confidence=0.95)
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    assert interval.undefined == np.isnan(values).sum()
    assert "bootstrap samples are undefined" in interval.reason


def test_a_model_without_any_pair_is_nan_throughout():
    part = fold(event=np.zeros(60, dtype=bool))
    patient_id, weights = draw_patients([part], samples=10, seed=0)
    assert np.isnan(bootstrap_pooled_c([part], patient_id=patient_id, weights=weights)).all()


def test_percentiles():
    interval = percentile_interval(np.arange(101.0), confidence=0.9)
    assert (interval.low, interval.high) == pytest.approx((5, 95))
    assert (interval.undefined, interval.reason) == (0, "")
    some = percentile_interval(np.append(np.arange(101.0), np.nan), confidence=0.9)
    assert (some.low, some.high, some.undefined) == (interval.low, interval.high, 1)


def test_the_interval_covers_the_true_c_about_as_often_as_it_says():
    population = cohort(n=4000, seed=99, ties=False)
    true_c = harrell_c(**population).value
    generator = np.random.default_rng(0)
    covered = 0
    for study in range(150):
        chosen = generator.choice(4000, 100, replace=False)
        part = fold(**{name: values[chosen] for name, values in population.items()})
        patient_id, weights = draw_patients([part], samples=200, seed=study)
        interval = percentile_interval(
            bootstrap_pooled_c([part], patient_id=patient_id, weights=weights), confidence=0.9
        )
        covered += interval.low <= true_c <= interval.high
    assert 0.83 <= covered / 150 <= 0.96  # 0.9 up to its own sampling error of 0.025
