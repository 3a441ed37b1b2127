"""The joint transport problem of one bag in float64 NumPy: objective, optimality conditions and other solvers."""

from dataclasses import dataclass

import cvxpy
import numpy as np
import ot
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, rel_entr, softmax, xlogy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bag:
    """All tokens valid: cost (n, K), features (n, d), the weights of the objective."""

    cost: Array
    rho: float
    epsilon: float = 0.1
    gamma: float = 1.0
    features: Array | None = None
    similarity_weight: float = 0.0

    def objective(self, plan: Array) -> float:
        """METHOD's objective at P (n, K); the sink gets what is left of each row."""
        n, k = plan.shape
        value = float((plan * self.cost).sum())
        if self.features is not None:
            value -= self.similarity_weight * float((self.features @ self.features.T * (plan @ plan.T)).sum())
        sink = np.clip(1 / n - plan.sum(axis=1), 0, None) if self.rho < 1 else np.zeros(n)
        for part in (plan, sink):
            value += self.epsilon * float((xlogy(part, part) - part).sum())
        if np.isfinite(self.gamma):
            mass = plan.sum(axis=0)
            value += self.gamma * float((rel_entr(mass, self.rho / k) - mass + self.rho / k).sum())
        return value

    def linearised(self, plan: Array) -> Array:
        """Cost of the convex problem that P (n, K) must solve if it is a fixed point."""
        if self.features is None:
            return self.cost
        return self.cost - 2 * self.similarity_weight * self.features @ (self.features.T @ plan)


class _Dual:
    """Minus the semi-dual in h = g / eps, with its derivatives."""

    def __init__(self, bag: Bag, cost: Array) -> None:
        n, k = cost.shape
        self.exponents, self.target = -cost / bag.epsilon, np.full(k, bag.rho / k)
        self.soft = np.full(k, bag.epsilon / bag.gamma)
        if bag.rho < 1:
            self.exponents = np.hstack([self.exponents, np.zeros((n, 1))])
            self.target, self.soft = np.append(self.target, 1 - bag.rho), np.append(self.soft, 0.0)

    def rows(self, h: Array) -> Array:
        return softmax(self.exponents + h, axis=1)

    def wanted(self, h: Array) -> Array:
        return self.target * np.exp(np.minimum(-self.soft * h, 700))

    def value(self, h: Array) -> float:
        relaxed = self.soft > 0
        linear = (self.target * h)[~relaxed].sum() + ((self.target - self.wanted(h)) / np.where(relaxed, self.soft, 1))[
            relaxed
        ].sum()
        return float(logsumexp(self.exponents + h, axis=1).mean() - linear)

    def gradient(self, h: Array) -> Array:
        return self.rows(h).mean(axis=0) - self.wanted(h)

    def hessian(self, h: Array) -> Array:
        rows = self.rows(h)
        return np.diag(rows.mean(axis=0) + self.soft * self.wanted(h)) - rows.T @ rows / len(rows)


def newton(bag: Bag, cost: Array | None = None) -> Array:
    """P (n, K) of the convex problem: Newton's method on the semi-dual, in a trust region and then with full steps."""
    cost = bag.cost if cost is None else cost
    dual = _Dual(bag, cost)
    options = {"gtol": 1e-8, "maxiter": 2000}
    h = minimize(
        dual.value,
        np.zeros(len(dual.target)),
        jac=dual.gradient,
        hess=dual.hessian,
        method="trust-exact",
        options=options,
    ).x
    for _ in range(5):
        step = np.linalg.lstsq(dual.hessian(h), dual.gradient(h), rcond=1e-12)[0]
        if np.abs(dual.gradient(h - step)).max() >= np.abs(dual.gradient(h)).max():
            break
        h = h - step
    return dual.rows(h)[:, : cost.shape[1]] / len(cost)


def duality_gap(bag: Bag, *, plan: Array, potentials: Array) -> float:
    """Objective of P (n, K) minus the dual value of the potentials g (K + 1,): 0 only at the optimum."""
    n, _k = plan.shape
    dual = _Dual(bag, bag.cost)
    h = potentials[: len(dual.target)] / bag.epsilon
    constant = bag.epsilon * (np.log(1 / n) - 1)
    return bag.objective(plan) - (constant - bag.epsilon * dual.value(h))


def convex(bag: Bag) -> Array:
    """P (n, K) of the convex problem as it stands, by a conic solver; for small bags and a finite gamma."""
    n, k = bag.cost.shape
    plan = cvxpy.Variable((n, k), nonneg=True)
    mass = cvxpy.sum(plan, axis=0)
    value = cvxpy.sum(cvxpy.multiply(plan, bag.cost)) - bag.epsilon * (cvxpy.sum(cvxpy.entr(plan)) + cvxpy.sum(plan))
    value += bag.gamma * cvxpy.sum(cvxpy.kl_div(mass, np.full(k, bag.rho / k)))
    rows = cvxpy.sum(plan, axis=1)
    constraints = [rows == 1 / n]
    if bag.rho < 1:
        sink = cvxpy.Variable(n, nonneg=True)
        value -= bag.epsilon * (cvxpy.sum(cvxpy.entr(sink)) + cvxpy.sum(sink))
        constraints = [rows + sink == 1 / n, cvxpy.sum(sink) == 1 - bag.rho]
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    cvxpy.Problem(cvxpy.Minimize(value), constraints).solve(solver=cvxpy.CLARABEL, **tight)
    return np.asarray(plan.value)


def pot(bag: Bag) -> Array:
    """P (n, K) from POT: semi-relaxed where rho is 1, balanced with a sink column where gamma is infinite."""
    n, k = bag.cost.shape
    rows, columns, cost = np.full(n, 1 / n), np.full(k, bag.rho / k), bag.cost
    if np.isinf(bag.gamma):
        if bag.rho < 1:
            columns, cost = np.append(columns, 1 - bag.rho), np.hstack([cost, np.zeros((n, 1))])
        return ot.sinkhorn(rows, columns, cost, bag.epsilon, method="sinkhorn_log", numItermax=100_000, stopThr=1e-14)[
            :, :k
        ]
    if bag.rho < 1:
        raise ValueError("POT has no solver that relaxes some columns and not others")
    return ot.unbalanced.sinkhorn_unbalanced(
        rows,
        columns,
        cost,
        bag.epsilon,
        (np.inf, bag.gamma),
        reg_type="kl",
        c=np.ones((n, k)),
        numItermax=100_000,
        stopThr=1e-14,
    )
