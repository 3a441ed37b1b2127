"""What a training minimises, how a network's scores become a risk, and how they become survival."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tta_pipeline.config import Train
from tta_pipeline.numerics import discrete
from tta_pipeline.numerics.survival import Ties, breslow_baseline, cox_loss, survival_at

Floats = NDArray[np.float64]
Baseline = Mapping[str, NDArray[Any]]


class Objective(Protocol):
    """One of the losses. scores: (patients, outputs), what a network gives; a higher risk is worse."""

    @property
    def name(self) -> str:
        """As in `train.loss`; names the columns of the history."""

    @property
    def outputs(self) -> int:
        """Scores per patient."""

    def loss(self, scores: Tensor, *, time_days: Tensor, event: Tensor) -> Tensor | None:
        """Mean loss of these patients; None where it is undefined for them."""

    def risk(self, scores: Floats) -> Floats:
        """(patients,) from (patients, outputs)."""

    def baseline(self, scores: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> dict[str, Floats]:
        """What survival needs of the training patients; `time_days` are their distinct times."""

    def survival(self, days: Floats, *, scores: Floats, baseline: Baseline) -> Floats:
        """(patients, days) in [0, 1]; NaN beyond the last training time."""


@dataclass(frozen=True)
class Cox:
    """Partial likelihood; the score is a log-risk, survival is by Breslow's baseline hazard."""

    ties: Ties
    name: str = "cox"
    outputs: int = 1

    def loss(self, scores: Tensor, *, time_days: Tensor, event: Tensor) -> Tensor | None:
        """See `cox_loss`; None without an event."""
        if not bool(event.any()):
            return None
        return cox_loss(scores[:, 0], time_days=time_days, event=event, ties=self.ties)

    def risk(self, scores: Floats) -> Floats:
        """The log-risk."""
        return scores[:, 0]

    def baseline(self, scores: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> dict[str, Floats]:
        """Breslow's cumulative hazard."""
        times, hazard = breslow_baseline(scores[:, 0], time_days=time_days, event=event)
        return {"time_days": times, "cumulative_hazard": hazard}

    def survival(self, days: Floats, *, scores: Floats, baseline: Baseline) -> Floats:
        """exp(-H0(t) e^r)."""
        hazard, times = baseline["cumulative_hazard"], baseline["time_days"]
        return survival_at(days, log_risk=scores[:, 0], times=times, cumulative_hazard=hazard)


@dataclass(frozen=True)
class Ranking(Cox):
    """Smooth bound of 1 - C; survival as if the score were a log-risk, which it is up to an unknown scale."""

    name: str = "ranking"

    def loss(self, scores: Tensor, *, time_days: Tensor, event: Tensor) -> Tensor | None:
        """See `ranking_loss`; None without a comparable pair."""
        return discrete.ranking_loss(scores[:, 0], time_days=time_days, event=event)


@dataclass(frozen=True)
class DiscreteTime:
    """Likelihood of a hazard per bin. edges: (bins + 1,) days, of the training part."""

    edges: Floats
    censored_weight: float
    name: str = "nll"

    @property
    def outputs(self) -> int:
        """One logit per bin."""
        return len(self.edges) - 1

    def loss(self, scores: Tensor, *, time_days: Tensor, event: Tensor) -> Tensor | None:
        """See `discrete_nll`."""
        bins = torch.from_numpy(discrete.time_bin(time_days.cpu().numpy(), edges=self.edges)).to(scores.device)
        return discrete.discrete_nll(scores, time_bin=bins, event=event, censored_weight=self.censored_weight)

    def risk(self, scores: Floats) -> Floats:
        """-sum_b S_b."""
        return discrete.discrete_risk(scores)

    def baseline(self, scores: Floats, *, time_days: Floats, event: NDArray[np.bool_]) -> dict[str, Floats]:  # noqa: ARG002
        """Edges of the bins; the scores are hazards already."""
        return {"time_days": np.unique(time_days), "bin_edges_days": self.edges}

    def survival(self, days: Floats, *, scores: Floats, baseline: Baseline) -> Floats:
        """See `discrete_survival`."""
        return discrete.discrete_survival(days, logits=scores, edges=baseline["bin_edges_days"])


def fit_objective(config: Train, *, time_days: Floats, event: NDArray[np.bool_]) -> Objective:
    """The loss of a recipe, its bins from the training patients.

    Raises
    ------
    InputError
        Too few distinct event times for the bins.
    """
    if config.loss == "nll":
        edges = discrete.event_time_edges(time_days, event=event, bins=config.bins)
        return DiscreteTime(edges, censored_weight=config.censored_weight)
    return Cox(config.ties) if config.loss == "cox" else Ranking(config.ties)


def restore_objective(config: Train, baseline: Baseline) -> Objective:
    """The loss of a recipe as it was fitted."""
    if config.loss == "nll":
        return DiscreteTime(baseline["bin_edges_days"], censored_weight=config.censored_weight)
    return Cox(config.ties) if config.loss == "cox" else Ranking(config.ties)
