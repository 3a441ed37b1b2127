"""Harrell's C: its laws, lifelines as an independent implementation, and what is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.metrics import Fold, harrell_c, mean_pooled_c, pooled_c


def cohort(*, n, seed, ties=True):
    generator = np.random.default_rng(seed)
    time_days = generator.exponential(500, n) + 1
    risk = -np.log(time_days) + generator.normal(0, 1, n)
    if ties:
        time_days, risk = np.ceil(time_days / 100) * 100, np.round(risk, 1)
    return {"risk": risk, "time_days": time_days, "event": generator.random(n) < 0.4}


def fold(*, n=60, seed=0, number=0, repeat=0, fit_seed=0, **changes):
    values = cohort(n=n, seed=seed) | changes
    names = np.array([f"p{number}-{index}" for index in range(len(values["event"]))])
    return Fold(repeat=repeat, fold=number, seed=fit_seed, patient_id=names, **values)


def test_the_right_order_is_1_the_reverse_0_and_equal_risks_one_half():
    time_days, event = np.array([10.0, 20, 30, 40]), np.array([True, True, False, True])

    def c_of(risk):
        return harrell_c(risk=np.array(risk, dtype=float), time_days=time_days, event=event)

    assert c_of([4, 3, 2, 1]).value == 1
    assert c_of([1, 2, 3, 4]).value == 0
    assert c_of([7, 7, 7, 7]).value == 0.5
    assert c_of([4, 3, 2, 1]).comparable == 5  # 3 with the first, 2 with the second, none with the last


def test_the_tie_rules():
    risk = np.array([2.0, 1.0])
    same_day = np.array([5.0, 5.0])
    both = harrell_c(risk=risk, time_days=same_day, event=np.array([True, True]))
    assert np.isnan(both.value)
    assert both.reason == "no comparable pairs among 2 patients, 2 events"
    one = harrell_c(risk=risk, time_days=same_day, event=np.array([True, False]))
    assert (one.value, one.comparable) == (1, 1)
    near = harrell_c(risk=np.array([1 + 9e-9, 1.0]), time_days=np.array([1.0, 2]), event=np.array([True, False]))
    assert near.value == 0.5


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), scale=st.floats(0.5, 20), shift=st.floats(-5, 5))
def test_only_the_order_of_risks_counts_and_a_sign_turns_it(seed, n, scale, shift):
    values = cohort(n=n, seed=seed)
    c = harrell_c(**values)
    moved = harrell_c(**values | {"risk": scale * values["risk"] + shift})
    turned = harrell_c(**values | {"risk": -values["risk"]})
    if c.comparable:
        assert moved.value == c.value
        assert turned.value == pytest.approx(1 - c.value)
    else:
        assert np.isnan(c.value)
        assert c.reason


@pytest.mark.parametrize("seed", range(8))
def test_lifelines_agrees(seed):
    values = cohort(n=120, seed=seed)
    theirs = concordance_index(values["time_days"], -values["risk"], values["event"])
    assert harrell_c(**values).value == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "event", "reason"),
    [
        (0, [], "no test patients"),
        (3, [False, False, False], "no events among 3 patients"),
        (1, [True], "no comparable pairs among 1 patients, 1 events"),
    ],
)
def test_undefined_is_nan_with_a_reason(n, event, reason):
    values = {"risk": np.zeros(n), "time_days": np.arange(1.0, n + 1), "event": np.array(event, dtype=bool)}
    c = harrell_c(**values)
    assert np.isnan(c.value)
    assert c.reason == reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"risk": np.array([1.0, np.nan])}, "finite risk, found NaN or infinity for 1 of 2"),
        ({"time_days": np.array([1.0, np.inf])}, "finite time_days"),
        ({"event": np.array([1, 0])}, "event as bool"),
        ({"risk": np.zeros(3)}, "of one shape"),
    ],
)
def test_bad_inputs(changes, message):
    values = {"risk": np.zeros(2), "time_days": np.ones(2), "event": np.array([True, False])} | changes
    with pytest.raises(InputError, match=message):
        harrell_c(**values)


def test_pooling_ignores_the_scale_of_each_fit():
    folds = [fold(number=number, seed=number) for number in range(3)]
    shifted = [fold(number=n, seed=n, risk=one.risk * 10**n + 1000 * n) for n, one in enumerate(folds)]
    assert pooled_c(shifted) == pooled_c(folds)
    each = [harrell_c(risk=one.risk, time_days=one.time_days, event=one.event) for one in folds]
    weighted = np.average([c.value for c in each], weights=[c.comparable for c in each])
    assert pooled_c(folds).value == pytest.approx(weighted)


def test_a_part_without_events_adds_nothing_to_the_pool():
    folds = [fold(number=0), fold(number=1, event=np.zeros(60, dtype=bool))]
    assert pooled_c(folds) == pooled_c(folds[:1])
    assert np.isnan(pooled_c(folds[1:]).value)
    assert pooled_c(folds[1:]).reason == "no comparable pairs in 1 test parts"


def test_repeats_and_seeds_are_averaged_not_pooled():
    fits = [fold(seed=1, repeat=0), fold(seed=2, repeat=1, n=200), fold(seed=3, repeat=0, fit_seed=1)]
    assert mean_pooled_c(fits).value == pytest.approx(np.mean([pooled_c([one]).value for one in fits]))
