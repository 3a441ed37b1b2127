"""Losses with what they need for risks and survival, as they are fitted and restored."""

import numpy as np
import pytest
import torch

from tta_pipeline.config import Train
from tta_pipeline.models.objective import fit_objective, restore_objective
from tta_pipeline.numerics.metrics import harrell_c

RNG = np.random.default_rng(0)
TIMES, EVENT = RNG.exponential(800, size=60), RNG.random(60) < 0.5


@pytest.mark.parametrize(("loss", "outputs"), [("cox", 1), ("ranking", 1), ("nll", 4)])
def test_scores_that_minimise_the_loss_order_the_patients(loss: str, outputs: int) -> None:
    objective = fit_objective(Train(loss=loss), time_days=TIMES, event=EVENT)  # type: ignore[arg-type]
    assert (objective.name, objective.outputs) == (loss, outputs)
    scores = torch.zeros(60, outputs, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([scores], lr=0.1)
    time_days, event = torch.from_numpy(TIMES), torch.from_numpy(EVENT)
    for _ in range(200):
        optimiser.zero_grad()
        value = objective.loss(scores, time_days=time_days, event=event)
        assert value is not None
        value.backward()
        optimiser.step()
    found = scores.detach().numpy()
    c = harrell_c(risk=objective.risk(found), time_days=TIMES, event=EVENT).value
    assert c > (0.9 if loss == "nll" else 0.99)  # within a bin nll does not order
    baseline = objective.baseline(found, time_days=TIMES, event=EVENT)
    days = np.array([0.0, 100, 1000, TIMES.max(), TIMES.max() + 1])
    survival = objective.survival(days, scores=found, baseline=baseline)
    assert (np.diff(survival[:, :4], axis=1) <= 1e-12).all()
    assert np.isnan(survival[:, 4]).all()
    again = restore_objective(Train(loss=loss), baseline)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.survival(days, scores=found, baseline=baseline), survival)


@pytest.mark.parametrize("loss", ["cox", "ranking"])
def test_a_batch_without_events_has_no_loss(loss: str) -> None:
    objective = fit_objective(Train(loss=loss), time_days=TIMES, event=EVENT)  # type: ignore[arg-type]
    nobody = torch.zeros(3, dtype=torch.bool)
    assert objective.loss(torch.zeros(3, 1), time_days=torch.ones(3), event=nobody) is None
