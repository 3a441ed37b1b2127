"""The log partial likelihood of many models at once, and its cross-validated form."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_partial_likelihood(log_risk: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> Floats:
    """Cox's log partial likelihood with Breslow's treatment of ties, for each column of log-risks.

    l = sum_{i in D} [ r_i - log sum_{j: t_j >= t_i} e^{r_j} ], D the observed events; 0 where there are none.

    Parameters
    ----------
    log_risk
        (patients, models).
    time_days, event
        (patients,) each.

    Returns
    -------
    (models,)

    References
    ----------
    Breslow, Biometrics 30 (1974), eq. 7.
    """
    latest_first = np.argsort(-time_days, kind="stable")
    log_sums = np.logaddexp.accumulate(log_risk[latest_first], axis=0)  # (patients, models), of the latest k + 1
    followed = len(time_days) - np.searchsorted(np.sort(time_days), time_days[event], side="left")
    total: Floats = (log_risk[event] - log_sums[followed - 1]).sum(axis=0)
    return total


def slope_at_zero(columns: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> Floats:
    """Gradient of the log partial likelihood at b = 0: sum_{i in D} [ x_i - mean of x over those followed at t_i ].

    Parameters
    ----------
    columns
        x, (patients, p).
    time_days, event
        (patients,) each.

    Returns
    -------
    (p,)
    """
    sums = columns[np.argsort(-time_days, kind="stable")].cumsum(axis=0)
    followed = len(time_days) - np.searchsorted(np.sort(time_days), time_days[event], side="left")
    slope: Floats = (columns[event] - sums[followed - 1] / followed[:, None]).sum(axis=0)
    return slope


def held_out_log_likelihood(
    log_risk: Floats, *, held_out: NDArray[np.bool_], time_days: Floats, event: NDArray[np.bool_]
) -> Floats:
    """What the held-out patients add to the log partial likelihood of models that were fitted on the others.

    l(b) - l_fit(b): of all patients less that of the fitted ones. A part too small for risk sets of its own is compared
    with everybody who was followed as long.

    Parameters
    ----------
    log_risk
        (patients, models), of all patients, by the models that were fitted without the held-out ones.
    held_out
        (patients,)

    References
    ----------
    Verweij, van Houwelingen, Stat. Med. 12 (1993) 2305, section 2.
    """
    fitted = ~held_out
    whole = log_partial_likelihood(log_risk, time_days=time_days, event=event)
    return whole - log_partial_likelihood(log_risk[fitted], time_days=time_days[fitted], event=event[fitted])
