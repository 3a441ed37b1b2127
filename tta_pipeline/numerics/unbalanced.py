"""Unbalanced entropic transport between the tokens of two modalities, both marginals relaxed.

With uniform masses a_i = 1 / n and b_j = 1 / m on the valid rows and columns, the problem is

    min_{T >= 0}  <T, C> + eps * sum T (log T - 1) + tau * KL(T 1 || a) + tau * KL(T^T 1 || b).

The entropy is that of T alone, not relative to a b^T: the reference decides how much mass is transported. Its solution
is T_ij = exp(f_i + g_j - C_ij / eps), where f and g are a fixed point of

    f_i = s (log a_i - log sum_j exp(g_j - C_ij / eps)),   g_j likewise,   s = tau / (tau + eps).

References
----------
Chizat, Peyre, Schmitzer, Vialard, "Scaling algorithms for unbalanced transport problems", Math. Comp. 87 (2018),
section 4.3: the rounds; section 3.3: absorbing the potentials.
Xu and Chen, "Multimodal Optimal Transport-based Co-Attention Transformer", ICCV 2023, eq. 6 and 7: between patches and
genes. Song et al., "Multimodal Prototyping for cancer survival prediction", ICML 2024: between prototypes and pathways.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tta_pipeline.errors import DivergedError, InputError

_CHUNK_ENTRIES = {"cpu": 2**21, "cuda": 2**28}  # plan entries worked on at a time
_SPAN = 200.0  # largest exponent of a row or column, on either side of 0, of which a kernel is made
_DRIFT = 50.0  # change of a potential after which the kernel is made anew


@dataclass(frozen=True)
class Unbalanced:
    """Plans of a batch of patients.

    plan: (batch, n, m), T in the dtype of the cost, 0 in rows and columns of padding.
    rounds: (batch,) int64.
    residual: (batch,) float64, largest change of f or g in the last round: entries of the plan changed by at most twice
        that part of themselves. Above the tolerance, the limit of rounds came first.
    """

    plan: Tensor
    rounds: Tensor
    residual: Tensor


def solve_unbalanced(
    cost: Tensor,
    *,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    epsilon: float = 0.1,
    tau: float = 0.5,
    tolerance: float = 1e-6,
    max_rounds: int = 1000,
) -> Unbalanced:
    """Solve the problem of every patient in the batch, each to its own convergence, in double precision.

    A patient's plan depends on neither padding nor the rest of the batch, up to rounding. Where the cost carries a
    gradient, so does the plan: it flows through all rounds. Detach the cost for a plan that is a constant.

    Parameters
    ----------
    cost : (batch, n, m), finite where row and column are valid; the rest is not read.
    rows, columns : (batch, n) and (batch, m) bool, True where valid; None where all are.
    epsilon : weight of the entropy in units of cost, > 0.
    tau : weight of the marginals in units of cost, > 0; math.inf is balanced transport.
    tolerance : largest residual, > 0.
    max_rounds : at least 1.

    Raises
    ------
    InputError
        A shape or value that does not fit; names the position in the batch where there is one.
    DivergedError
        NaN or infinity; names the position.
    """
    _check_weights(epsilon=epsilon, tau=tau, tolerance=tolerance, max_rounds=max_rounds)
    _check_shapes(cost, rows=rows, columns=columns)
    if rows is None:
        rows = cost.new_ones(cost.shape[:2], dtype=torch.bool)
    if columns is None:
        columns = cost.new_ones((cost.shape[0], cost.shape[2]), dtype=torch.bool)
    valid = rows[:, :, None] & columns[:, None, :]
    cost = cost.masked_fill(~valid, 0.0)
    _check_values(cost, valid=valid)
    strength = 1.0 if math.isinf(tau) else tau / (tau + epsilon)
    width = max(1, _CHUNK_ENTRIES[cost.device.type] // cost[0].numel())
    solved = []
    with torch.autocast(cost.device.type, enabled=False):
        for first in range(0, len(cost), width):
            chunk = slice(first, first + width)
            exponents = (cost[chunk].double() / -epsilon).masked_fill(~valid[chunk], -torch.inf)
            left, right = (_Side.of(mask[chunk], strength=strength) for mask in (rows, columns))
            solved.append(_scale(exponents, left=left, right=right, tolerance=tolerance, max_rounds=max_rounds))
    plan, rounds, residual = (torch.cat(column) for column in zip(*solved, strict=True))
    return Unbalanced(plan=plan.to(cost.dtype), rounds=rounds, residual=residual)


def shifted_cost(left: Tensor, right: Tensor, *, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """Squared distances of tokens that are shifted to be at least 0, over the largest of the patient's own.

    Each token has its own least entry subtracted: C_ij = ||(x_i - min x_i) - (y_j - min y_j)||^2 / max C. Scaling all
    tokens leaves it as it is; where all distances are 0, so is the cost.

    Parameters
    ----------
    left, right : (batch, n, d) and (batch, m, d).
    rows, columns : (batch, n) and (batch, m) bool, True where valid; None where all are.

    Returns
    -------
    Tensor
        (batch, n, m), in [0, 1]; 0 in rows and columns of padding.
    """
    if rows is not None:
        left = left.masked_fill(~rows[..., None], 0.0)
    if columns is not None:
        right = right.masked_fill(~columns[..., None], 0.0)
    left = left - left.amin(dim=2, keepdim=True)
    right = right - right.amin(dim=2, keepdim=True)
    lengths = left.square().sum(dim=2)[:, :, None] + right.square().sum(dim=2)[:, None, :]
    cost = torch.baddbmm(lengths, left, right.transpose(1, 2), alpha=-2).clamp_min(0)  # (batch, n, m)
    if rows is not None:
        cost = cost.masked_fill(~rows[:, :, None], 0.0)
    if columns is not None:
        cost = cost.masked_fill(~columns[:, None, :], 0.0)
    largest = cost.amax(dim=(1, 2), keepdim=True)
    return cost / torch.where(largest > 0, largest, 1.0)


@dataclass(frozen=True)
class _Side:
    """Rows or columns: which are valid (batch, n), the logarithm of the mass of each (batch, 1), the exponent s."""

    valid: Tensor
    log_mass: Tensor
    strength: float

    @classmethod
    def of(cls, valid: Tensor, *, strength: float) -> "_Side":
        return cls(valid=valid, log_mass=-valid.sum(dim=1, keepdim=True).double().log(), strength=strength)

    def potential(self, log_sums: Tensor) -> Tensor:
        """The f of log sum_j exp(g_j - C_ij / eps); 0 where invalid."""
        return (self.strength * (self.log_mass - log_sums)).masked_fill(~self.valid, 0.0)

    def log(self, sums: Tensor) -> Tensor:
        """Logarithm; 0 where invalid."""
        return sums.masked_fill(~self.valid, 1.0).log()


@dataclass(frozen=True)
class _Kernel:
    """Sums of exp(f_i + g_j - C_ij / eps) over rows and columns.

    They are products with exp(f0_i + g0_j - C_ij / eps), kept for potentials near f0 and g0. Where that would leave
    some row or column without a number that can be told from 0, `kept` is None and sums are made of exponents.
    """

    exponents: Tensor
    left: _Side
    right: _Side
    f: Tensor
    g: Tensor
    kept: Tensor | None

    @classmethod
    def at(cls, exponents: Tensor, *, left: _Side, right: _Side, f: Tensor, g: Tensor) -> "_Kernel":
        """Keep the kernel of potentials f (batch, n) and g (batch, m), which are constants from here on."""
        f, g = f.detach(), g.detach()
        shifted = exponents + f[:, :, None] + g[:, None]
        with torch.no_grad():
            of_rows = shifted.amax(dim=2).masked_fill(~left.valid, 0.0)
            of_columns = shifted.amax(dim=1).masked_fill(~right.valid, 0.0)
            span = max(float(of_rows.abs().amax()), float(of_columns.abs().amax()))
        return cls(exponents, left=left, right=right, f=f, g=g, kept=shifted.exp() if span < _SPAN else None)

    def over_columns(self, g: Tensor) -> Tensor:
        """The log sum_j exp(g_j - C_ij / eps), (batch, n)."""
        if self.kept is None:
            return (self.exponents + g[:, None]).masked_fill(~self.left.valid[:, :, None], 0.0).logsumexp(dim=2)
        sums = torch.bmm(self.kept, (g - self.g).exp()[:, :, None])[..., 0]
        return self.left.log(sums) - self.f

    def over_rows(self, f: Tensor) -> Tensor:
        """The log sum_i exp(f_i - C_ij / eps), (batch, m)."""
        if self.kept is None:
            return (self.exponents + f[:, :, None]).masked_fill(~self.right.valid[:, None], 0.0).logsumexp(dim=1)
        sums = torch.bmm((f - self.f).exp()[:, None], self.kept)[:, 0]
        return self.right.log(sums) - self.g

    def drift(self, f: Tensor, g: Tensor) -> float:
        """Largest distance of potentials from those of the kernel."""
        return max(float((f - self.f).detach().abs().amax()), float((g - self.g).detach().abs().amax()))


def _scale(
    exponents: Tensor, *, left: _Side, right: _Side, tolerance: float, max_rounds: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Plans, rounds and residuals, from exponents -C / eps (batch, n, m) that are -inf where invalid."""
    f, g = exponents.new_zeros(left.valid.shape), exponents.new_zeros(right.valid.shape)
    kernel = _Kernel.at(exponents, left=left, right=right, f=f, g=g)
    rounds = torch.zeros(len(f), dtype=torch.int64, device=f.device)
    residual = torch.full_like(f[:, 0], torch.inf)
    for _ in range(max_rounds):
        active = residual > tolerance
        if not bool(active.any()):
            break
        new_f = torch.where(active[:, None], left.potential(kernel.over_columns(g)), f)
        new_g = torch.where(active[:, None], right.potential(kernel.over_rows(new_f)), g)
        change = torch.maximum((new_f - f).abs().amax(dim=1), (new_g - g).abs().amax(dim=1)).detach()
        residual = torch.where(active, change, residual)
        rounds += active
        f, g = new_f, new_g
        if kernel.drift(f, g) > _DRIFT:
            kernel = _Kernel.at(exponents, left=left, right=right, f=f, g=g)
    return (exponents + f[:, :, None] + g[:, None]).exp(), rounds, residual


def _check_weights(*, epsilon: float, tau: float, tolerance: float, max_rounds: int) -> None:
    for name, value in {"epsilon": epsilon, "tau": tau, "tolerance": tolerance}.items():
        if not value > 0 or (math.isinf(value) and name != "tau"):
            raise InputError(f"unbalanced transport: expected {name} above 0 and finite, found {value!r}.")
    if max_rounds < 1:
        raise InputError(f"unbalanced transport: expected max_rounds of at least 1, found {max_rounds!r}.")


def _check_shapes(cost: Tensor, *, rows: Tensor | None, columns: Tensor | None) -> None:
    if cost.ndim != 3 or 0 in cost.shape or not cost.is_floating_point():
        raise InputError(
            f"unbalanced transport: expected a floating-point cost of shape (batch, n, m), none of them 0, found "
            f"{cost.dtype} {tuple(cost.shape)}."
        )
    for name, mask, expected in (("rows", rows, cost.shape[:2]), ("columns", columns, cost.shape[::2])):
        if mask is not None and (mask.dtype != torch.bool or mask.shape != expected):
            raise InputError(
                f"unbalanced transport: expected {name} as a bool mask of shape {tuple(expected)}, found {mask.dtype} "
                f"{tuple(mask.shape)}."
            )


def _check_values(cost: Tensor, *, valid: Tensor) -> None:
    some, finite = valid.flatten(1).any(dim=1), cost.detach().isfinite().flatten(1).all(dim=1)
    for position in (~(some & finite)).nonzero().flatten().tolist()[:1]:
        at = f"unbalanced transport, position {position} in the batch: expected"
        if not bool(some[position]):
            raise InputError(f"{at} at least one valid row and column, found a mask without any.")
        raise DivergedError(f"{at} finite costs, found NaN or infinity.")
