"""Survival in discrete time, against sums by hand and an independent likelihood."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.discrete import (
    discrete_nll,
    discrete_risk,
    discrete_survival,
    event_time_edges,
    ranking_loss,
    time_bin,
)
from tta_pipeline.numerics.metrics import harrell_c

EDGES = np.array([0.0, 10.0, 20.0, 40.0])


def test_bins_hold_equally_many_events_whatever_the_censored_do() -> None:
    generator = np.random.default_rng(0)
    times, event = generator.exponential(500, size=400), generator.random(400) < 0.3
    edges = event_time_edges(times, event=event, bins=4)
    counts = np.bincount(time_bin(times[event], edges=edges))
    assert counts.max() - counts.min() <= 1
    moved = np.where(event, times, times * 0.5)
    np.testing.assert_array_equal(event_time_edges(moved, event=event, bins=4)[:-1], edges[:-1])


def test_outer_bins_are_open_and_an_edge_belongs_to_the_later_bin() -> None:
    assert time_bin(np.array([-1.0, 0, 9.9, 10, 20, 40, 1e9]), edges=EDGES).tolist() == [0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("times", "event", "found"),
    [([5.0] * 8, [True] * 8, "1 distinct times of 8 events"), ([1.0, 2, 3, 4], [False] * 4, "0 distinct times of 0 ")],
)
def test_too_few_event_times_for_the_bins(times: list[float], event: list[bool], found: str) -> None:
    with pytest.raises(InputError, match=rf"train\.bins = 4 bins, found {found}"):
        event_time_edges(np.array(times), event=np.array(event), bins=4)


@given(
    logits=st.lists(st.floats(-6, 6), min_size=3, max_size=3),
    y=st.integers(0, 2),
    event=st.booleans(),
    weight=st.floats(0, 1),
)
def test_the_likelihood_is_that_of_the_hazards(logits: list[float], y: int, event: bool, weight: float) -> None:
    hazard = [1 / (1 + math.exp(-o)) for o in logits]
    stay = math.prod(1 - h for h in hazard[:y])
    expected = -math.log(stay * hazard[y]) if event else -weight * math.log(stay * (1 - hazard[y]))
    loss = discrete_nll(
        torch.tensor([logits], dtype=torch.float64),
        time_bin=torch.tensor([y]),
        event=torch.tensor([event]),
        censored_weight=weight,
    )
    assert float(loss) == pytest.approx(expected, abs=1e-9)


def test_the_likelihood_is_finite_and_has_a_gradient_where_a_product_would_vanish() -> None:
    logits = torch.tensor([[200.0, -200.0]], dtype=torch.float64, requires_grad=True)
    loss = discrete_nll(logits, time_bin=torch.tensor([1]), event=torch.tensor([True]), censored_weight=1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(400)
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1, -1])


def test_the_maximum_of_the_likelihood_is_the_life_table() -> None:
    """Without covariates the hazards are events over patients at risk."""
    bins, event = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2]), torch.tensor([1, 0, 1, 1, 0, 1, 0, 0], dtype=torch.bool)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = discrete_nll(logits.expand(8, 3), time_bin=bins, event=event, censored_weight=1.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert logits.detach().sigmoid().tolist() == pytest.approx([1 / 8, 2 / 6, 1 / 3], abs=1e-5)


def test_survival_between_the_edges() -> None:
    logits = np.array([[0.0, 0.0, 0.0], [-50.0, -50.0, 50.0]])
    days = np.array([0.0, 5, 10, 20, 40, 41])
    found = discrete_survival(days, logits=logits, edges=EDGES)
    np.testing.assert_allclose(found[0, :5], [1, 0.5**0.5, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(found[1, :5], [1, 1, 1, 1, 0], atol=1e-12)
    assert np.isnan(found[:, 5]).all()


def test_the_risk_is_higher_where_survival_is_lower() -> None:
    logits = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-50.0, -50.0, -50.0]])
    risk = discrete_risk(logits)
    assert risk[1] > risk[0] > risk[2]
    assert risk[[0, 2]].tolist() == pytest.approx([-(0.5 + 0.25 + 0.125), -3])


def test_the_ranking_loss_bounds_the_pairs_that_are_wrong() -> None:
    generator = np.random.default_rng(1)
    times, event = generator.permutation(50).astype(float), generator.random(50) < 0.5
    risk = generator.normal(size=50)
    loss = ranking_loss(torch.from_numpy(risk), time_days=torch.from_numpy(times), event=torch.from_numpy(event))
    assert loss is not None
    assert float(loss) >= 1 - harrell_c(risk=risk, time_days=times, event=event).value
    sharp = ranking_loss(
        torch.from_numpy(-1e3 * times), time_days=torch.from_numpy(times), event=torch.from_numpy(event)
    )
    assert sharp is not None
    assert float(sharp) == pytest.approx(0, abs=1e-9)


def test_no_pair_has_no_ranking_loss() -> None:
    assert ranking_loss(torch.zeros(2), time_days=torch.ones(2), event=torch.tensor([True, True])) is None
