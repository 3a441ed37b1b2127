"""Intervals of the C-index that are tried beside the percentile interval, where models are fitted anew in each fold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from tta_pipeline.numerics.bootstrap import Interval, percentile_interval
from tta_pipeline.numerics.metrics import Fold, comparable_pairs, harrell_c

Floats = NDArray[np.float64]
TAIL = 0.975


def candidates(
    point: float, samples: Floats, *, parts: Sequence[Fold], inner: Floats, n_test: float, n_train: float
) -> dict[str, Interval]:
    """95 % intervals by name.

    percentile: of the bootstrap over patients, as in the report.
    stretched: the same, its ends sqrt(n / n_train) times as far from the point estimate.
    t over folds: Student's t of the C of the J folds, as if they were independent, variance s^2 / J.
    Nadeau-Bengio: the same with (1/J + n_test / n_train) s^2.
    nested: nested cross-validation on these folds alone, about the point estimate.

    Parameters
    ----------
    point, samples
        The pooled C and its bootstrap samples.
    parts
        The J test parts with their risks.
    inner
        (J, J) C of part j under a model that saw neither j nor i.
    n_test, n_train
        Patients of a test part and of its training part.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, eq. 13.5; Nadeau, Bengio (2003), Machine Learning 52,
    239-281; Bates, Hastie, Tibshirani (2024), J. Am. Stat. Assoc. 119, 1434-1445, nested cross-validation, and
    Sun, Tibshirani (2022), arXiv 2201.10770, for Cox's model.
    """
    folds = np.array([harrell_c(risk=part.risk, time_days=part.time_days, event=part.event).value for part in parts])
    j = len(folds)
    percentile = percentile_interval(samples, confidence=0.95)
    factor = np.sqrt((n_train + n_test) / n_train)
    spread, t = folds.std(ddof=1), student.ppf(TAIL, j - 1)
    return {
        "percentile": percentile,
        "stretched": Interval(point - factor * (point - percentile.low), point + factor * (percentile.high - point), 0),
        "t over folds": _about(folds.mean(), t * spread * np.sqrt(1 / j)),
        "Nadeau-Bengio": _about(folds.mean(), t * spread * np.sqrt(1 / j + n_test / n_train)),
        "nested": _about(point, norm.ppf(TAIL) * nested_error(folds, inner, parts=parts)),
    }


def nested_error(folds: Floats, inner: Floats, *, parts: Sequence[Fold]) -> float:
    """Standard error of nested cross-validation, kept between the naive one and sqrt(J) times it, as its authors do.

    The mean squared error of cross-validation without fold i is the mean over i of (mean_j inner_ij - folds_i)^2, less
    the variance of folds_i; (J - 1) / J of it is that of all folds.
    """
    j = len(folds)
    variances = np.array([influence_variance(part) for part in parts])
    naive = variances.mean() / j
    squared = np.mean((np.nanmean(inner, axis=1) - folds) ** 2 - variances)
    return float(np.sqrt(np.clip((j - 1) / j * squared, naive, j * naive)))


def influence_variance(part: Fold) -> float:
    """Variance of Harrell's C of one part: the sum of the squared influences of its patients."""
    pairs = comparable_pairs(part.time_days, part.event, np.arange(len(part.event))) & part.event[:, None]
    right = pairs & (part.risk[:, None] > part.risk[None, :])
    c = right.sum() / pairs.sum()
    influence = (right - c * pairs).sum(axis=0) + (right - c * pairs).sum(axis=1)
    return float((influence**2).sum() / pairs.sum() ** 2)


def _about(centre: float, half: float) -> Interval:
    return Interval(float(centre - half), float(centre + half), 0)
