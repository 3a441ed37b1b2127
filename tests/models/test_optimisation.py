import numpy as np
import pytest
import torch
from torch import nn

from tta_pipeline.errors import DivergedError
from tta_pipeline.models.layers import PathwayLinear
from tta_pipeline.models.optimisation import adamw, clip_gradients, learning_rate_at


def test_rate_warms_up_linearly_then_falls_as_a_cosine() -> None:
    rates = [learning_rate_at(step, steps=20, warmup_fraction=0.5) for step in range(20)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], 0.5 * (1 + np.cos(np.pi * np.arange(10) / 10)))


@pytest.mark.parametrize("warmup_fraction", [0.0, 1.0])
def test_all_or_no_warm_up(warmup_fraction: float) -> None:
    rates = [learning_rate_at(step, steps=5, warmup_fraction=warmup_fraction) for step in range(5)]
    assert max(rates) == 1
    assert all(rate > 0 for rate in rates)


def test_neither_biases_nor_norms_decay() -> None:
    model = nn.ModuleList([nn.Linear(3, 3), nn.LayerNorm(3), PathwayLinear([np.arange(2)] * 2, 3)])
    decayed, kept = adamw(model, learning_rate=1.0, weight_decay=0.5).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 3), (4, 3)]
    assert sorted(tuple(p.shape) for p in kept["params"]) == [(2, 3), (3,), (3,), (3,)]


def test_gradients_are_scaled_to_the_limit_together_and_small_ones_stay() -> None:
    model = nn.Linear(1, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    clip_gradients(model, limit=10)
    assert (model.weight.grad.item(), model.bias.grad.item()) == (3, 4)
    clip_gradients(model, limit=None)
    assert (model.weight.grad.item(), model.bias.grad.item()) == (3, 4)
    clip_gradients(model, limit=1)
    assert (model.weight.grad.item(), model.bias.grad.item()) == pytest.approx((0.6, 0.8), abs=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_gradients_that_are_not_finite_are_a_divergence(value: float) -> None:
    model = nn.Linear(1, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[1.0]]), torch.tensor([value])
    with pytest.raises(DivergedError, match=r"gradients of a finite norm, found (nan|inf).* lower train.learning_rate"):
        clip_gradients(model, limit=1)
