"""Bootstrap of the metrics over time: those of resampled test patients, without resampling them one by one.

What is known of the censoring stays that of the training part. So a Brier score is a mean of patients' terms, and
Uno's C and an AUC are ratios of weighted pairs, in which a patient who is drawn w times stands w times. With everybody
drawn once they are the values of `time_metrics`, that is, scikit-survival's.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from sksurv.nonparametric import CensoringDistributionEstimator

from tta_pipeline.numerics.bootstrap import pair_counts, ratio
from tta_pipeline.numerics.metrics import TIED_RISK, Fold
from tta_pipeline.numerics.time_metrics import Floats, Outcomes

Weights = NDArray[np.float32]


def uno_samples(part: Fold, *, train: Outcomes, weights: Weights) -> Floats:
    """Uno's C of each sample, (samples,); NaN where no pair of it can be compared.

    Each comparable pair counts 1 / G(t)^2, t being the earlier time and G the censoring distribution.

    Parameters
    ----------
    part
        n test patients.
    train
        Outcomes of the patients who trained.
    weights
        (samples, n), how often each patient was drawn.
    """
    known = part.event & (part.time_days < train.time_days.max())
    early = replace(part, event=known)
    by_pair = np.zeros(len(known))
    by_pair[known] = 1 / _uncensored(part.time_days[known], train=train) ** 2
    return ratio(pair_counts(early, weights, of_pair=by_pair))


def auc_samples(part: Fold, *, horizon_days: float, train: Outcomes, weights: Weights) -> Floats:
    """Cumulative/dynamic AUC of each sample, (samples,); NaN where nobody has the event by then, or everybody."""
    case = part.event & (part.time_days <= horizon_days)
    control = part.time_days > horizon_days
    lead = part.risk[case, None] - part.risk[None, control]
    agreement = np.where(np.abs(lead) <= TIED_RISK, 0.5, lead > 0)  # (cases, controls)
    cases = weights[:, case] / _uncensored(part.time_days[case], train=train)
    concordant = (cases @ agreement * weights[:, control]).sum(axis=1)
    pairs = cases.sum(axis=1) * weights[:, control].sum(axis=1)
    return ratio(np.stack([concordant, pairs]))


def brier_samples(part: Fold, *, survival: Floats, days: Floats, train: Outcomes, weights: Weights) -> Floats:
    """Brier score of each sample, (samples,), averaged over time between the first and the last of `days`.

    Parameters
    ----------
    survival
        (n, times), predicted survival at `days`.
    days
        (times,) ascending; one alone for the score at a horizon.
    """
    terms = _brier_terms(part, survival=survival, days=days, train=train)
    own = terms[:, 0] if len(days) == 1 else trapezoid(terms, days, axis=1) / (days[-1] - days[0])
    return ratio(np.stack([weights @ own, weights.sum(axis=1)]))


def _brier_terms(part: Fold, *, survival: Floats, days: Floats, train: Outcomes) -> Floats:
    """(n, times): squared error of each patient, weighted for those who are censored before."""
    seen = Outcomes(part.time_days, part.event).until(float(train.time_days.max()))
    times = seen.time_days[:, None]
    died, alive = seen.event[:, None] & (times <= days), times > days
    at_own, at_days = _uncensored(seen.time_days, train=train), _uncensored(days, train=train)
    terms: Floats = died * survival**2 / at_own[:, None] + alive * (1 - survival) ** 2 / at_days
    return terms


def _uncensored(days: Floats, *, train: Outcomes) -> Floats:
    """Probability of not being censored by then in the training part; infinity instead of 0, as scikit-survival."""
    found: Floats = CensoringDistributionEstimator().fit(train.structured()).predict_proba(days)
    return np.where(found == 0, np.inf, found)
