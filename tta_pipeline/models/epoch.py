"""What happened in the steps of one epoch."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tta_pipeline.models.batch import Output


class Epoch:
    """Collects the steps of one epoch; `scores` is what the step of each patient gave, by the patient's row."""

    def __init__(self) -> None:
        self.scores: dict[int, NDArray[np.float64]] = {}
        self._terms: dict[str, list[float]] = defaultdict(list)
        self._worst: dict[str, float] = {}
        self._rate = 0.0
        self._without_events = 0

    def add(
        self, members: NDArray[np.int64], output: Output, losses: dict[str, Tensor], *, objective: str, rate: float
    ) -> None:
        """Note one step: the rows of its patients, what the model gave, the terms of the loss, the learning rate.

        objective: the term that a step without events lacks.
        """
        for key, value in losses.items():
            self._terms[f"loss_{key}"].append(float(value.detach()))
        for key, number in output.diagnostics.items():
            self._worst[key] = max(number, self._worst.get(key, number))
        self.scores |= dict(zip(members.tolist(), output.scores.detach().double().cpu().numpy(), strict=True))
        self._rate = rate
        self._without_events += objective not in losses

    def row(self) -> dict[str, float]:
        """Mean of each loss term over the steps that had it, largest of each diagnostic, last learning rate."""
        return {
            **{key: float(np.mean(values)) for key, values in self._terms.items()},
            **self._worst,
            "learning_rate": self._rate,
            "steps_without_events": float(self._without_events),
        }
