"""The joint transport problem of one bag in float64 NumPy: its objective, its optimality conditions and other solvers."""

from dataclasses import dataclass

import cvxpy
import numpy as np
import ot
from numpy.typing import NDArray
from scipy.special import logsumexp, rel_entr, xlogy

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


def newton(bag: Bag, cost: Array | None = None) -> Array:
    """P (n, K) of the convex problem by damped Newton steps on the semi-dual, checked by its value at every step."""
    cost = bag.cost if cost is None else cost
    n, k = cost.shape
    exponents = -cost / bag.epsilon
    target, soft = np.full(k, bag.rho / k), np.full(k, bag.epsilon / bag.gamma)
    if bag.rho < 1:
        exponents = np.hstack([exponents, np.zeros((n, 1))])
        target, soft = np.append(target, 1 - bag.rho), np.append(soft, 0.0)

    def value(h: Array) -> float:
        linear = np.where(soft > 0, -np.expm1(-soft * h) / np.where(soft > 0, soft, 1), h)
        return float((target * linear).sum() - logsumexp(exponents + h, axis=1).mean())

    h = np.zeros(len(target))
    for _ in range(500):
        rows = np.exp(exponents + h - logsumexp(exponents + h, axis=1, keepdims=True))
        wanted = target * np.exp(-soft * h)
        gradient = wanted - rows.mean(axis=0)
        if np.abs(gradient / target).max() < 1e-13:
            break
        hessian = np.diag(rows.mean(axis=0) + soft * wanted) - rows.T @ rows / n
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0]
        size = 1.0
        while size > 1e-6 and value(h + size * step) < value(h) + 1e-4 * size * gradient @ step - 1e-15:
            size /= 2
        h = h + size * step
    return rows[:, :k] / n


def convex(bag: Bag) -> Array:
    """P (n, K) of the convex problem as it stands, by a conic solver; for small bags and a finite gamma."""
    n, k = bag.cost.shape
    plan = cvxpy.Variable((n, k), nonneg=True)
    mass = cvxpy.sum(plan, axis=0)
    value = cvxpy.sum(cvxpy.multiply(plan, bag.cost)) - bag.epsilon * (
        cvxpy.sum(cvxpy.entr(plan)) + cvxpy.sum(plan)
    )
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
        return ot.sinkhorn(
            rows, columns, cost, bag.epsilon, method="sinkhorn_log", numItermax=100_000, stopThr=1e-14
        )[:, :k]
    if bag.rho < 1:
        raise ValueError("POT has no solver that relaxes some columns and not others")
    return ot.unbalanced.sinkhorn_unbalanced(
        rows, columns, cost, bag.epsilon, (np.inf, bag.gamma), reg_type="entropy", numItermax=100_000, stopThr=1e-14
    )
