"""Resampled metrics over time against scikit-survival, patient by patient."""

from collections.abc import Callable

import numpy as np
import pytest

from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.time_bootstrap import auc_samples, brier_samples, uno_samples
from tta_pipeline.numerics.time_metrics import Outcomes, auc_at, brier_at, integrated_brier, uno_c

N, SAMPLES = 60, 12
HORIZON = 400.0
DAYS = np.linspace(30, 900, 25)


def outcomes(n: int, *, seed: int) -> Outcomes:
    """Times in whole months, so that many are tied; two of three with the event."""
    generator = np.random.default_rng(seed)
    return Outcomes(np.ceil(generator.exponential(500, n) / 30) * 30.0, generator.random(n) < 0.66)


TRAIN = outcomes(150, seed=1)


def part() -> tuple[Fold, np.ndarray]:
    """Test patients, some followed beyond the training part, some of one risk, and their survival at DAYS."""
    test = outcomes(N, seed=2)
    time_days = test.time_days.copy()
    time_days[:2] = [30.0, TRAIN.time_days.max() + 100]  # drawn in each sample, so that each reaches as far
    risk = np.random.default_rng(3).normal(size=N).round(1)
    survival = np.exp(-DAYS / 500 * np.exp(0.5 * risk)[:, None])
    event = test.event.copy()
    event[:2] = [True, False]
    return Fold(0, 0, 0, np.array([f"p{row:02d}" for row in range(N)]), risk, time_days, event), survival


def draws() -> np.ndarray:
    weights = np.random.default_rng(4).multinomial(N, np.full(N, 1 / N), SAMPLES).astype(np.float32)
    weights[:, :2] += 1
    weights[0] = 1
    return weights


def each(weights: np.ndarray, score: Callable[[np.ndarray], float]) -> np.ndarray:
    """A score of the patients of each sample, one row per time that a patient was drawn."""
    return np.array([score(np.repeat(np.arange(N), own.astype(int))) for own in weights])


def test_uno() -> None:
    one, _ = part()
    expected = each(
        draws(),
        lambda rows: uno_c(risk=one.risk[rows], test=Outcomes(one.time_days[rows], one.event[rows]), train=TRAIN).value,
    )
    np.testing.assert_allclose(uno_samples(one, train=TRAIN, weights=draws()), expected, rtol=1e-10)


@pytest.mark.parametrize("horizon", [HORIZON, 390.0])  # between two times, and at one
def test_auc(horizon: float) -> None:
    one, _ = part()
    expected = each(
        draws(),
        lambda rows: (
            auc_at([horizon], risk=one.risk[rows], test=Outcomes(one.time_days[rows], one.event[rows]), train=TRAIN)[
                0
            ].value
        ),
    )
    found = auc_samples(one, horizon_days=horizon, train=TRAIN, weights=draws())
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # scikit-survival adds up in another order


def test_brier_at_a_horizon() -> None:
    one, survival = part()
    own, at = survival[:, [12]], DAYS[[12]]
    expected = each(
        draws(),
        lambda rows: (
            brier_at(at.tolist(), survival=own[rows], test=Outcomes(one.time_days[rows], one.event[rows]), train=TRAIN)[
                0
            ].value
        ),
    )
    found = brier_samples(one, survival=own, days=at, train=TRAIN, weights=draws())
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_integrated_brier() -> None:
    one, survival = part()
    expected = each(
        draws(),
        lambda rows: (
            integrated_brier(
                curves=survival[rows],
                curve_days=DAYS,
                test=Outcomes(one.time_days[rows], one.event[rows]),
                train=TRAIN,
            ).value
        ),
    )
    found = brier_samples(one, survival=survival, days=DAYS, train=TRAIN, weights=draws())
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_sample_in_which_nobody_can_be_compared_is_undefined() -> None:
    one, _ = part()
    weights = np.zeros((1, N), dtype=np.float32)
    weights[0, 1] = N
    assert np.isnan(uno_samples(one, train=TRAIN, weights=weights)).all()
    assert np.isnan(auc_samples(one, horizon_days=HORIZON, train=TRAIN, weights=weights)).all()
