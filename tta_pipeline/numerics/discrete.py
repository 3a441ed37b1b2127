"""Survival in discrete time: a hazard for each of a few bins of follow-up.

Everywhere: logits o_b of bins b = 1 .. B, hazards h_b = sigmoid(o_b), survival S_b = prod_{j <= b} (1 - h_j), S_0 = 1.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tta_pipeline.errors import InputError

Floats = NDArray[np.float64]


def event_time_edges(time_days: Floats, *, event: NDArray[np.bool_], bins: int, key: str = "train.bins") -> Floats:
    """Edges of bins that hold equally many of the observed events.

    Parameters
    ----------
    time_days, event
        (patients,) each, of the training patients: nobody else may move an edge.
    bins
        B, at least 1.
    key
        What sets `bins`, for the message of an error.

    Returns
    -------
    (bins + 1,) ascending: 0, the quantiles of the event times, the longest follow-up. The outer bins are open: times
    below the first or above the last edge belong to them.

    Raises
    ------
    InputError
        Too few distinct event times for so many bins.
    """
    times = time_days[event]
    inner = np.quantile(times, np.arange(1, bins) / bins) if len(times) else np.empty(0)
    edges = np.concatenate([[0.0], inner, [time_days.max(initial=0.0)]])
    if not len(times) or (np.diff(edges) <= 0).any():
        raise InputError(
            f"expected event times of training patients that can be cut into {key} = {bins} bins, found "
            f"{len(np.unique(times))} distinct times of {len(times)} events. Lower {key}, or use train.loss: cox and "
            "a model without bins."
        )
    return edges


def time_bin(time_days: Floats, *, edges: Floats) -> NDArray[np.int64]:
    """Bin of each time, 0 .. B - 1; a time at an inner edge belongs to the later bin."""
    return np.searchsorted(edges[1:-1], time_days, side="right").astype(np.int64)


def discrete_nll(logits: Tensor, *, time_bin: Tensor, event: Tensor, censored_weight: float) -> Tensor:
    """Negative log-likelihood of patients, mean over them.

    With y the bin of the time, e the event and w the weight,

        loss = mean [ -e (log S_{y-1} + log h_y) - w (1 - e) log S_y ].

    Parameters
    ----------
    logits
        (patients, B).
    time_bin
        (patients,) int64 in [0, B).
    event
        (patients,) bool, True where the event was observed.
    censored_weight
        w in [0, 1]; 1 is the likelihood itself, lower values take weight from the censored (1 - alpha of the source).

    References
    ----------
    Zadeh, Schmid, IEEE TPAMI 43 (2021) 3126, eq. 12.
    """
    log_stay = F.logsigmoid(-logits)  # (patients, B), log(1 - h)
    survived = F.pad(log_stay.cumsum(dim=1), (1, 0))  # (patients, B + 1), log S_0 .. log S_B
    row = time_bin[:, None]
    log_hazard = F.logsigmoid(logits).gather(1, row)[:, 0]
    died = survived.gather(1, row)[:, 0] + log_hazard
    lived = survived.gather(1, row + 1)[:, 0]
    return -torch.where(event, died, censored_weight * lived).mean()


def discrete_risk(logits: Floats) -> Floats:
    """Risk of each patient: -sum_b S_b, in [-B, 0]; (patients, B) -> (patients,)."""
    risk: Floats = -np.exp(_log_survival(logits)).sum(axis=1)
    return risk


def discrete_survival(days: Floats, *, logits: Floats, edges: Floats) -> Floats:
    """Probability of surviving each of `days`: (patients, days) in [0, 1]; NaN beyond the last edge.

    Within a bin the hazard is taken to be constant: log S is linear between the edges.
    """
    log_survival = np.concatenate([np.zeros((len(logits), 1)), _log_survival(logits)], axis=1)  # (patients, B + 1)
    found: Floats = np.exp(np.stack([np.interp(days, edges, row) for row in log_survival]))
    found[:, days > edges[-1]] = np.nan
    return found


def ranking_loss(risk: Tensor, *, time_days: Tensor, event: Tensor) -> Tensor | None:
    """Smooth bound of 1 - C: mean of log2(1 + e^{-(r_i - r_j)}) over pairs in which i has the event before j's time.

    Parameters
    ----------
    risk, time_days, event
        (patients,) each.

    Returns
    -------
    None where no pair is comparable.

    References
    ----------
    Raykar, Steck, Krishnapuram, Dehing-Oberije, Lambin, NIPS 20 (2007), eq. 11.
    """
    comparable = event[:, None] & (time_days[:, None] < time_days[None, :])
    if not bool(comparable.any()):
        return None
    lead = (risk[:, None] - risk[None, :])[comparable]
    return F.softplus(-lead).mean() / float(np.log(2))


def _log_survival(logits: Floats) -> Floats:
    log_survival: Floats = -np.logaddexp(0.0, logits).cumsum(axis=1)  # log(1 - sigmoid(o)) = -log(1 + e^o)
    return log_survival
