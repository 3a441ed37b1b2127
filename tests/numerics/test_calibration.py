"""Calibration: exact without censoring, lifelines' Kaplan-Meier with it, and what is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from scipy.stats import binomtest

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.calibration import calibrate


def drawn(*, n=300, seed=0, factor=1.0):
    """Exponential deaths whose survival of 500 days is known; `factor` multiplies the hazard that is predicted."""
    generator = np.random.default_rng(seed)
    hazard = np.exp(generator.normal(-6.5, 0.7, n))
    death, end = generator.exponential(1 / hazard), generator.exponential(2500, n)
    time_days = np.minimum(death, end)
    return {"survival": np.exp(-factor * hazard * 500), "time_days": time_days, "event": death <= end}


def test_without_censoring_it_is_the_fraction_alive():
    time_days = np.array([100.0, 900, 200, 900])
    found = calibrate(
        survival=np.array([0.2, 0.2, 0.6, 0.8]),
        horizon_days=500,
        time_days=time_days,
        event=np.ones(4, dtype=bool),
        bins=2,
    )
    assert [(one.n, one.n_events, one.observed) for one in found.bins] == [(2, 1, 0.5), (2, 1, 0.5)]
    np.testing.assert_allclose([one.predicted for one in found.bins], [0.2, 0.7])
    assert found.difference == pytest.approx((0.3 + 0.2) / 2)
    assert found.ratio == pytest.approx(0.5 / 0.55)
    assert found.reason == ""


def test_a_death_on_the_day_of_the_horizon_is_one_by_the_horizon():
    outcome = {"time_days": np.array([500.0, 900]), "event": np.array([True, False])}
    (one,) = calibrate(survival=np.full(2, 0.5), horizon_days=500, **outcome).bins
    assert (one.n_events, one.observed) == (1, 0.5)
    assert one.low < 0.5 < one.high


def test_the_truth_is_calibrated_and_half_the_hazard_is_not():
    right, low = (calibrate(horizon_days=500, **drawn(n=20_000, factor=factor)) for factor in (1, 0.5))
    assert right.ratio == pytest.approx(1, abs=0.03)
    assert right.difference < 0.015
    assert low.ratio > 1.5
    assert low.difference > 0.1


@settings(deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 80), bins=st.integers(1, 12))
def test_bins_hold_everybody_once_in_the_order_of_their_predictions(seed, n, bins):
    values = drawn(n=n, seed=seed)
    values["survival"] = np.round(values["survival"], 1)
    found = calibrate(horizon_days=500, bins=bins, **values)
    assert sum(one.n for one in found.bins) == n
    assert 1 <= len(found.bins) <= bins
    predicted = [one.predicted for one in found.bins]
    assert predicted == sorted(set(predicted))
    undefined = any(np.isnan(one.observed) for one in found.bins)
    assert np.isnan(found.difference) == undefined
    assert bool(found.reason) == (undefined or np.isnan(found.ratio))


@pytest.mark.parametrize("seed", range(3))
def test_lifelines_agrees_in_each_bin(seed):
    values = drawn(seed=seed)
    found = calibrate(horizon_days=500, bins=4, confidence=0.9, **values)
    order = np.argsort(values["survival"])
    for rows, one in zip(np.split(order, 4), found.bins, strict=True):
        theirs = KaplanMeierFitter(alpha=0.1).fit(values["time_days"][rows], values["event"][rows])
        assert one.observed == pytest.approx(float(theirs.survival_function_at_times(500).iloc[0]))
        low, high = theirs.confidence_interval_.loc[:500].iloc[-1]
        assert (one.low, one.high) == pytest.approx((low, high))


def test_equal_predictions_are_one_bin():
    found = calibrate(horizon_days=500, **drawn() | {"survival": np.full(300, 0.7)})
    assert [one.n for one in found.bins] == [300]
    assert found.difference == pytest.approx(abs(0.7 - found.bins[0].observed))


@pytest.mark.parametrize(("died", "low", "high"), [(False, 0.025 ** (1 / 80), 1.0), (True, 0.0, 1 - 0.025 ** (1 / 80))])
def test_a_bin_in_which_nobody_or_everybody_died_has_an_exact_interval(died, low, high):
    """Of 80 patients who are followed to the horizon, beside 20 who are not."""
    time_days = np.concatenate([np.full(80, 300.0 if died else 600.0), np.linspace(1, 200, 20)])
    event = np.concatenate([np.full(80, died), np.zeros(20, dtype=bool)])
    found = calibrate(survival=np.full(100, 0.6), horizon_days=500, time_days=time_days, event=event)
    one = found.bins[0]
    assert one.observed == (0 if died else 1)
    assert (one.low, one.high) == pytest.approx((low, high))
    assert binomtest(0 if died else 80, 80).proportion_ci(method="exact").low == pytest.approx(one.low)
    assert binomtest(0 if died else 80, 80).proportion_ci(method="exact").high == pytest.approx(one.high)


def test_undefined_is_nan_with_a_reason():
    values = drawn(n=50)
    late = calibrate(horizon_days=1e6, **values | {"event": np.zeros(50, dtype=bool)})
    assert np.isnan([late.ratio, late.difference, late.bins[0].low]).all()
    assert "none of 50 patients is followed to day 1e+06" in late.reason
    short = values["time_days"].copy()
    worst = values["survival"] <= np.quantile(values["survival"], 0.19)
    short[worst] = np.minimum(short[worst], 10)
    part = calibrate(horizon_days=500, **values | {"time_days": short, "event": values["event"] & ~worst})
    assert np.isfinite(part.ratio)
    assert np.isnan(part.difference)
    assert part.reason == "none of 10 patients is followed to day 500"
    nobody = calibrate(survival=np.array([]), horizon_days=5, time_days=np.array([]), event=np.array([], dtype=bool))
    assert (nobody.bins, nobody.reason) == ((), "no patients")
    sure = calibrate(horizon_days=500, **values | {"survival": np.ones(50)})
    assert np.isnan(sure.ratio)
    assert sure.reason == "no death is expected"
    one = calibrate(survival=np.array([0.5]), horizon_days=5, time_days=np.array([9.0]), event=np.array([False]))
    assert (one.bins[0].observed, one.ratio) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"survival": np.full(50, np.nan)}, r"survival in \[0, 1\], found other values or NaN for 50 of 50"),
        ({"survival": np.full(50, 1.1)}, r"survival in \[0, 1\], found other values or NaN for 50 of 50"),
        ({"survival": np.full(3, 0.5)}, "of one shape"),
        ({"bins": 0}, "at least one bin"),
        ({"horizon_days": 0}, "a horizon above 0"),
    ],
)
def test_bad_inputs(changes, message):
    with pytest.raises(InputError, match=message):
        calibrate(**{"horizon_days": 500} | drawn(n=50) | changes)
