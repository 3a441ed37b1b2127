"""Survival of risk groups: the split into groups, Kaplan-Meier curves, numbers at risk, the log-rank test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sksurv.compare import compare_survival
from sksurv.nonparametric import kaplan_meier_estimator

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.metrics import Fold, fits

CUT_OFF = "median risk of the fold's training patients"


@dataclass(frozen=True)
class RiskGroups:
    """Test patients of all folds of one repeat and seed, (n,) each; `high` is True above the `CUT_OFF` of their fold.

    Nobody is in them, and `reason` says why, where a fold has no cut-off.
    """

    repeat: int
    seed: int
    time_days: NDArray[np.float64]
    event: NDArray[np.bool_]
    high: NDArray[np.bool_]
    reason: str = ""


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier curve that starts at day 0 with 1, and steps at each of `time_days`.

    survival, low, high: (t,) probability of surviving and its pointwise interval.
    censored_days: times at which a patient was censored.
    """

    time_days: NDArray[np.float64]
    survival: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    censored_days: NDArray[np.float64]

    def median_days(self) -> float:
        """First time at which survival is at most one half; NaN where that is not reached."""
        reached = np.flatnonzero(self.survival <= 0.5)
        return float(self.time_days[reached[0]]) if len(reached) else np.nan

    def at(self, time_days: NDArray[np.float64]) -> NDArray[np.float64]:
        """Survival at each of the times, in [0, 1]."""
        return self.survival[np.searchsorted(self.time_days, time_days, side="right") - 1]


@dataclass(frozen=True)
class LogRank:
    """Chi-square statistic (one degree of freedom) and two-sided p; NaN with a reason where undefined."""

    chi2: float
    p: float
    reason: str = ""


def kaplan_meier(*, time_days: NDArray[np.float64], event: NDArray[np.bool_], confidence: float = 0.95) -> Curve:
    """Kaplan-Meier estimate with the log(-log) interval of Greenwood's variance.

    Where survival is 1 or 0 the interval has no width of its own and equals the estimate.

    Parameters
    ----------
    time_days
        (n,) follow-up time, n at least 1.
    event
        (n,) True where the event was observed.
    confidence
        Level of the interval, in (0, 1).

    Raises
    ------
    InputError
        There are no patients.

    References
    ----------
    Kaplan, Meier (1958), J. Am. Stat. Assoc. 53, eq. 2b; Kalbfleisch, Prentice (2002), section 1.4.
    """
    if len(time_days) == 0:
        raise InputError("expected at least one patient for a Kaplan-Meier curve, found none.")
    times, survival, interval = kaplan_meier_estimator(event, time_days, conf_level=confidence, conf_type="log-log")
    inside = (survival > 0) & (survival < 1)
    return Curve(
        time_days=np.concatenate([[0.0], times]),
        survival=np.concatenate([[1.0], survival]),
        low=np.concatenate([[1.0], np.where(inside, interval[0], survival)]),
        high=np.concatenate([[1.0], np.where(inside, interval[1], survival)]),
        censored_days=np.sort(time_days[~event]),
    )


def numbers_at_risk(time_days: NDArray[np.float64], *, at_days: NDArray[np.float64]) -> NDArray[np.int64]:
    """Patients still followed just before each of `at_days`."""
    return len(time_days) - np.searchsorted(np.sort(time_days), at_days, side="left")


def log_rank(*, time_days: NDArray[np.float64], event: NDArray[np.bool_], high: NDArray[np.bool_]) -> LogRank:
    """Log-rank test of the patients with `high` against the others.

    References
    ----------
    Fleming, Harrington (1981), Commun. Stat. 10, 763-794.
    """
    if high.all() or not high.any():
        return LogRank(np.nan, np.nan, f"all {len(high)} patients are in one group")
    if not event.any():
        return LogRank(np.nan, np.nan, f"no events among {len(event)} patients")
    if not _decides(time_days=time_days, event=event, high=high):
        return LogRank(np.nan, np.nan, "at no event are both groups followed with a patient who lives on")
    outcome = np.array(list(zip(event, time_days, strict=True)), dtype=[("event", "?"), ("time_days", "f8")])
    chi2, p = compare_survival(outcome, high)
    return LogRank(float(chi2), float(p))


def _decides(*, time_days: NDArray[np.float64], event: NDArray[np.bool_], high: NDArray[np.bool_]) -> bool:
    """Whether an event could have fallen into either group: else the test has no variance."""
    days, deaths = np.unique(time_days[event], return_counts=True)
    in_high, in_low = (numbers_at_risk(time_days[of], at_days=days) for of in (high, ~high))
    return bool(((in_high > 0) & (in_low > 0) & (deaths < in_high + in_low)).any())


def split_by_risk(parts: Sequence[Fold], *, train_median: Mapping[tuple[int, int, int], float]) -> RiskGroups:
    """High and low risk among the test patients of the first repeat and seed, fold by fold.

    Risks of two fits are not on one scale, so each fold has its own cut-off: the median risk of its training patients.
    A risk at the cut-off is low. Test patients never make a cut-off: where a fold has none, there are no groups.

    Parameters
    ----------
    parts
        Test parts of one model.
    train_median
        (repeat, fold, seed) -> median risk of the patients whom that fit was trained on.
    """
    repeat, seed = fits(parts)[0]
    own = [part for part in parts if part.fit == (repeat, seed)]
    cuts = [train_median.get((part.repeat, part.fold, part.seed), np.nan) for part in own]
    lacking = int((~np.isfinite(cuts)).sum())
    if lacking:
        reason = f"no median risk of the training patients in {lacking} of {len(own)} folds: train again"
        nobody = np.empty(0, dtype=bool)
        return RiskGroups(repeat, seed, time_days=np.empty(0), event=nobody, high=nobody, reason=reason)
    return RiskGroups(
        repeat=repeat,
        seed=seed,
        time_days=np.concatenate([part.time_days for part in own]),
        event=np.concatenate([part.event for part in own]),
        high=np.concatenate([part.risk > cut for part, cut in zip(own, cuts, strict=True)]),
    )


def group_row(groups: RiskGroups) -> dict[str, object]:
    """Sizes, events, median survival and log-rank test of the two groups; NaN where a median is not reached.

    Groups of nobody have no test, and the reason of the groups.
    """
    row: dict[str, object] = {"repeat": groups.repeat, "seed": groups.seed, "cut_off": CUT_OFF}
    for name, member in (("low", ~groups.high), ("high", groups.high)):
        time_days, event = groups.time_days[member], groups.event[member]
        row[f"n_{name}"] = len(event)
        row[f"events_{name}"] = int(event.sum())
        row[f"median_days_{name}"] = (
            kaplan_meier(time_days=time_days, event=event).median_days() if len(event) else np.nan
        )
    if groups.reason:
        return row | {"chi2": np.nan, "p": np.nan, "reason": groups.reason}
    test = log_rank(time_days=groups.time_days, event=groups.event, high=groups.high)
    return row | {"chi2": test.chi2, "p": test.p, "reason": test.reason}
