"""Metrics over time: closed forms without censoring, sums by hand with it, every way in which they are undefined."""

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.time_metrics import Outcomes, auc_at, brier_at, integrated_brier, uno_c

N = 120
RNG = np.random.default_rng(2)
RISK = RNG.normal(size=N)
TIMES = RNG.exponential(1000 * np.exp(-RISK)) + 1
CENSORING = RNG.exponential(1500, size=N) + 1
EVERYBODY = Outcomes(TIMES, np.ones(N, dtype=bool))
CENSORED = Outcomes(np.minimum(TIMES, CENSORING), TIMES <= CENSORING)
TRAIN = Outcomes(
    np.concatenate([CENSORED.time_days, [1e5]]), np.concatenate([CENSORED.event, [False]])
)  # followed longer than anybody


def nobody(n: int = 5) -> Outcomes:
    return Outcomes(np.arange(1.0, n + 1), np.zeros(n, dtype=bool))


def test_without_censoring_unos_c_is_harrells() -> None:
    late = Outcomes(np.append(EVERYBODY.time_days, 1e6), np.append(EVERYBODY.event, True))
    found = uno_c(risk=RISK, test=EVERYBODY, train=late)
    expected = harrell_c(risk=RISK, time_days=TIMES, event=EVERYBODY.event).value
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.at_days == 1e6


def test_unos_c_is_the_sum_over_pairs_weighted_by_the_censoring() -> None:
    found = uno_c(risk=RISK, test=CENSORED, train=TRAIN)
    fitter = KaplanMeierFitter().fit(TRAIN.time_days, ~TRAIN.event)
    weight = np.where(CENSORED.event, 1 / fitter.predict(CENSORED.time_days).to_numpy() ** 2, 0)
    later = CENSORED.time_days[:, None] < CENSORED.time_days
    later |= (CENSORED.time_days[:, None] == CENSORED.time_days) & ~CENSORED.event
    agrees = RISK[:, None] > RISK
    expected = (weight[:, None] * later * agrees).sum() / (weight[:, None] * later).sum()
    assert found.value == pytest.approx(expected, abs=1e-9)


def test_equal_risks_are_a_coin() -> None:
    constant = np.zeros(N)
    assert uno_c(risk=constant, test=CENSORED, train=TRAIN).value == 0.5
    assert [score.value for score in auc_at([500, 1000], risk=constant, test=CENSORED, train=TRAIN)] == [0.5, 0.5]


def test_without_censoring_the_auc_is_that_of_two_groups() -> None:
    (found,) = auc_at([800.0], risk=RISK, test=EVERYBODY, train=TRAIN)
    dead = TIMES <= 800
    expected = (RISK[dead][:, None] > RISK[~dead]).mean()
    late = Outcomes(np.append(EVERYBODY.time_days, 1e6), np.append(EVERYBODY.event, True))
    (found,) = auc_at([800.0], risk=RISK, test=EVERYBODY, train=late)
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_the_brier_score_of_the_truth_is_zero_and_of_a_coin_a_quarter() -> None:
    late = Outcomes(np.append(EVERYBODY.time_days, 1e6), np.append(EVERYBODY.event, True))
    truth = (TIMES > 800).astype(float)[:, None]
    scores = [
        brier_at([800.0], survival=survival, test=EVERYBODY, train=late)[0].value
        for survival in (truth, np.full((N, 1), 0.5))
    ]
    assert scores == pytest.approx([0, 0.25])


def test_the_reference_is_the_training_parts_kaplan_meier() -> None:
    (found,) = brier_at([600.0], survival=np.full((N, 1), 0.3), test=CENSORED, train=TRAIN)
    km = KaplanMeierFitter().fit(TRAIN.time_days, TRAIN.event).predict(600.0)
    (other,) = brier_at([600.0], survival=np.full((N, 1), km), test=CENSORED, train=TRAIN)
    assert found.reference == pytest.approx(other.value)
    assert other.reference == pytest.approx(other.value)
    assert found.value > found.reference


def test_better_curves_have_a_lower_integrated_brier_score() -> None:
    days = np.linspace(1, 3000, 60)
    curves = np.exp(-days / 1000 * np.exp(RISK)[:, None])
    good = integrated_brier(curves=curves, curve_days=days, test=CENSORED, train=TRAIN)
    bad = integrated_brier(curves=curves[::-1], curve_days=days, test=CENSORED, train=TRAIN)
    assert good.value < good.reference < bad.value
    assert good.reference == bad.reference


def test_follow_up_beyond_the_training_part_is_cut_and_nothing_raises() -> None:
    short = Outcomes(np.minimum(CENSORED.time_days, 700), CENSORED.event & (CENSORED.time_days < 700))
    assert np.isfinite(uno_c(risk=RISK, test=CENSORED, train=short).value)
    first, second = auc_at([400, 800], risk=RISK, test=CENSORED, train=short)
    assert np.isfinite(first.value)
    assert second.reason == f"horizon outside the follow-up of the test part, {CENSORED.time_days.min():g} to 700 days"
    days = np.linspace(1, 3000, 60)
    found = integrated_brier(curves=np.exp(-days / 1000) * np.ones((N, 1)), curve_days=days, test=CENSORED, train=short)
    assert found.at_days < 700


@pytest.mark.parametrize("train", [TRAIN, nobody(), Outcomes(np.array([3.0]), np.array([False]))])
def test_without_events_everything_is_undefined_with_a_reason(train: Outcomes) -> None:
    test = nobody()
    scores = [
        uno_c(risk=np.arange(5.0), test=test, train=train),
        *auc_at([2.0], risk=np.arange(5.0), test=test, train=train),
        *brier_at([2.0], survival=np.full((5, 1), 0.5), test=test, train=train),
        integrated_brier(curves=np.full((5, 4), 0.5), curve_days=np.arange(1.0, 5), test=test, train=train),
    ]
    assert all(np.isnan(score.value) and score.reason.startswith("no events among ") for score in scores)


def test_a_training_part_without_events_is_a_reason_and_no_exception() -> None:
    train = Outcomes(CENSORED.time_days, np.zeros(N, dtype=bool))
    days = np.linspace(1, 500, 5)
    scores = [
        uno_c(risk=RISK, test=CENSORED, train=train),
        *auc_at([500.0], risk=RISK, test=CENSORED, train=train),
        *brier_at([500.0], survival=np.full((N, 1), 0.5), test=CENSORED, train=train),
        integrated_brier(curves=np.full((N, 5), 0.5), curve_days=days, test=CENSORED, train=train),
    ]
    assert all(np.isnan(score.value) and score.reason == f"no events among {N} training patients" for score in scores)


def test_one_patient_tied_times_and_missing_predictions() -> None:
    one = Outcomes(np.array([5.0]), np.array([True]))
    assert uno_c(risk=np.zeros(1), test=one, train=TRAIN).reason == "1 test patients"
    tied = Outcomes(np.full(4, 7.0), np.ones(4, dtype=bool))
    assert uno_c(risk=np.arange(4.0), test=tied, train=TRAIN).reason == "no comparable pairs"
    assert "outside the follow-up" in auc_at([7.0], risk=np.arange(4.0), test=tied, train=TRAIN)[0].reason
    (found,) = brier_at([500.0], survival=np.full((N, 1), np.nan), test=CENSORED, train=TRAIN)
    assert found.reason == "no prediction so late"
    empty = integrated_brier(curves=np.full((N, 3), np.nan), curve_days=np.arange(1.0, 4), test=CENSORED, train=TRAIN)
    assert empty.reason.startswith("fewer than two times")


def test_a_risk_that_is_nan_is_an_error() -> None:
    with pytest.raises(InputError, match="finite risk"):
        uno_c(risk=np.full(N, np.nan), test=CENSORED, train=TRAIN)


def test_the_brier_score_before_the_first_event_is_that_of_the_predictions() -> None:
    """Graf's sum by hand, with nobody dead; by scikit-survival once somebody has been censored."""
    test = Outcomes(CENSORED.time_days + 400, CENSORED.event)
    survival = np.random.default_rng(0).uniform(0.5, 1, size=(N, 2))
    found = brier_at([300.0, 399.0], survival=survival, test=test, train=TRAIN)
    alive = KaplanMeierFitter().fit(TRAIN.time_days, ~TRAIN.event)
    for column, score in enumerate(found):
        expected = np.mean((1 - survival[:, column]) ** 2) / alive.predict(score.at_days)
        assert score.value == pytest.approx(expected, abs=1e-12)
        assert (score.reason, np.isfinite(score.reference)) == ("", True)
    (perfect,) = brier_at([300.0], survival=np.ones((N, 1)), test=test, train=TRAIN)
    assert perfect.value == 0
    first = np.argmin(test.time_days)
    censored = Outcomes(test.time_days, test.event & (np.arange(N) != first))
    between = float(np.sort(test.time_days)[:2].mean())
    (later,) = brier_at([between], survival=survival[:, :1], test=censored, train=TRAIN)
    still = np.arange(N) != first  # whoever left before counts in the mean, with weight 0
    expected = (still * (1 - survival[:, 0]) ** 2).mean() / alive.predict(between)
    assert later.value == pytest.approx(expected, abs=1e-9)


def test_before_the_first_event_there_is_no_auc() -> None:
    test = Outcomes(np.append(CENSORED.time_days + 400, 1.0), np.append(CENSORED.event, False))
    (found,) = auc_at([300.0], risk=np.append(RISK, 0.0), test=test, train=TRAIN)
    assert found.reason == "no event before the horizon"


def test_an_integrated_score_says_its_range() -> None:
    days = np.linspace(1, 3000, 61)
    found = integrated_brier(curves=np.exp(-days / 1000) * np.ones((N, 1)), curve_days=days, test=CENSORED, train=TRAIN)
    inside = days[(days >= CENSORED.time_days.min()) & (days < CENSORED.time_days.max())]
    assert (found.from_days, found.at_days) == (inside[0], inside[-1])
