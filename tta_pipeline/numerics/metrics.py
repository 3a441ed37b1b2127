"""Discrimination of risks: Harrell's C, pooled within folds, with bootstrap intervals over patients.

The rules, stated once for every C-index of the project:

- A pair is comparable when the patient with the shorter time had the event, or when both times are equal and one
  of the two had the event. Two events at the same time are not comparable.
- A comparable pair whose risks differ by at most `TIED_RISK` counts one half.
- Risks of two fits are not on one scale: pairs are formed within a test part, and pooling adds the pairs of the parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sksurv.metrics import concordance_index_censored

from tta_pipeline.errors import InputError

TIED_RISK = 1e-8


@dataclass(frozen=True)
class Concordance:
    """A C-index with the pairs it rests on; `value` is NaN, and `reason` says why, where it is undefined."""

    value: float
    concordant: float
    comparable: int
    reason: str = ""


@dataclass(frozen=True)
class Fold:
    """Test patients of one fit: one repeat, fold and seed of a model. Arrays of shape (patients,)."""

    repeat: int
    fold: int
    seed: int
    patient_id: NDArray[np.str_]
    risk: NDArray[np.float64]
    time_days: NDArray[np.float64]
    event: NDArray[np.bool_]

    @property
    def fit(self) -> tuple[int, int]:
        """Repeat and seed: the parts that are pooled."""
        return self.repeat, self.seed


def harrell_c(*, risk: NDArray[np.float64], time_days: NDArray[np.float64], event: NDArray[np.bool_]) -> Concordance:
    """Harrell's C: the fraction of comparable pairs in which the patient who died earlier has the higher risk.

    Parameters
    ----------
    risk
        (n,) any real scale; higher is worse.
    time_days
        (n,) follow-up time, at least 0.
    event
        (n,) True where the event was observed.

    Raises
    ------
    InputError
        The shapes differ, or a risk or time is NaN or infinite.

    References
    ----------
    Harrell, Lee, Mark (1996), Statistics in Medicine 15, 361-387, section 5.5.
    """
    check_outcomes(risk=risk, time_days=time_days, event=event)
    if len(risk) == 0:
        return Concordance(np.nan, 0.0, 0, "no test patients")
    if not event.any():
        return Concordance(np.nan, 0.0, 0, f"no events among {len(risk)} patients")
    if not comparable_pairs(time_days, event, np.flatnonzero(event)).any():
        return Concordance(np.nan, 0.0, 0, f"no comparable pairs among {len(risk)} patients, {event.sum()} events")
    value, concordant, discordant, tied, _ = concordance_index_censored(event, time_days, risk, tied_tol=TIED_RISK)
    return Concordance(float(value), float(concordant + tied / 2), int(concordant + discordant + tied))


def check_outcomes(*, risk: NDArray[np.float64], time_days: NDArray[np.float64], event: NDArray[np.bool_]) -> None:
    """Raise InputError unless the three are finite vectors of one length and `event` is bool."""
    shapes = {"risk": risk.shape, "time_days": time_days.shape, "event": event.shape}
    if len(set(shapes.values())) != 1 or risk.ndim != 1:
        raise InputError(f"expected risk, time_days and event of one shape (n,), found {shapes}.")
    if event.dtype != np.bool_:
        raise InputError(f"expected event as bool, True where the event was observed, found {event.dtype}.")
    for name, values in (("risk", risk), ("time_days", time_days)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise InputError(f"expected finite {name}, found NaN or infinity for {bad} of {len(values)} patients.")


def pooled_c(parts: Sequence[Fold]) -> Concordance:
    """C over the comparable pairs within each of the parts: the sum of concordant over the sum of comparable pairs."""
    each = [harrell_c(risk=part.risk, time_days=part.time_days, event=part.event) for part in parts]
    comparable = sum(one.comparable for one in each)
    concordant = sum(one.concordant for one in each)
    if comparable == 0:
        return Concordance(np.nan, 0.0, 0, f"no comparable pairs in {len(parts)} test parts")
    return Concordance(concordant / comparable, concordant, comparable)


def mean_pooled_c(parts: Sequence[Fold]) -> Concordance:
    """Mean of the pooled C over repeats and seeds; the pairs are summed over them."""
    each = [pooled_c([part for part in parts if part.fit == fit]) for fit in fits(parts)]
    values = [one.value for one in each if one.comparable]
    if not values:
        return Concordance(np.nan, 0.0, 0, f"no comparable pairs in {len(parts)} test parts")
    return Concordance(float(np.mean(values)), sum(one.concordant for one in each), sum(one.comparable for one in each))


def fits(parts: Sequence[Fold]) -> list[tuple[int, int]]:
    """Repeat and seed of each set of folds that is pooled, sorted."""
    return sorted({part.fit for part in parts})


def comparable_pairs(
    time_days: NDArray[np.float64], event: NDArray[np.bool_], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(rows, n) True where the patient of the row, who had the event, is comparable to the one of the column."""
    later = time_days[rows, None] < time_days[None, :]
    censored_then = (time_days[rows, None] == time_days[None, :]) & ~event[None, :]
    comparable: NDArray[np.bool_] = later | censored_then
    return comparable
