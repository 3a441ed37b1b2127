"""Joint unbalanced optimal transport of a patient's tokens to prototypes, with a sink and a similarity term.

With token masses a_i = mask_i / n_valid, K real columns and one sink column of cost 0, the problem is

    min_{P >= 0}  <P, C> - lambda <S, P P^T> + eps * sum P (log P - 1)  [real and sink entries]
                  + gamma * KL(P^T 1 || (rho / K) 1)  [real columns]
    s.t.  each row (real + sink) sums to a_i,   the sink column sums to 1 - rho.

The similarity S = F F^T of the tokens is never formed: S P = F (F^T P). Its term is concave and majorised by its
tangent, so every round solves the convex problem of `semidual` with the cost C - 2 lambda S P.

References
----------
Liu et al., "Together, Then Apart", arXiv 2511.18089: the joint problem.
Zhang et al., "P2OT: Progressive Partial Optimal Transport", ICLR 2024: sink column and growing rho.
Yuille, Rangarajan, "The Concave-Convex Procedure", Neural Computation 2003: majorise-minimise.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tta_pipeline.errors import ConvergenceError, DivergedError, InputError
from tta_pipeline.numerics import semidual
from tta_pipeline.numerics.bags import Bags

_CHUNK_ENTRIES = {"cpu": 2**21, "cuda": 2**28}  # plan entries worked on at a time: they fit the cache, the memory
_LOOSE, _INNER = 1e-3, 1e-3  # residual of the first convex problem; later ones: this part of the last change
_SAMPLE, _SPARSE = 16, 4  # tokens per column that start a solve, where they are at most one of so many
_COARSE = 0.05  # residual of that start
_SINGLE_SPAN = 100.0  # exponents that span more than this are handled in double precision


@dataclass(frozen=True)
class Transport:
    """Plans of a batch of patients.

    plan: (batch, tokens, K), Q = n_valid * P in the dtype of the cost; a row sums to at most 1 and to rho on average
        over the valid tokens; masked rows are 0.
    potentials: (batch, K + 1) float64, column potentials g in units of cost, the sink's last (0 where rho = 1):
        P_ij = a_i softmax_j((g_j - C_ij) / eps), C the linearised cost. Their free constant is fixed by
        (1/K) sum_k exp(-g_k / gamma) = 1, or sum_k g_k = 0 for gamma = inf.
    residual: (batch,) float64, the larger of two: the largest relative difference of a column's mass from what it
        should be (the sink's 1 - rho; a real column's (rho/K) exp(-g_k / gamma), its KL stationarity), and a bound on
        the change of any entry of the plan by one more tangent of the similarity term. Rows hold by design.
    iterations: (batch,) int64, Sinkhorn and Newton rounds over all tokens, in total.
    outer: (batch,) int64, majorise-minimise rounds.
    """

    plan: Tensor
    potentials: Tensor
    residual: Tensor
    iterations: Tensor
    outer: Tensor


@torch.no_grad()
def solve_joint(
    cost: Tensor,
    *,
    mask: Tensor,
    rho: float,
    epsilon: float = 0.1,
    gamma: float = 1.0,
    tokens: Tensor | None = None,
    similarity_weight: float = 0.0,
    start: Tensor | None = None,
    tolerance: float = 2e-6,
    max_rounds: int = 2000,
    max_outer: int = 100,
) -> Transport:
    """Solve the joint problem of every patient in the batch, each to its own convergence.

    A patient's plan depends on neither padding, nor order, nor the rest of the batch, up to rounding. The similarity
    term starts from P = a (rho / K); its rounds stop when another one would change no entry of the plan by more than
    `tolerance`. The objective is of second order in that change: it then moves by far less than 1e-6 of its value.

    Parameters
    ----------
    cost : (batch, tokens, K), finite where the mask is True; other rows are not read.
    mask : (batch, tokens) bool, True on valid tokens.
    rho : part of the mass that goes to real columns, in (0, 1]; 1 removes the sink.
    epsilon : weight of the entropy, in units of cost, > 0.
    gamma : weight of the KL term, > 0; math.inf gives every real column exactly rho / K.
    tokens : (batch, tokens, features), rows of norm at most 1; needed where `similarity_weight` > 0.
    similarity_weight : lambda >= 0.
    start : (batch, K + 1), potentials of an earlier solution, to save rounds; the solution does not depend on it.
    tolerance : largest residual, > 0.
    max_rounds : limit of Sinkhorn and Newton rounds in each majorise-minimise round.
    max_outer : limit of majorise-minimise rounds.

    Raises
    ------
    InputError
        A shape or value that does not fit; names the position in the batch where there is one.
    DivergedError
        NaN or infinity; names the position.
    ConvergenceError
        A limit was reached; names the position in the batch.
    """
    _check_weights(rho=rho, epsilon=epsilon, gamma=gamma, similarity_weight=similarity_weight, tolerance=tolerance)
    _check_shapes(cost, mask=mask, tokens=tokens, start=start, needs_tokens=similarity_weight > 0)
    size, n_tokens, n_columns = cost.shape
    warm = start is not None
    if start is None:
        start = cost.new_zeros((size, n_columns + 1), dtype=torch.float64)
    problem = _Problem(n_columns=n_columns, rho=rho, epsilon=epsilon, gamma=gamma, similarity_weight=similarity_weight)
    limits = _Limits(tolerance=tolerance, rounds=max_rounds, outer=max_outer)
    plan = torch.empty_like(cost, memory_format=torch.contiguous_format)
    width = max(1, _CHUNK_ENTRIES[cost.device.type] // max(1, n_tokens * n_columns))
    solved, scratch = [], semidual.Scratch()
    with torch.autocast(cost.device.type, enabled=False):
        for first in range(0, size, width):
            chunk = slice(first, first + width)
            bags = Bags.pack(cost, mask=mask, tokens=tokens if similarity_weight > 0 else None, chunk=chunk)
            part = _majorise_minimise(bags, problem, start=start[chunk], warm=warm, limits=limits, scratch=scratch)
            _check_convergence(part, first=first, limits=limits)
            bags.unpack(part.plan, into=plan[chunk])
            solved.append((part.potentials, part.residual, part.iterations, part.outer))
    potentials, residual, iterations, outer = (torch.cat(column) for column in zip(*solved, strict=True))
    return Transport(plan=plan, potentials=potentials, residual=residual, iterations=iterations, outer=outer)


@dataclass(frozen=True)
class _Limits:
    tolerance: float
    rounds: int
    outer: int


@dataclass(frozen=True)
class _Problem:
    n_columns: int
    rho: float
    epsilon: float
    gamma: float
    similarity_weight: float

    @property
    def curvature(self) -> float:
        """2 lambda / eps: what the similarity term adds to exponents, per unit of S P."""
        return 2 * self.similarity_weight / self.epsilon

    def plan_change(self, step: Tensor) -> Tensor:
        """Bound on what a step of the moments (bags, K, features) does to an entry of the plan, (bags,).

        It adds s_ij = (2 lambda / eps) <F_i, step_j> to the exponents, and 0 to the sink's; with unit rows F_i and
        fixed potentials an entry changes by at most Q (1 - Q) max_jl |s_ij - s_il|, and Q (1 - Q) is at most 1/4.
        """
        if self.rho < 1:
            step = torch.nn.functional.pad(step, (0, 0, 0, 1))
        return self.curvature / 4 * torch.cdist(step, step).amax(dim=(1, 2)).double()

    def columns(self, device: torch.device) -> semidual.Columns:
        """Real columns, and the sink behind them unless rho is 1."""
        sink = [1 - self.rho] if self.rho < 1 else []
        mass = torch.tensor([self.rho / self.n_columns] * self.n_columns + sink, dtype=torch.float64, device=device)
        return semidual.Columns(mass=mass, relaxed=self.n_columns, kappa=self.epsilon / self.gamma)

    def exponents(self, bags: Bags, *, scratch: semidual.Scratch) -> Tensor:
        """-C / eps with the sink's column, shifted by a constant per row, (bags, tokens, columns).

        Double precision where single would round the exponents too coarsely.
        """
        cost, nearest = bags.cost, bags.nearest
        if bags.span > _SINGLE_SPAN * self.epsilon:
            cost, nearest = cost.double(), nearest.double()
        exponents = scratch.take("exponents", (*cost.shape[:2], self.n_columns + (self.rho < 1)), like=cost)
        torch.sub(nearest, cost, out=exponents[..., : self.n_columns])
        exponents[..., self.n_columns :] = nearest
        return exponents.mul_(1 / self.epsilon)


def _majorise_minimise(
    bags: Bags, problem: _Problem, *, start: Tensor, warm: bool, limits: _Limits, scratch: semidual.Scratch
) -> Transport:
    """Rounds of the similarity term; the plan is (bags, tokens, K). A bag that has converged is not changed again."""
    columns = problem.columns(bags.cost.device)
    exponents = problem.exponents(bags, scratch=scratch)  # (bags, tokens, columns)
    row_mass = bags.row_mass.to(exponents.dtype)
    potentials = start[:, : len(columns.mass)].double() / problem.epsilon
    tokens = None if bags.tokens is None else bags.tokens.to(exponents.dtype)
    real = slice(0, problem.n_columns)
    linearised, moments = exponents, exponents.new_zeros(())
    memory = scratch.take("linearised", tuple(exponents.shape), like=exponents)
    memory[..., problem.n_columns :] = exponents[..., problem.n_columns :]  # the sink has no moments
    if tokens is not None and problem.rho < 1:  # else the first moments add a constant per row: the plan stays
        moments = (row_mass[:, None, :] @ tokens) * (problem.rho / problem.n_columns)  # of a (rho / K): all K the same
        torch.add(exponents[..., real], tokens @ moments.mT, alpha=problem.curvature, out=memory[..., real])
        linearised = memory
    if not warm or exponents.dtype == torch.float64:
        near = _from_a_sample if exponents.dtype == torch.float32 else _annealed
        potentials = near(linearised, row_mass=row_mass, columns=columns, start=potentials, scratch=scratch)
    kernel = semidual.Kernel(row_mass, n_columns=len(columns.mass), scratch=scratch)
    change = torch.full_like(potentials[:, 0], _LOOSE / _INNER)
    residual = torch.full_like(change, torch.inf)
    iterations = torch.zeros_like(potentials[:, 0], dtype=torch.long)
    outer = torch.zeros_like(iterations)
    active = torch.ones_like(iterations, dtype=torch.bool)
    for _ in range(limits.outer):
        inner = torch.full_like(change, limits.tolerance)
        if tokens is not None:
            inner = inner.maximum(_INNER * change)
        kernel.begin(linearised, potentials=potentials)
        solution = semidual.solve(kernel, columns, start=potentials, tolerance=inner, max_rounds=limits.rounds)
        potentials = torch.where(active[:, None], solution.potentials, potentials)
        plan = kernel.plan(potentials)
        iterations += solution.rounds * active
        outer += active
        if tokens is None or bool((active & (solution.residual > inner)).any()):
            residual = torch.where(active, solution.residual, residual)
            break
        image = (plan[..., real].mT @ tokens).mul_(row_mass.amax(dim=1)[:, None, None])  # P^T F, (bags, K, features)
        change = torch.where(active, problem.plan_change(image - moments), change)
        residual = torch.where(active, solution.residual.maximum(change), residual)
        active = active & (residual > limits.tolerance)
        if not bool(active.any()):
            break
        moments = torch.where(active[:, None, None], image, moments)
        torch.baddbmm(exponents[..., real], tokens, moments.mT, alpha=problem.curvature, out=memory[..., real])
        linearised = memory
    potentials = potentials * problem.epsilon
    if problem.rho == 1:
        potentials = torch.nn.functional.pad(potentials, (0, 1))
    return Transport(plan=plan[..., real], potentials=potentials, residual=residual, iterations=iterations, outer=outer)


def _from_a_sample(
    exponents: Tensor, *, row_mass: Tensor, columns: semidual.Columns, start: Tensor, scratch: semidual.Scratch
) -> Tensor:
    """Potentials to start from: those of some of the tokens, spread over the bag, where it has many."""
    every = exponents.shape[1] // (_SAMPLE * len(columns.mass))
    if every < _SPARSE:
        return start
    some = row_mass[:, ::every]  # valid tokens come first, so every bag has some
    kernel = semidual.Kernel(some / some.sum(dim=1, keepdim=True), n_columns=len(columns.mass), scratch=scratch)
    kernel.begin(exponents[:, ::every].contiguous(), potentials=start)
    coarse = torch.full_like(start[:, 0], _COARSE)
    return semidual.solve(kernel, columns, start=start, tolerance=coarse, max_rounds=20).potentials


def _annealed(
    exponents: Tensor, *, row_mass: Tensor, columns: semidual.Columns, start: Tensor, scratch: semidual.Scratch
) -> Tensor:
    """Potentials to start from where exponents span hundreds: solutions for larger epsilon, halved step by step."""
    span = float(exponents.amax() - exponents.amin())
    kernel = semidual.Kernel(row_mass, n_columns=len(columns.mass), scratch=scratch)
    potentials, coarse = start, torch.full_like(start[:, 0], 1e-2)
    for halving in range(max(0, math.ceil(math.log2(max(1.0, span / _SINGLE_SPAN)))), 0, -1):
        factor = 2.0**halving
        softer = replace(columns, kappa=columns.kappa * factor)
        kernel.begin(exponents / factor, potentials=potentials / factor)
        solution = semidual.solve(kernel, softer, start=potentials / factor, tolerance=coarse, max_rounds=50)
        potentials = solution.potentials * factor
    return potentials


def _check_convergence(part: Transport, *, first: int, limits: _Limits) -> None:
    for position in part.residual.isnan().nonzero().flatten().tolist()[:1]:  # costs have been checked
        raise DivergedError(
            f"optimal transport, position {first + position} in the batch: expected finite tokens, found NaN or "
            "infinity."
        )
    failed = part.residual > limits.tolerance
    if bool(failed.any()):
        worst = int(failed.nonzero()[0, 0])
        raise ConvergenceError(
            f"optimal transport, position {first + worst} in the batch: expected a residual of at most "
            f"{limits.tolerance:g}, found {float(part.residual[worst]):.3g} after {int(part.outer[worst])} rounds of "
            f"the similarity term and {int(part.iterations[worst])} rounds in total. Raise epsilon, max_rounds (now "
            f"{limits.rounds}), max_outer (now {limits.outer}) or the tolerance."
        )


def _check_weights(*, rho: float, epsilon: float, gamma: float, similarity_weight: float, tolerance: float) -> None:
    if not 0 < rho <= 1:
        raise InputError(f"optimal transport: expected rho in (0, 1], found {rho!r}.")
    for name, value in {"epsilon": epsilon, "gamma": gamma, "tolerance": tolerance}.items():
        if not value > 0 or (math.isinf(value) and name != "gamma"):
            raise InputError(f"optimal transport: expected {name} above 0 and finite, found {value!r}.")
    if not 0 <= similarity_weight < math.inf:
        raise InputError(f"optimal transport: expected similarity_weight of at least 0, found {similarity_weight!r}.")


def _check_shapes(
    cost: Tensor, *, mask: Tensor, tokens: Tensor | None, start: Tensor | None, needs_tokens: bool
) -> None:
    if cost.ndim != 3 or 0 in cost.shape or not cost.is_floating_point():
        raise InputError(
            f"optimal transport: expected a floating-point cost of shape (batch, tokens, K), none of them 0, found "
            f"{cost.dtype} {tuple(cost.shape)}."
        )
    if mask.dtype != torch.bool or mask.shape != cost.shape[:2]:
        raise InputError(
            f"optimal transport: expected a bool mask of shape {tuple(cost.shape[:2])} like the cost's tokens, found "
            f"{mask.dtype} {tuple(mask.shape)}."
        )
    if needs_tokens and (tokens is None or tokens.ndim != 3 or tokens.shape[:2] != cost.shape[:2]):
        found = "None" if tokens is None else tuple(tokens.shape)
        raise InputError(
            f"optimal transport: expected tokens of shape {(*cost.shape[:2], 'features')} for a similarity_weight "
            f"above 0, found {found}."
        )
    expected = (cost.shape[0], cost.shape[2] + 1)
    if start is not None and (start.shape != expected or not bool(start.isfinite().all())):
        raise InputError(
            f"optimal transport: expected start to hold finite potentials of shape {expected} (batch, K + 1), found "
            f"{tuple(start.shape)}{'' if start.shape != expected else ' with NaN or infinity'}."
        )
