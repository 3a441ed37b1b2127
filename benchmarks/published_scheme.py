"""The published way to solve the joint transport problem, written from its description, as the baseline of timings.

A dense similarity matrix per patient, float64 Sinkhorn rounds with the plain update of the column scaling, all patients
of a batch until the last one has converged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Published:
    """plan: (batch, tokens, K), Q = N P; rounds: Sinkhorn rounds in total; outer: rounds of the similarity term."""

    plan: Tensor
    rounds: int
    outer: int


def solve(
    cost: Tensor,
    *,
    tokens: Tensor,
    rho: float,
    similarity_weight: float,
    epsilon: float = 0.1,
    gamma: float = 1.0,
    tolerance: float = 1e-10,
    objective_tolerance: float = 1e-6,
    max_outer: int = 100,
    max_rounds: int = 20_000,
) -> Published:
    """Plans for cost (batch, tokens, K) and unit tokens (batch, tokens, features), without padding."""
    size, n, k = cost.shape
    cost, tokens = cost.double(), tokens.double()
    similarity = tokens @ tokens.mT  # (batch, tokens, tokens)
    plan = torch.full_like(cost, rho / k / n)
    previous, rounds = torch.full((size,), torch.inf, dtype=torch.float64), 0
    for outer in range(1, max_outer + 1):  # noqa: B007 (returned)
        linearised = cost - 2 * similarity_weight * (similarity @ plan)
        full, used = _sinkhorn(linearised, rho=rho, epsilon=epsilon, gamma=gamma, limits=(tolerance, max_rounds))
        plan, rounds = full[..., :k], rounds + used
        quadratic = (similarity @ plan * plan).sum(dim=(1, 2))
        mass = plan.sum(dim=1)
        objective = (plan * cost).sum(dim=(1, 2)) - similarity_weight * quadratic
        objective += epsilon * (torch.special.xlogy(full, full) - full).sum(dim=(1, 2))
        objective += gamma * (torch.special.xlogy(mass, mass * k / rho) - mass + rho / k).sum(dim=1)
        if bool(((objective - previous).abs() < objective_tolerance * objective.abs()).all()):
            break
        previous = objective
    return Published(plan=n * plan, rounds=rounds, outer=outer)


def _sinkhorn(
    cost: Tensor, *, rho: float, epsilon: float, gamma: float, limits: tuple[float, int]
) -> tuple[Tensor, int]:
    """P with the sink's column and the number of rounds, until log potentials change by less than the tolerance."""
    size, n, k = cost.shape
    if rho < 1:
        cost = torch.cat([cost, cost.new_zeros(size, n, 1)], dim=-1)
    kernel = (-cost / epsilon).exp()
    mass = cost.new_tensor([rho / k] * k + [1 - rho] * (rho < 1))[:, None]
    power = torch.full_like(mass, gamma / (gamma + epsilon))
    power[k:] = 1
    column = torch.ones(size, len(mass), 1, dtype=cost.dtype)
    for rounds in range(1, limits[1] + 1):  # noqa: B007 (returned)
        row = (1 / n) / (kernel @ column)
        updated = (mass / (kernel.mT @ row)) ** power
        change = (updated / column).log().abs().max()
        column = updated
        if float(change) < limits[0]:
            break
    row = (1 / n) / (kernel @ column)
    return row * kernel * column.mT, rounds
