"""Tests of the difference of two models: bootstrap, corrected resampled t, and Holm's correction for many pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.bootstrap import percentile_interval

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedTest:
    """A two-sided p value of "no difference" over `n` values; NaN with a reason where undefined.

    statistic: the t of a t-test, the mean difference of a bootstrap.
    """

    statistic: float
    p: float
    n: int
    reason: str = ""


def bootstrap_test(differences: NDArray[np.float64]) -> PairedTest:
    """Two-sided p of a paired difference from its bootstrap samples.

    With B samples d_b,  p = 2 min( (1 + #{d_b <= 0}) / (B + 1), (1 + #{d_b >= 0}) / (B + 1) ), at most 1: the level at
    which the percentile interval first reaches 0. It is never 0, and never below 2 / (B + 1).

    Parameters
    ----------
    differences
        (samples,) of one model minus the other on the same samples; NaN where undefined.

    References
    ----------
    Davison, Hinkley (1997), Bootstrap Methods and their Application, chapter 4.
    """
    reason = percentile_interval(differences, confidence=0.95).reason if len(differences) else "no bootstrap samples"
    defined = differences[np.isfinite(differences)]
    if reason:
        return PairedTest(np.nan, np.nan, len(defined), reason)
    smaller = 1 + min((defined <= 0).sum(), (defined >= 0).sum())
    return PairedTest(float(defined.mean()), min(1.0, float(2 * smaller / (len(defined) + 1))), len(defined))


def samples_for(tests: int, *, least: int) -> int:
    """Bootstrap samples by which each of so many tests can still be significant after Holm's correction.

    The smallest p of B samples is 2 / (B + 1), and Holm multiplies the smallest of m tests by m: with 1,000 samples
    none of 26 tests is ever significant. B is such that 2 m / (B + 1) is half of `SIGNIFICANT`.

    Parameters
    ----------
    least
        Samples that are drawn in any case, as intervals need them.
    """
    return max(least, math.ceil(4 * tests / SIGNIFICANT))


def corrected_t_test(differences: NDArray[np.float64], *, n_test: float, n_train: float) -> PairedTest:
    """Corrected resampled t-test of the difference of two models over folds x repeats.

    Training sets overlap, so that the J differences d_j vary together, and a plain t-test finds too much. With mean m
    and variance s^2 (ddof 1),

        t = m / sqrt( (1/J + n_test / n_train) s^2 ),   J - 1 degrees of freedom.

    Parameters
    ----------
    differences
        (J,) of one model minus the other in each test part, averaged over seeds; undefined ones (NaN) are left out.
    n_test, n_train
        Patients of a test part and of its training part, means over the folds.

    Raises
    ------
    InputError
        A size is not above 0.

    References
    ----------
    Nadeau, Bengio (2003), Machine Learning 52, 239-281, the corrected resampled t-test;
    Bouckaert, Frank (2004), PAKDD, 3-12, for folds x repeats.
    """
    if not (n_test > 0 and n_train > 0):
        raise InputError(f"expected n_test and n_train above 0, found {n_test:g} and {n_train:g}.")
    defined = differences[np.isfinite(differences)]
    if len(defined) < 2:
        return PairedTest(
            np.nan, np.nan, len(defined), f"{len(defined)} of {len(differences)} test parts have a difference"
        )
    mean, variance = float(defined.mean()), float(defined.var(ddof=1))
    if variance <= np.finfo(float).eps * mean**2:
        return PairedTest(np.nan, np.nan, len(defined), f"all {len(defined)} differences are {mean:g}")
    t = mean / _error(defined, n_test=n_test, n_train=n_train)
    return PairedTest(float(t), float(2 * student.sf(abs(t), len(defined) - 1)), len(defined))


def detectable(differences: NDArray[np.float64], *, n_test: float, n_train: float, tests: int) -> float:
    """Mean difference from which the corrected resampled t-test is significant at the spread that is there.

    As the clearest of `tests` differences: t_{1 - a / (2 tests)}(J - 1) sqrt((1/J + n_test / n_train) s^2), a being
    `SIGNIFICANT`. A smaller one could not have been shown. NaN for fewer than two defined differences.

    Parameters
    ----------
    differences, n_test, n_train
        As in `corrected_t_test`.
    tests
        Of the family that Holm corrects for, at least 1.
    """
    defined = differences[np.isfinite(differences)]
    if len(defined) < 2:
        return np.nan
    least = student.isf(SIGNIFICANT / (2 * tests), len(defined) - 1)
    return float(least * _error(defined, n_test=n_test, n_train=n_train))


def _error(differences: NDArray[np.float64], *, n_test: float, n_train: float) -> float:
    """Standard error of the mean of differences over test parts whose training parts overlap."""
    return float(np.sqrt((1 / len(differences) + n_test / n_train) * differences.var(ddof=1)))


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Holm's correction: the chance of a single false finding among all tests stays below the level of one.

    Sorted ascending, the k-th of m values becomes  max_{l <= k} min(1, (m - l + 1) p_l).

    Parameters
    ----------
    p
        (tests,) in [0, 1]; NaN for a test that could not be made, which stays NaN and does not count.

    Raises
    ------
    InputError
        A value is not in [0, 1].

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.array(p, dtype=np.float64)
    made = np.flatnonzero(np.isfinite(values))
    if ((values < 0) | (values > 1)).any():
        raise InputError(f"expected p values in [0, 1], found {values.min()} to {values.max()}.")
    order = made[np.argsort(values[made], kind="stable")]
    factors = np.arange(len(made), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return corrected


def verdict(first: str, second: str, *, difference: float, p_corrected: float) -> str:
    """What a corrected p value allows to say of first minus second, in words."""
    if np.isnan(p_corrected) or np.isnan(difference):
        return "not compared"
    if p_corrected >= SIGNIFICANT or difference == 0:
        return "no difference shown"
    return f"{first if difference > 0 else second} higher"
