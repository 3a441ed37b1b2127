"""Bootstrap of the C-index over test patients: exact, from pair counts, for one model or a pair of models.

Models are compared by the difference of their C-indices on the same samples: draw once, then subtract.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.numerics.metrics import TIED_RISK, Fold, comparable_pairs, fits

_BLOCK = 1024
_UNDEFINED_LIMIT = 0.05


@dataclass(frozen=True)
class Interval:
    """Percentile interval of a bootstrap; NaN with a reason where too few samples were defined.

    undefined: bootstrap samples without a single comparable pair.
    """

    low: float
    high: float
    undefined: int
    reason: str = ""


@dataclass(frozen=True)
class Sampling:
    """Bootstrap samples of patients: how many, from which seed, and the level of the intervals from them."""

    samples: int
    seed: int
    confidence: float


def pair_counts(
    part: Fold, weights: NDArray[np.floating[Any]], *, of_pair: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Concordant and comparable pairs of a test part in which patient i stands weights[b, i] times.

    With D_ij = 1 for a comparable pair and H_ij = 1, 1/2 or 0 for its concordance,

        concordant_b = sum_ij w_bi w_bj D_ij H_ij,   comparable_b = sum_ij w_bi w_bj D_ij,

    which is exactly Harrell's C of the resampled patients: copies of one patient are never comparable.
    Counts below 2^23 are exact in float32, in which the products are formed.

    Parameters
    ----------
    part
        n patients.
    weights
        (samples, n) non-negative whole numbers.
    of_pair
        (n,) what a pair counts by the patient with the event in it; 1 where it is not given.

    Returns
    -------
    (2, samples): concordant pairs, then comparable ones.
    """
    weights32 = weights.astype(np.float32, copy=False)
    concordant, comparable = np.zeros(len(weights)), np.zeros(len(weights))
    rows = np.flatnonzero(part.event)
    for block in (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)):
        pairs = comparable_pairs(part.time_days, part.event, block)  # (block, n)
        lead = part.risk[block, None] - part.risk[None, :]
        agreement = np.where(np.abs(lead) <= TIED_RISK, 0.5, lead > 0)
        own = weights[:, block].astype(np.float64)  # (samples, block)
        own = own if of_pair is None else own * of_pair[block]
        comparable += (own * (weights32 @ pairs.T.astype(np.float32))).sum(axis=1)
        concordant += (own * (weights32 @ (pairs * agreement).T.astype(np.float32))).sum(axis=1)
    return np.stack([concordant, comparable])


def draw_patients(parts: Sequence[Fold], *, samples: int, seed: int) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Bootstrap samples of patients: drawn with replacement within the folds of the first repeat.

    One weight stands for a patient in every repeat and seed, so that a sample is a sample of patients, not of risks.

    Returns
    -------
    patient_id
        (n,) sorted.
    weights
        (samples, n) float32, how often each patient was drawn; not to be written to, as models of the same patients and
        folds share it.
    """
    fold_of: dict[str, tuple[int, int]] = {}
    for part in sorted(parts, key=lambda part: (part.repeat, part.fold, part.seed)):
        for name in part.patient_id:
            fold_of.setdefault(str(name), (part.repeat, part.fold))
    patient_id = np.array(sorted(fold_of), dtype=np.str_)
    return patient_id, _draw(tuple(fold_of[str(name)] for name in patient_id), samples=samples, seed=seed)


@lru_cache(maxsize=1)
def _draw(folds: tuple[tuple[int, int], ...], *, samples: int, seed: int) -> NDArray[np.float32]:
    """Weights (samples, n) of patients in those folds; kept, since every model of a report asks for the same."""
    generator = np.random.default_rng(seed)
    weights = np.zeros((samples, len(folds)), dtype=np.float32)
    for fold in sorted(set(folds)):
        members = np.flatnonzero([one == fold for one in folds])
        weights[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), samples)
    weights.setflags(write=False)
    return weights


def bootstrap_pooled_c(
    parts: Sequence[Fold], *, patient_id: NDArray[np.str_], weights: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """`mean_pooled_c` of each bootstrap sample; NaN where a fit has no comparable pair in the sample.

    The fitted models stay as they are: the spread is that of the test patients, not of training. An interval from it is
    for the mean C of the fitted models at hand, not for that of models which another cohort would give. It is exact for
    risks that are given, and in the limit of many patients where training is stable. Otherwise it is too narrow:
    a fold's patients train the models of the other folds, so that the errors of the folds' C vary together.
    `benchmarks/RESULTS.md` says by how much. No unbiased estimate of that variance exists in one cross-validation.

    Parameters
    ----------
    parts
        Test parts of one model.
    patient_id, weights
        (n,) and (samples, n), from `draw_patients`; they hold every patient of the parts.

    Returns
    -------
    (samples,) C-index.

    References
    ----------
    Bayle, Bayle, Janson, Mackey (2020), NeurIPS 33 (the limit); Bates, Hastie, Tibshirani (2024), J. Am. Stat. Assoc.
    119, 1434-1445 (why it is too narrow); Bengio, Grandvalet (2004), J. Mach. Learn. Res. 5, 1089-1105 (no unbiased
    estimate).
    """
    each = []
    for fit in fits(parts):
        own = [part for part in parts if part.fit == fit]
        counts = np.sum(
            [pair_counts(one, weights_of(one, patient_id=patient_id, weights=weights)) for one in own], axis=0
        )
        if counts[1].any():
            each.append(ratio(counts))
    return np.mean(each, axis=0) if each else np.full(len(weights), np.nan)


def weights_of(
    part: Fold, *, patient_id: NDArray[np.str_], weights: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """(samples, patients of the part) of the weights of `draw_patients`."""
    own: NDArray[np.floating[Any]] = weights[:, np.searchsorted(patient_id, part.patient_id)]
    return own


def ratio(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """First over second of (2, samples); NaN where the second is 0."""
    found: NDArray[np.float64] = np.full(counts.shape[1], np.nan)
    np.divide(counts[0], counts[1], out=found, where=counts[1] > 0)
    return found


def percentile_interval(values: NDArray[np.float64], *, confidence: float) -> Interval:
    """Central interval of the defined bootstrap values at level `confidence` (percentile method).

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, eq. 13.5.
    """
    defined = values[np.isfinite(values)]
    undefined = len(values) - len(defined)
    if undefined > _UNDEFINED_LIMIT * len(values):
        return Interval(np.nan, np.nan, undefined, f"{undefined} of {len(values)} bootstrap samples are undefined")
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), undefined)
