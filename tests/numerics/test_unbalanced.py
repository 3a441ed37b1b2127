import math

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.unbalanced import Unbalanced, shifted_cost, solve_unbalanced

TIGHT = {"tolerance": 1e-12, "max_rounds": 100_000}


def draw(n: int, m: int, *, batch: int = 1, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.rand(batch, n, m, generator=generator, dtype=torch.float64)


def padded(*, garbage: float) -> tuple[Tensor, Tensor, Tensor]:
    """Costs (4, 12, 5), rows and columns; the second patient has one of each."""
    cost = draw(12, 5, batch=4)
    rows = torch.arange(12) < torch.tensor([12, 1, 7, 9])[:, None]
    columns = torch.arange(5) < torch.tensor([3, 1, 5, 4])[:, None]
    return cost.masked_fill(~(rows[:, :, None] & columns[:, None]), garbage), rows, columns


def marginals(solution: Unbalanced) -> tuple[Tensor, Tensor]:
    return solution.plan.sum(dim=2), solution.plan.sum(dim=1)


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")  # it says that it does as told
@pytest.mark.parametrize("epsilon", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("tau", [0.05, 0.5, 20.0])
def test_plan_equals_pot(epsilon: float, tau: float) -> None:
    cost = draw(30, 6)
    expected = ot.unbalanced.sinkhorn_knopp_unbalanced(
        np.full(30, 1 / 30),
        np.full(6, 1 / 6),
        cost[0].numpy(),
        epsilon,
        tau,
        reg_type="entropy",
        stopThr=1e-14,
        numItermax=100_000,
    )
    found = solve_unbalanced(cost, epsilon=epsilon, tau=tau, **TIGHT).plan[0]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=0)
    coarse = solve_unbalanced(cost, epsilon=epsilon, tau=tau).plan[0]
    np.testing.assert_allclose(coarse, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0])  # exponents of 10, and of 1,000
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_the_plan_is_stationary(scale: float, tau: float) -> None:
    """C + eps log T + tau log(T 1 / a) + tau log(T^T 1 / b) = 0 in every entry, where T can be told from 0."""
    cost, tau = draw(9, 4, scale=scale), tau * scale
    plan = solve_unbalanced(cost, epsilon=0.1, tau=tau, **TIGHT).plan[0]
    slope = cost[0] + 0.1 * plan.log() + tau * (9 * plan.sum(dim=1)).log()[:, None] + tau * (4 * plan.sum(dim=0)).log()
    told = plan > 1e-200
    assert told.any(dim=0).all()
    assert told.any(dim=1).all()
    assert slope[told].abs().max() < 1e-9 * scale


@pytest.mark.parametrize("epsilon", [0.02, 0.5])
def test_one_patch_and_one_pathway_have_a_closed_form(epsilon: float) -> None:
    found = solve_unbalanced(torch.full((1, 1, 1), 0.3, dtype=torch.float64), epsilon=epsilon, tau=0.5, **TIGHT)
    assert float(found.plan) == pytest.approx(
        math.exp(-0.3 / (epsilon + 2 * 0.5)), rel=1e-10
    )  # C + (eps + 2 tau) log T


def test_an_endless_tau_is_balanced_transport() -> None:
    cost = draw(20, 5)
    found = solve_unbalanced(cost, tau=math.inf, **TIGHT)
    rows, columns = marginals(found)
    torch.testing.assert_close(rows, torch.full_like(rows, 1 / 20))
    torch.testing.assert_close(columns, torch.full_like(columns, 1 / 5))
    near = solve_unbalanced(cost, tau=100.0, tolerance=1e-9, max_rounds=100_000)
    torch.testing.assert_close(near.plan, found.plan, rtol=0.02, atol=0)


def test_the_reference_of_the_entropy_is_the_plan_alone() -> None:
    cost = draw(300, 6)
    ours = float(solve_unbalanced(cost).plan.sum())
    relative = ot.unbalanced.sinkhorn_knopp_unbalanced(
        np.full(300, 1 / 300), np.full(6, 1 / 6), cost[0].numpy(), 0.1, 0.5, reg_type="kl"
    )
    assert ours > 1.5 * relative.sum()


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_neither_padding_nor_batch_mates_matter(scale: float) -> None:
    cost, rows, columns = padded(garbage=math.nan)
    together = solve_unbalanced(scale * cost, rows=rows, columns=columns)
    for patient in range(4):
        n, m = int(rows[patient].sum()), int(columns[patient].sum())
        alone = solve_unbalanced(scale * cost[patient : patient + 1, :n, :m])
        torch.testing.assert_close(together.plan[patient, :n, :m], alone.plan[0], rtol=1e-9, atol=1e-300)
        assert together.rounds[patient] == alone.rounds[0]
        assert together.plan[patient].count_nonzero() == alone.plan.count_nonzero()
    assert len(set(together.rounds.tolist())) > 1


@pytest.mark.parametrize("shift", [0.0, 40.0, 1000.0])  # exponents of 10, 400, 10,000
def test_kernels_and_sums_of_exponents_give_one_plan(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cost, rows, columns = padded(garbage=0.0)
    quick = solve_unbalanced(cost + shift, rows=rows, columns=columns, tau=5.0)
    monkeypatch.setattr("tta_pipeline.numerics.unbalanced._SPAN", -1.0)
    slow = solve_unbalanced(cost + shift, rows=rows, columns=columns, tau=5.0)
    torch.testing.assert_close(quick.plan, slow.plan, rtol=1e-9, atol=0)
    assert torch.equal(quick.rounds, slow.rounds)


def test_large_batches_are_solved_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    cost, rows, columns = padded(garbage=0.0)
    whole = solve_unbalanced(cost, rows=rows, columns=columns)
    monkeypatch.setattr("tta_pipeline.numerics.unbalanced._CHUNK_ENTRIES", {"cpu": 2 * 12 * 5})
    parts = solve_unbalanced(cost, rows=rows, columns=columns)
    torch.testing.assert_close(parts.plan, whole.plan, rtol=1e-12, atol=0)
    assert torch.equal(parts.rounds, whole.rounds)


def test_rounds_and_residual_say_whether_it_converged() -> None:
    cost = draw(30, 6)
    done, early = solve_unbalanced(cost), solve_unbalanced(cost, max_rounds=5)
    assert float(done.residual) <= 1e-6 < float(early.residual)
    assert int(early.rounds) == 5 < int(done.rounds)
    exact = solve_unbalanced(cost, **TIGHT).plan
    left = done.plan.log().sub(exact.log()).abs().max() * (1 - (0.5 / 0.6) ** 2)  # rounds contract by (tau/(tau+eps))^2
    assert float(left) < 2 * float(done.residual)


@pytest.mark.parametrize("span", [200.0, -1.0])  # with a kernel, and without
@pytest.mark.parametrize(("scale", "tau"), [(1.0, 0.5), (100.0, 5.0)])
def test_gradient_flows_through_the_rounds(
    scale: float, tau: float, span: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tta_pipeline.numerics.unbalanced._SPAN", span)
    cost, rows, columns = padded(garbage=1e30)
    cost.requires_grad_()

    def plan(cost: Tensor) -> Tensor:
        found = solve_unbalanced(scale * cost, rows=rows, columns=columns, epsilon=0.3, tau=tau, tolerance=1e-10)
        return found.plan[rows[:, :, None] & columns[:, None]].log()

    assert torch.autograd.gradcheck(plan, cost, fast_mode=True)
    plan(cost).sum().backward()
    real = rows[:, :, None] & columns[:, None]
    assert not cost.grad[~real].any()
    assert cost.grad[real].isfinite().all()


def test_gradient_of_a_plan_with_rows_of_nothing_is_finite() -> None:
    cost = draw(6, 3, scale=1e5).requires_grad_()
    plan = solve_unbalanced(cost, **TIGHT).plan
    plan.sum().backward()
    assert cost.grad.isfinite().all()


def test_a_detached_cost_leaves_the_plan_a_constant() -> None:
    tokens = torch.randn(1, 9, 4, requires_grad=True)
    plan = solve_unbalanced(shifted_cost(tokens, torch.randn(1, 3, 4)).detach()).plan
    assert not plan.requires_grad
    pooled = plan.transpose(1, 2) @ tokens
    pooled.sum().backward()
    torch.testing.assert_close(tokens.grad, plan.sum(dim=2, keepdim=True).expand(1, 9, 4))


def test_cost_is_the_squared_distance_of_shifted_tokens_over_its_largest() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(2, 7, 5), torch.randn(2, 3, 5)
    rows = torch.arange(7) < torch.tensor([7, 4])[:, None]
    columns = torch.arange(3) < torch.tensor([2, 3])[:, None]
    found = shifted_cost(
        left.masked_fill(~rows[..., None], 1e15),
        right.masked_fill(~columns[..., None], -1e15),
        rows=rows,
        columns=columns,
    )
    for patient, (n, m) in enumerate([(7, 2), (4, 3)]):
        x, y = (part - part.amin(dim=1, keepdim=True) for part in (left[patient, :n], right[patient, :m]))
        expected = (x[:, None] - y).square().sum(dim=2)
        torch.testing.assert_close(found[patient, :n, :m], expected / expected.max(), rtol=1e-5, atol=1e-6)
        assert not found[patient, n:].any()
        assert not found[patient, :, m:].any()


def test_scaling_or_shifting_tokens_leaves_the_plan() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(1, 7, 5), torch.randn(1, 3, 5)
    plan = solve_unbalanced(shifted_cost(left, right)).plan
    scaled = solve_unbalanced(shifted_cost(37 * left, 37 * right)).plan
    shifted = solve_unbalanced(shifted_cost(left + torch.randn(1, 7, 1), right)).plan
    torch.testing.assert_close(scaled, plan, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(shifted, plan, rtol=1e-4, atol=1e-6)


def test_equal_tokens_cost_nothing() -> None:
    tokens = torch.ones(1, 4, 5, requires_grad=True)
    cost = shifted_cost(tokens, tokens[:, :2])
    assert not cost.any()
    cost.sum().backward()
    assert tokens.grad.isfinite().all()
    assert solve_unbalanced(cost.detach()).plan.isfinite().all()


def test_plans_have_the_dtype_of_the_cost() -> None:
    assert solve_unbalanced(draw(4, 3).float()).plan.dtype == torch.float32
    assert solve_unbalanced(draw(4, 3)).plan.dtype == torch.float64


def test_errors_say_what_was_expected() -> None:
    cost, rows, columns = padded(garbage=0.0)
    with pytest.raises(InputError, match=r"cost of shape \(batch, n, m\)"):
        solve_unbalanced(cost[0])
    with pytest.raises(InputError, match=r"columns as a bool mask of shape \(4, 5\)"):
        solve_unbalanced(cost, rows=rows, columns=rows)
    with pytest.raises(InputError, match=r"position 2 in the batch.*without any"):
        solve_unbalanced(cost, rows=rows & (torch.arange(4) != 2)[:, None], columns=columns)
    with pytest.raises(InputError, match=r"position 0 in the batch.*NaN or infinity"):
        solve_unbalanced(cost * torch.where(torch.arange(12) == 3, math.nan, 1.0)[:, None])
    with pytest.raises(InputError, match="expected epsilon above 0"):
        solve_unbalanced(cost, epsilon=0.0)
    with pytest.raises(InputError, match="expected max_rounds of at least 1"):
        solve_unbalanced(cost, max_rounds=0)
