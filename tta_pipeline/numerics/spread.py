"""Where the spread of a C-index comes from: other folds, other seeds of the fit, other repeats of the splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tta_pipeline.numerics.metrics import Fold, harrell_c


@dataclass(frozen=True)
class Spread:
    """Standard deviations (ddof 1) of a metric; each is NaN where there are not two values to differ.

    over_folds: over the folds of a repeat, of the mean over seeds. Folds share training patients, so that it is no
    standard error when divided by a root.
    over_seeds: over the seeds of one fold. The patients are the same: this is the chance in the training alone.
    over_repeats: over the repeats, of the mean over seeds, then over folds.
    The first is averaged over repeats and the second over folds, both as variances.
    """

    over_folds: float
    over_seeds: float
    over_repeats: float


def spread_of_c(parts: Sequence[Fold]) -> Spread:
    """The three spreads of the C-index of one model; test parts without a C-index are left out."""
    values: dict[tuple[int, int], list[float]] = {}
    for part in parts:
        c = harrell_c(risk=part.risk, time_days=part.time_days, event=part.event)
        if c.comparable:
            values.setdefault((part.repeat, part.fold), []).append(c.value)
    return spread(values)


def spread(values: Mapping[tuple[int, int], Sequence[float]]) -> Spread:
    """The three spreads of a metric from its values by repeat and fold, one of each seed.

    The spread over seeds of the mean over folds would be smaller than `over_seeds`, for the chances of the folds partly
    cancel in their mean.

    References
    ----------
    Bouthillier et al. (2021), Accounting for Variance in Machine Learning Benchmarks, MLSys 3; Bengio, Grandvalet
    (2004), J. Mach. Learn. Res. 5, 1089-1105 (no unbiased estimate of the variance over folds).
    """
    folds: dict[int, list[float]] = {}
    for (repeat, _), seeds in sorted(values.items()):
        folds.setdefault(repeat, []).append(float(np.mean(seeds)))
    return Spread(
        over_folds=_root_mean_variance(list(folds.values())),
        over_seeds=_root_mean_variance(list(values.values())),
        over_repeats=_root_mean_variance([[float(np.mean(of)) for of in folds.values()]]),
    )


def _root_mean_variance(groups: Sequence[Sequence[float]]) -> float:
    """Root of the mean over groups of their variance (ddof 1); groups of one value do not count, NaN if none does."""
    variances = [float(np.var(group, ddof=1)) for group in groups if len(group) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else np.nan
