"""Cox's proportional hazards in the log domain: the training loss, the baseline hazard, survival at fixed times.

Everywhere: `event` is True where the event was observed, and a higher log-risk is worse.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from tta_pipeline.errors import InputError

Ties = Literal["efron", "breslow"]
Floats = NDArray[np.float64]


def cox_loss(log_risk: Tensor, *, time_days: Tensor, event: Tensor, ties: Ties = "efron") -> Tensor:
    """Negative log partial likelihood of Cox's model, per event.

    With D the set of observed events and R(t) the patients still followed at time t,

        loss = 1/|D| sum_{i in D} [ log( sum_{j in R(t_i)} e^{r_j} - f_i sum_{j in D, t_j = t_i} e^{r_j} ) - r_i ],

    f = 0 for Breslow's treatment of ties; for Efron's, the d events of one time take f = 0, 1/d, ..., (d-1)/d.
    Nothing is exponentiated before a maximum is taken out, so log-risks of any size are safe.

    Parameters
    ----------
    log_risk
        (patients,), floating.
    time_days
        (patients,), follow-up time; only its order and its ties matter.
    event
        (patients,) bool, at least one True.

    Raises
    ------
    InputError
        No event: the partial likelihood is then an empty product, and its mean undefined.

    References
    ----------
    Cox, J. R. Stat. Soc. B 34 (1972), eq. 12; Breslow, Biometrics 30 (1974), eq. 7;
    Efron, J. Am. Stat. Assoc. 72 (1977), section 7.
    """
    if not bool(event.any()):
        raise InputError(f"expected at least one event in a Cox loss, found {len(event)} censored patients.")
    time_of_event, risk_of_event = time_days[event], log_risk[event]  # (events,)
    at_risk = time_days >= time_of_event[:, None]  # (events, patients)
    log_sum = _masked_logsumexp(log_risk, at_risk)
    if ties == "efron":
        tied = time_of_event == time_of_event[:, None]  # (events, events)
        fraction = tied.tril(-1).sum(dim=1) / tied.sum(dim=1)  # 0, 1/d, ..., (d-1)/d within a tie
        log_tied = _masked_logsumexp(risk_of_event, tied)
        log_sum = log_sum + torch.log1p(-fraction.to(log_sum) * (log_tied - log_sum).exp())
    return (log_sum - risk_of_event).mean()


def breslow_baseline(log_risk: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Breslow's cumulative baseline hazard: H0(t) = sum_{t_k <= t} d_k / sum_{j in R(t_k)} e^{r_j}.

    Parameters
    ----------
    log_risk, time_days, event
        (patients,) each, of the patients that the model was fitted on.

    Returns
    -------
    times, cumulative_hazard
        (distinct times,) each, ascending; the last time is the end of the support, censored or not.

    References
    ----------
    Breslow, discussion of Cox, J. R. Stat. Soc. B 34 (1972), p. 216.
    """
    times = np.unique(time_days)
    deaths = ((time_days == times[:, None]) & event).sum(axis=1)
    at_risk = time_days >= times[:, None]  # (times, patients)
    log_sum = logsumexp(np.where(at_risk, log_risk, -np.inf), axis=1)
    return times, np.cumsum(deaths * np.exp(-log_sum))


def survival_at(
    horizons_days: Floats, *, log_risk: Floats, times: Floats, cumulative_hazard: Floats
) -> NDArray[np.float64]:
    """Probability of surviving each horizon: S(t | r) = exp(-H0(t) e^r).

    Parameters
    ----------
    horizons_days
        (horizons,).
    log_risk
        (patients,).
    times, cumulative_hazard
        What `breslow_baseline` returned.

    Returns
    -------
    (patients, horizons) in [0, 1]; NaN at horizons beyond the last time, where nobody was followed.
    """
    last = np.searchsorted(times, horizons_days, side="right") - 1
    hazard = np.where(last >= 0, cumulative_hazard[last], 0.0)  # (horizons,)
    with np.errstate(divide="ignore", over="ignore"):
        survival: Floats = np.exp(-np.exp(np.log(hazard) + log_risk[:, None]))  # (patients, horizons)
    survival[:, horizons_days > times[-1]] = np.nan
    return survival


def curve_times(time_days: Floats, *, count: int = 101) -> Floats:
    """Times of a survival curve, ascending: at most `count`, between which equally many of `time_days` lie."""
    found: Floats = np.unique(np.quantile(time_days, np.linspace(0, 1, count), method="nearest"))
    return found


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, -torch.inf).logsumexp(dim=1)
