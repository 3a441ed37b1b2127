"""Semi-relaxed optimal transport for a fixed cost, solved in its column potentials.

    min_{P >= 0}  <P, C> + eps * sum P (log P - 1) + gamma * KL(P^T 1 || q)  [relaxed columns]
    s.t.  P 1 = a,   (P^T 1)_j = q_j  [hard columns]

Eliminating the row potentials leaves P_ij = a_i softmax_j(h_j + x_ij) with exponents x = -C / eps and dimensionless
potentials h = g / eps. At the optimum the column masses equal the targets t_j(h) = q_j exp(-kappa_j h_j), where
kappa_j is eps / gamma on relaxed columns and 0 on hard ones. One constant added to every h_j leaves P unchanged; the
one that maximises the dual makes the targets sum to 1.

References
----------
Sejourne, Vialard, Peyre, "Faster Unbalanced Optimal Transport: Translation invariant Sinkhorn", AISTATS 2022.
Cuturi, Peyre, "Semidual Regularized Optimal Transport", SIAM Review 2018, section 3 (gradient and Hessian).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_EMPTY = 1e-9  # a column whose target is below this part of its reference mass counts as empty
_UNDERFLOW = 1e-25  # masses below it are computed again in log space
_DRIFT = 20.0  # potentials may move by this much before the kernel is computed anew
_BLOCK_ROWS = 128  # rows of one single-precision column sum
_NEAR = 0.5  # first residual below which Newton steps begin at once
_WARM_UP = 2  # Sinkhorn rounds before the first Newton step from further away
_RETREAT = 4  # Sinkhorn rounds after a Newton direction that did not help
_SHORTEST = 0.1  # part of a Newton step below which its direction is given up


@dataclass(frozen=True)
class Columns:
    """What the columns ask for: reference masses q (columns,) float64; the first `relaxed` of them are KL-relaxed.

    `kappa` is eps / gamma; with 0 these columns are hard, like the columns behind them.
    """

    mass: Tensor
    relaxed: int
    kappa: float

    def softness(self) -> Tensor:
        """The kappa_j of all columns, (columns,)."""
        return self.kappa * self.relaxed_only(self.mass.dtype)

    def relaxed_only(self, dtype: torch.dtype) -> Tensor:
        """1 on relaxed columns, 0 on the others, (columns,)."""
        return (torch.arange(len(self.mass), device=self.mass.device) < self.relaxed).to(dtype)

    def centre(self, potentials: Tensor) -> Tensor:
        """Add the constant that is best for the dual: (1/K) sum_k exp(-kappa h_k) = 1 over the relaxed columns.

        Where no column is relaxed every constant is as good; the mean over the first columns becomes 0.
        """
        free = potentials[:, : self.relaxed]
        if self.kappa == 0:
            return potentials - free.mean(dim=-1, keepdim=True)
        excess = (-self.kappa * free).logsumexp(dim=-1, keepdim=True) - math.log(self.relaxed)
        return potentials + excess / self.kappa


@dataclass(frozen=True)
class Solution:
    """Potentials h (batch, columns), largest relative error of a column mass (batch,), rounds (batch,)."""

    potentials: Tensor
    residual: Tensor
    rounds: Tensor


class Scratch:
    """Memory that one problem after the other uses: touching fresh memory costs as much as the arithmetic on it."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], *, like: Tensor) -> Tensor:
        """An array of that shape, of any content; the next one of that name lies in the same memory."""
        count, key = math.prod(shape), (name, like.dtype)
        if key not in self._arrays or self._arrays[key].numel() < count:
            self._arrays[key] = like.new_empty(count)
        return self._arrays[key][:count].view(shape)


class Kernel:
    """exp(h_j + x_ij - shift_i) for exponents x (batch, tokens, columns) and row masses a (batch, tokens).

    `begin` with the exponents first; one kernel, with its memory, serves one set of exponents after the other.

    The shift keeps the largest entry of a row at 1: single precision neither overflows nor loses a row.
    While potentials move little, only factors per row and column change and a round is two products with a vector.
    Column sums run over blocks of rows and are added in double precision, or long bags would lose digits.
    """

    def __init__(self, row_mass: Tensor, *, n_columns: int, scratch: Scratch) -> None:
        size, n_tokens = row_mass.shape
        n_padded = -(-n_tokens // _BLOCK_ROWS) * _BLOCK_ROWS
        self._row_mass = torch.nn.functional.pad(row_mass, (0, n_padded - n_tokens))[..., None]
        self._all_values = scratch.take("values", (size, n_padded, n_columns), like=row_mass)
        self._all_values[:, n_tokens:] = 1
        self._values = self._all_values[:, :n_tokens]
        self._weighted = scratch.take("weighted", (size, n_padded, n_columns), like=row_mass)

    def begin(self, exponents: Tensor, *, potentials: Tensor) -> None:
        """Take up other exponents; they are kept, not copied."""
        self._exponents = exponents
        self._at = torch.full_like(potentials, torch.nan)  # where the masses were computed last: nowhere yet
        self._absorb(potentials)

    def _absorb(self, potentials: Tensor) -> None:
        self._reference = potentials
        torch.add(self._exponents, potentials[:, None, :].to(self._values.dtype), out=self._values)
        self._shift = self._values.amax(dim=-1, keepdim=True)
        self._values.sub_(self._shift).exp_()

    def masses(self, potentials: Tensor) -> Tensor:
        """Column masses at the potentials, (batch, columns) float64."""
        drift = potentials - self._reference
        if float(torch.linalg.vector_norm(drift, torch.inf)) > _DRIFT:
            self._absorb(potentials)
            drift = torch.zeros_like(drift)
        self._at, self._scale = potentials, drift.exp()
        self._row_sums = self._all_values @ self._scale[..., None].to(self._values.dtype)  # (batch, padded, 1)
        self._row_scale = self._row_mass / self._row_sums
        size, _, n_columns = self._values.shape
        weights = self._row_scale.view(-1, 1, _BLOCK_ROWS)  # (batch * blocks, 1, rows)
        blocks = weights @ self._all_values.view(-1, _BLOCK_ROWS, n_columns)  # (batch * blocks, 1, columns)
        return blocks.view(size, -1, n_columns).sum(dim=1, dtype=torch.float64) * self._scale

    def log_masses(self, potentials: Tensor) -> Tensor:
        """Logarithms of the masses computed last, at the same potentials, without underflow."""
        n_tokens = self._values.shape[1]
        log_rows = self._shift + self._row_sums[:, :n_tokens].log() - self._row_mass[:, :n_tokens].log()
        return (self._exponents - log_rows).logsumexp(dim=1).double() + potentials

    def coupling(self) -> Tensor:
        """W_jl = sum_i P_ij P_il / a_i where the masses were computed last, (batch, columns, columns) float64."""
        torch.mul(self._all_values, self._row_scale / self._row_sums, out=self._weighted)
        return (self._weighted.mT @ self._all_values).double() * self._scale[:, :, None] * self._scale[:, None, :]

    def plan(self, potentials: Tensor) -> Tensor:
        """softmax_j(h_j + x_ij), (batch, tokens, columns); valid until the kernel is used again."""
        if not torch.equal(potentials, self._at):
            self.masses(potentials)
        n_tokens = self._values.shape[1]
        plan = self._weighted[:, :n_tokens]
        torch.mul(self._values, self._scale[:, None, :].to(self._values.dtype), out=plan)
        return plan.div_(self._row_sums[:, :n_tokens])


class _Bag:
    """Where one bag stands, and what is tried next for it.

    residual: at the best potentials so far. size: of the Newton step that led to the trial, 0 after a Sinkhorn step.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance, self.residual = tolerance, math.inf
        self.size, self.wait, self.rounds = 0.0, _WARM_UP, 0
        self.accepted = self.newton = False

    @property
    def done(self) -> bool:
        return not self.residual > self.tolerance  # or NaN, which no step would mend

    def judge(self, mismatch: float) -> None:
        """Take the potentials under trial, or not, and choose the next step.

        A Newton step must bring the residual down; one that does not is halved, then given up for Sinkhorn rounds.
        """
        self.accepted = self.newton = False
        if self.done:
            return
        self.rounds += 1
        self.accepted = self.size == 0 or mismatch < (1 - 0.5 * self.size) * self.residual
        if self.accepted:
            self.residual = mismatch
            self.wait = -1 if self.rounds == 1 and mismatch < _NEAR else self.wait - 1
            self.newton = self.wait < 0 and not self.done
            self.size = float(self.newton)
        elif self.size > _SHORTEST:
            self.size /= 2
        else:
            self.size, self.wait = 0.0, _RETREAT


def solve(kernel: Kernel, columns: Columns, *, start: Tensor, tolerance: Tensor, max_rounds: int) -> Solution:
    """Potentials at which every column has its target mass.

    Sinkhorn rounds first, then Newton steps on the semi-dual; a Newton step that does not halve the residual is undone
    and Sinkhorn goes on from there. Each bag stops on its own: potentials that have converged are not touched again.
    There are few columns: a round is bound by the number of its operations, not by their size.

    Parameters
    ----------
    start : (batch, columns) float64
    tolerance : (batch,), largest relative difference of a column's mass from its target, > 0; each bag has its own.

    Returns
    -------
    Solution
        Its `residual` is above `tolerance` where `max_rounds` did not suffice, and NaN where a mass is.
    """
    softness, log_mass = columns.softness(), columns.mass.log()
    log_floor = log_mass + math.log(_EMPTY)
    potentials = base = columns.centre(start)
    step = log_masses = torch.zeros_like(base)
    bags = [_Bag(one) for one in tolerance.tolist()]

    def chosen(flags: list[bool], ours: Tensor, others: Tensor) -> Tensor:
        """Rows of `ours` where the flag is set, of `others` elsewhere."""
        if all(flags) or not any(flags):
            return ours if flags[0] else others
        return torch.where(torch.tensor(flags, device=base.device)[:, None], ours, others)

    for _ in range(max_rounds):
        masses = kernel.masses(potentials)
        logs, log_targets = masses.log(), log_mass - softness * potentials
        mismatch = logs.maximum(log_floor).sub_(log_targets.maximum(log_floor)).abs_().amax(dim=-1)
        *mismatches, lowest = torch.cat([mismatch, masses.amin()[None]]).tolist()
        if lowest < _UNDERFLOW:
            logs = kernel.log_masses(potentials)
        for bag, value in zip(bags, mismatches, strict=True):
            bag.judge(value)
        accepted = [bag.accepted for bag in bags]
        base, log_masses = chosen(accepted, potentials, base), chosen(accepted, logs, log_masses)
        if all(bag.done for bag in bags):
            break
        newton = [bag.newton for bag in bags]
        if any(newton):
            excess = log_targets.clamp(min=math.log(_UNDERFLOW)) - logs
            step = chosen(newton, _newton(kernel.coupling(), mass=masses, excess=excess, softness=softness), step)
        sizes = [bag.size for bag in bags]
        moved = base + (step if min(sizes) == 1 else step * base.new_tensor(sizes)[:, None])
        if min(sizes) == 0:
            sinkhorn = base + (log_mass - log_masses - softness * base) / (1 + softness)
            moved = chosen([size == 0 for size in sizes], sinkhorn, moved)
        potentials = chosen([bag.done for bag in bags], base, columns.centre(moved))
    return Solution(
        potentials=base,
        residual=base.new_tensor([bag.residual for bag in bags]),
        rounds=torch.tensor([bag.rounds for bag in bags], device=base.device),
    )


def _newton(coupling: Tensor, *, mass: Tensor, excess: Tensor, softness: Tensor) -> Tensor:
    """Newton's step for log t - log m = 0, which overshoots far less than the one for t - m = 0 from afar.

    (diag(W 1) - W + diag(kappa m)) step = m excess. Its right side may be shifted along m, the direction of the free
    constant. W 1 = m in exact arithmetic; summing W without its diagonal keeps the matrix semidefinite in single
    precision too. Rows and columns are scaled to a diagonal of 1. Overwrites the coupling.
    """
    coupling.diagonal(dim1=-2, dim2=-1).zero_()
    scale = torch.addcmul(coupling.sum(dim=-1), softness + 1e-12, mass).add_(1e-30).rsqrt_()
    hessian = coupling.mul_(scale[:, :, None] * -scale[:, None, :])
    hessian.diagonal(dim1=-2, dim2=-1).fill_(1 + 1e-10)
    pull = mass * (excess - (mass * excess).sum(dim=-1, keepdim=True))  # the masses sum to 1
    step: Tensor = torch.linalg.solve_ex(hessian, pull.mul_(scale))[0]
    return step.mul_(scale)
