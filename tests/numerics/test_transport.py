import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize, pad

from tests.numerics import transport_reference as reference
from tests.numerics.transport_reference import Bag
from tta_pipeline.errors import ConvergenceError, InputError
from tta_pipeline.numerics.transport import Transport, solve_joint

EXACT = {"tolerance": 1e-11}  # for costs in double precision


def draw(*, seed: int, n: int, k: int, scale: float = 4.0, dim: int = 16) -> tuple[Tensor, Tensor]:
    """Cost (1, n, k) = -log softmax of logits of that scale, and unit tokens (1, n, dim) in five clusters."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, dim, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (n,), generator=generator)
    tokens = normalize(centres[labels] + 0.5 * torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=-1)
    prototypes = normalize(torch.randn(k, dim, generator=generator, dtype=torch.float64), dim=-1)
    return -torch.log_softmax(scale * tokens @ prototypes.T, dim=-1)[None], tokens[None]


def solve(cost: Tensor, **options: object) -> Transport:
    """solve_joint on bags without padding."""
    return solve_joint(cost, mask=torch.ones(cost.shape[:2], dtype=torch.bool), **options)


def plan_of(cost: Tensor, **options: object) -> np.ndarray:
    """P (n, K) of the only bag."""
    return solve(cost, **EXACT, **options).plan[0].numpy() / cost.shape[1]


def column_errors(solution: Transport, *, rho: float, gamma: float) -> Tensor:
    """Relative error of every column mass against (rho / K) exp(-g_k / gamma), and of the sink's against 1 - rho."""
    mass = solution.plan[0].double().mean(dim=0)
    n_columns = len(mass)
    wanted = rho / n_columns * (-solution.potentials[0, :-1] / gamma).exp()
    errors = (mass - wanted) / wanted
    return torch.cat([errors, ((1 - mass.sum()) - (1 - rho))[None]]).abs()


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("gamma", [0.05, 1.0, 30.0, math.inf])
def test_optimality_conditions_hold(rho: float, gamma: float) -> None:
    cost, _ = draw(seed=1, n=300, k=7)
    solution = solve(cost, rho=rho, gamma=gamma, **EXACT)
    assert column_errors(solution, rho=rho, gamma=gamma).max() < 1e-10
    sink = torch.zeros(1, 300, 1, dtype=torch.float64) if rho < 1 else torch.full((1, 300, 1), -torch.inf)
    exponents = torch.cat([solution.potentials[:, None, :-1] - cost, solution.potentials[:, None, -1:] + sink], dim=-1)
    rows = (exponents / 0.1).softmax(dim=-1)[..., :-1]
    torch.testing.assert_close(solution.plan, rows, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.2, 1.0, math.inf])
def test_free_constant_of_the_potentials_is_the_documented_one(gamma: float) -> None:
    cost, _ = draw(seed=2, n=60, k=5)
    start = torch.full((1, 6), 3.0, dtype=torch.float64)
    potentials = solve(cost, rho=0.4, gamma=gamma, start=start, **EXACT).potentials[0, :-1]
    best = (-potentials / gamma).exp().mean() if math.isfinite(gamma) else 1 + potentials.sum()
    assert best == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rho", [0.1, 0.6, 1.0])
@pytest.mark.parametrize(("epsilon", "gamma"), [(0.1, 1.0), (0.5, 0.1), (0.2, 5.0)])
def test_plan_equals_the_convex_solvers(rho: float, epsilon: float, gamma: float) -> None:
    cost, _ = draw(seed=3, n=9, k=4, scale=1.0)
    bag = Bag(cost=cost[0].numpy(), rho=rho, epsilon=epsilon, gamma=gamma)
    plan = plan_of(cost, rho=rho, epsilon=epsilon, gamma=gamma)
    expected = reference.convex(bag)
    np.testing.assert_allclose(plan, expected, rtol=0, atol=5e-6)
    assert bag.objective(plan) <= bag.objective(expected) + 1e-9
    potentials = solve(cost, rho=rho, epsilon=epsilon, gamma=gamma, **EXACT).potentials[0].numpy()
    assert abs(reference.duality_gap(bag, plan=plan, potentials=potentials)) < 1e-10


@pytest.mark.parametrize(("rho", "gamma"), [(1.0, 1.0), (1.0, 0.2), (1.0, math.inf), (0.3, math.inf)])
def test_plan_equals_pot(rho: float, gamma: float) -> None:
    cost, _ = draw(seed=4, n=40, k=6, scale=1.0)
    bag = Bag(cost=cost[0].numpy(), rho=rho, gamma=gamma)
    np.testing.assert_allclose(plan_of(cost, rho=rho, gamma=gamma), reference.pot(bag), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 80),
    k=st.integers(1, 12),
    rho=st.one_of(st.just(1.0), st.floats(0.01, 0.9999)),
    epsilon=st.floats(0.03, 2.0),
    gamma=st.one_of(st.just(math.inf), st.floats(0.05, 20.0)),
    scale=st.floats(0.0, 10.0),
    seed=st.integers(0, 2**20),
)
def test_single_precision_plan_equals_newton_in_double(  # noqa: PLR0917
    n: int, k: int, rho: float, epsilon: float, gamma: float, scale: float, seed: int
) -> None:
    cost = draw(seed=seed, n=n, k=k, scale=scale)[0].float()
    solution = solve(cost, rho=rho, epsilon=epsilon, gamma=gamma)
    bag = Bag(cost=cost[0].double().numpy(), rho=rho, epsilon=epsilon, gamma=gamma)
    np.testing.assert_allclose(solution.plan[0].numpy() / n, reference.newton(bag), rtol=0, atol=3e-6 / n)
    assert float(solution.plan.mean(dim=1).sum()) == pytest.approx(rho, abs=1e-5)
    assert float(solution.plan.sum(dim=-1).max()) <= 1 + 1e-6


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    k=st.integers(1, 9),
    rho=st.one_of(st.just(1.0), st.floats(0.05, 0.99)),
    weight=st.floats(0.0, 0.2),
    scale=st.floats(0.0, 6.0),
    seed=st.integers(0, 2**20),
)
def test_plan_with_similarity_solves_its_own_linearised_problem(  # noqa: PLR0917
    n: int, k: int, rho: float, weight: float, scale: float, seed: int
) -> None:
    cost, tokens = draw(seed=seed, n=n, k=k, scale=scale)
    plan = plan_of(cost, rho=rho, tokens=tokens, similarity_weight=weight)
    bag = Bag(cost=cost[0].numpy(), rho=rho, features=tokens[0].numpy(), similarity_weight=weight)
    np.testing.assert_allclose(n * plan, n * reference.newton(bag, bag.linearised(plan)), rtol=0, atol=1e-8)


@pytest.mark.parametrize("rho", [0.1, 0.5, 1.0])
def test_rounds_of_the_similarity_term_never_raise_the_objective_and_end_at_our_plan(rho: float) -> None:
    cost, tokens = draw(seed=6, n=200, k=6)
    bag = Bag(cost=cost[0].numpy(), rho=rho, features=tokens[0].numpy(), similarity_weight=0.1)
    plan = np.full(cost.shape[1:], rho / 6 / 200)
    objectives = [bag.objective(plan)]
    for _ in range(12):
        plan = plan_of(torch.from_numpy(bag.linearised(plan))[None], rho=rho)
        objectives.append(bag.objective(plan))
    assert max(np.diff(objectives)) < 1e-13
    ours = solve(cost.float(), rho=rho, tokens=tokens.float(), similarity_weight=0.1)
    np.testing.assert_allclose(ours.plan[0].numpy(), 200 * plan, rtol=0, atol=2e-6)
    exact = plan_of(cost, rho=rho, tokens=tokens, similarity_weight=0.1)
    assert bag.objective(exact) == pytest.approx(objectives[-1], rel=1e-11)
    assert 2 <= int(ours.outer) <= int(ours.iterations)


def test_similarity_draws_equal_tokens_together() -> None:
    cost, tokens = draw(seed=7, n=120, k=6, scale=0.2)
    similarity = (tokens[0] @ tokens[0].T).numpy()
    agreement = [
        float((similarity * (plan @ plan.T)).sum())
        for plan in (plan_of(cost, rho=1.0, tokens=tokens, similarity_weight=weight) for weight in (0.0, 0.1, 0.3))
    ]
    assert agreement == sorted(agreement)


def batch_of(sizes: list[int], *, n: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Padded costs, tokens and mask of bags of these sizes; the padding holds NaN."""
    bags = [draw(seed=seed, n=size, k=k) for seed, size in enumerate(sizes)]
    cost, tokens = (
        torch.cat([pad(bag[part].float(), (0, 0, 0, n - bag[part].shape[1]), value=torch.nan) for bag in bags])
        for part in (0, 1)
    )
    return cost, tokens, torch.arange(n)[None, :] < torch.tensor(sizes)[:, None]


@pytest.mark.parametrize("longest", [700, 2500])  # a long bag is begun from a sample of its tokens
@pytest.mark.parametrize("rho", [0.1, 1.0])
def test_plan_depends_on_neither_padding_nor_batch_nor_order(rho: float, longest: int) -> None:
    sizes = [longest, 1, 123, 5, 300]
    cost, tokens, mask = batch_of(sizes, n=longest + 50, k=6)
    together = solve_joint(cost, mask=mask, rho=rho, tokens=tokens, similarity_weight=0.1)
    order = torch.randperm(longest + 50, generator=torch.Generator().manual_seed(0))
    shuffled = solve_joint(cost[:, order], mask=mask[:, order], rho=rho, tokens=tokens[:, order], similarity_weight=0.1)
    torch.testing.assert_close(shuffled.plan, together.plan[:, order], rtol=0, atol=1e-6)
    assert (together.plan[~mask] == 0).all()
    for i, size in enumerate(sizes):
        alone = solve(cost[i : i + 1, :size], rho=rho, tokens=tokens[i : i + 1, :size], similarity_weight=0.1)
        torch.testing.assert_close(alone.plan[0], together.plan[i, :size], rtol=0, atol=1e-6)


@pytest.mark.parametrize("longest", [400, 2500])
def test_warm_start_gives_the_same_plan_in_fewer_rounds(longest: int) -> None:
    cost, tokens, mask = batch_of([longest, 250], n=longest, k=8)
    cold = solve_joint(cost, mask=mask, rho=0.5, tokens=tokens, similarity_weight=0.1)
    again = solve_joint(cost, mask=mask, rho=0.52, tokens=tokens, similarity_weight=0.1)
    warm = solve_joint(cost, mask=mask, rho=0.52, tokens=tokens, similarity_weight=0.1, start=cold.potentials)
    torch.testing.assert_close(warm.plan, again.plan, rtol=0, atol=1e-6)
    saved = again.iterations - warm.iterations  # rounds over a sample of a long bag do not count
    assert (saved > 0 if longest == 400 else saved >= 0).all()


def test_a_plan_is_a_fixed_point() -> None:
    cost, _ = draw(seed=8, n=100, k=5)
    first = solve(cost, rho=0.5, **EXACT)
    second = solve(cost, rho=0.5, start=first.potentials, **EXACT)
    assert int(second.iterations) == 1
    torch.testing.assert_close(second.potentials, first.potentials, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("magnitude", [1e2, 1e3, 1e4])
@pytest.mark.parametrize("seed", [0, 1])
def test_extreme_costs(rho: float, magnitude: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cost = magnitude * torch.rand(1, 200, 8, generator=generator)
    cost[..., 0] += magnitude  # a column that nothing fits
    solution = solve(cost, rho=rho)
    bag = Bag(cost=cost[0].double().numpy(), rho=rho)
    plan = solution.plan[0].double().numpy() / 200
    assert plan.sum() == pytest.approx(rho, rel=1e-5)
    gap = reference.duality_gap(bag, plan=plan, potentials=solution.potentials[0].numpy())
    assert abs(gap) < 1e-5 * max(1.0, abs(bag.objective(plan)))


@pytest.mark.parametrize("rho", [0.3, 1.0])
def test_one_valid_token_is_spread_in_closed_form(rho: float) -> None:
    cost = torch.tensor([[[0.3, 1.2, 0.7], [9.0, 9.0, 9.0]]])
    plan = solve_joint(cost, mask=torch.tensor([[True, False]]), rho=rho).plan
    # the only row is its own column mass: eps log p + C + gamma log(p / q) is constant
    expected = rho * (-cost[0, 0] / 1.1).softmax(dim=0)
    torch.testing.assert_close(plan[0, 0], expected, rtol=0, atol=2e-6)
    assert (plan[0, 1] == 0).all()


def test_one_column_gets_rho_of_the_mass_by_a_threshold_on_the_cost() -> None:
    cost, _ = draw(seed=9, n=50, k=3)
    cost = cost[..., :1]
    rows = solve(cost, rho=0.3, **EXACT).plan[0, :, 0]
    logits = torch.logit(rows) + cost[0, :, 0] / 0.1
    assert float(rows.mean()) == pytest.approx(0.3, abs=1e-10)
    torch.testing.assert_close(logits, logits.mean().expand(50), rtol=0, atol=1e-8)
    torch.testing.assert_close(solve(cost, rho=1.0).plan, torch.ones_like(cost))


def test_equal_tokens_get_equal_rows() -> None:
    cost = torch.tensor([0.5, 1.0, 2.0]).expand(1, 64, 3)
    tokens = torch.ones(1, 64, 1)
    plan = solve(cost, rho=0.5, tokens=tokens, similarity_weight=0.05).plan
    torch.testing.assert_close(plan, plan[:, :1].expand_as(plan), rtol=0, atol=1e-7)
    assert (plan[0, 0].diff() < 0).all()


def test_more_columns_than_tokens() -> None:
    cost, tokens = draw(seed=10, n=4, k=20)
    solution = solve(cost, rho=0.5, tokens=tokens, similarity_weight=0.1, **EXACT)
    assert float(solution.plan.sum()) == pytest.approx(2, abs=1e-9)


def test_gradients_and_autocast_stay_outside() -> None:
    cost, tokens = draw(seed=11, n=200, k=5)
    cost, tokens = cost.float().requires_grad_(), tokens.float()
    expected = solve(cost, rho=0.5, tokens=tokens, similarity_weight=0.1).plan
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = solve(cost, rho=0.5, tokens=tokens, similarity_weight=0.1).plan
    assert not plan.requires_grad
    assert torch.equal(plan, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, r"rho in \(0, 1\], found 0.0"),
        ({"rho": 1.1}, r"rho in \(0, 1\], found 1.1"),
        ({"rho": math.nan}, r"rho in \(0, 1\], found nan"),
        ({"epsilon": 0.0}, "epsilon above 0 and finite, found 0.0"),
        ({"gamma": -1.0}, "gamma above 0"),
        ({"similarity_weight": -0.1}, "similarity_weight of at least 0"),
        ({"similarity_weight": 0.1}, "expected tokens of shape .* found None"),
        ({"start": torch.zeros(2, 3)}, r"shape \(2, 4\) \(batch, K \+ 1\), found \(2, 3\)"),
        ({"start": torch.full((2, 4), torch.nan)}, "NaN or infinity"),
        ({"mask": torch.ones(2, 4)}, r"bool mask of shape \(2, 4\).*float32"),
        ({"mask": torch.ones(2, 5, dtype=torch.bool)}, r"\(2, 4\).*found torch.bool \(2, 5\)"),
        ({"cost": torch.zeros(2, 4)}, r"shape \(batch, tokens, K\)"),
        ({"cost": torch.zeros(2, 4, 0)}, r"shape \(batch, tokens, K\)"),
        ({"mask": torch.tensor([[True] * 4, [False] * 4])}, "position 1 in the batch: expected at least one valid"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    given_options = {"cost": torch.zeros(2, 4, 3), "mask": torch.ones(2, 4, dtype=torch.bool), "rho": 0.5} | options
    with pytest.raises(InputError, match=message):
        solve_joint(**given_options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_costs_that_are_not_finite_are_refused_with_their_position(value: float) -> None:
    cost = torch.zeros(3, 4, 3)
    cost[2, 1, 0] = value
    with pytest.raises(InputError, match="position 2 in the batch: expected finite costs"):
        solve(cost, rho=0.5)


def test_tokens_that_are_not_finite_are_refused_with_their_position() -> None:
    tokens = torch.ones(3, 4, 2)
    tokens[1, 2, 0] = torch.nan
    with pytest.raises(InputError, match="position 1 in the batch: expected finite tokens"):
        solve(torch.zeros(3, 4, 3), rho=0.5, tokens=tokens, similarity_weight=0.1)


def test_limits_raise_with_residual_and_position() -> None:
    cost, tokens = draw(seed=12, n=50, k=5)
    both = torch.cat([cost, cost])
    known = solve(cost, rho=0.5, **EXACT).potentials
    start = torch.cat([known, torch.zeros_like(known)])
    with pytest.raises(ConvergenceError, match="position 1 in the batch: expected a residual of at most 1e-11, found"):
        solve(both, rho=0.5, start=start, max_rounds=3, **EXACT)
    with pytest.raises(ConvergenceError, match="after 1 rounds of the similarity term"):
        solve(cost, rho=0.5, tokens=tokens, similarity_weight=0.1, max_outer=1, **EXACT)
