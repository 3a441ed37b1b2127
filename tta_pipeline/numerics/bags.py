"""Bags of tokens cut out of a padded batch, so that padding costs no time and changes no result."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tta_pipeline.errors import DivergedError, InputError


@dataclass(frozen=True)
class Bags:
    """Some patients of a batch, valid tokens first, in their order, cut to the longest bag.

    cost: (bags, tokens, K), float32 or float64. nearest: (bags, tokens, 1), least cost of each token.
    span: from the least cost or 0 to the largest cost or 0, over all bags.
    row_mass: (bags, tokens), a_i = 1 / n_valid on valid tokens, else 0.
    tokens: (bags, tokens, features) or None; 0 on invalid tokens, like the cost.
    order: (bags, tokens), the token's row in the batch; None where the batch is used as it is.
    """

    cost: Tensor
    nearest: Tensor
    span: float
    row_mass: Tensor
    tokens: Tensor | None
    order: Tensor | None

    @classmethod
    def pack(cls, cost: Tensor, *, mask: Tensor, tokens: Tensor | None, chunk: slice) -> "Bags":
        """Cut patients `chunk` out of cost (batch, tokens, K), mask (batch, tokens), tokens (batch, tokens, features).

        Raises
        ------
        InputError
            A patient without a valid token.
        DivergedError
            A cost that is not finite.
        """
        cost, mask = cost[chunk], mask[chunk]
        tokens = None if tokens is None else tokens[chunk]
        n_valid = mask.sum(dim=1)
        _require(
            n_valid > 0, InputError, first=chunk.start, expected="at least one valid token", found="a mask without any"
        )
        order = None
        if not bool(mask.all()):
            order = mask.byte().argsort(dim=1, descending=True, stable=True)[:, : int(n_valid.max())]
            mask = mask.gather(1, order)  # (bags, longest)
            cost = _take(cost, order=order, valid=mask)
            tokens = None if tokens is None else _take(tokens, order=order, valid=mask)
        cost = cost.to(torch.promote_types(cost.dtype, torch.float32))
        nearest = cost.amin(dim=-1, keepdim=True)
        low, high = nearest.amin(dim=(1, 2)), cost.amax(dim=(1, 2))
        finite = (high - low).isfinite()
        _require(finite, DivergedError, first=chunk.start, expected="finite costs", found="NaN or infinity")
        row_mass = mask.to(cost.dtype) / n_valid[:, None]
        span = max(float(high.max()), 0.0) - min(float(low.min()), 0.0)
        return cls(cost=cost, nearest=nearest, span=span, row_mass=row_mass, tokens=tokens, order=order)

    def unpack(self, plan: Tensor, *, into: Tensor) -> None:
        """Write rows (bags, tokens, K) to their places in (bags, all tokens, K); rows of invalid tokens become 0."""
        if self.order is None:
            into.copy_(plan)
            return
        plan = plan.masked_fill(self.row_mass[..., None] == 0, 0)
        into.zero_().scatter_(1, self.order[..., None].expand_as(plan), plan.to(into.dtype))


def _take(rows: Tensor, *, order: Tensor, valid: Tensor) -> Tensor:
    taken = rows.take_along_dim(order[..., None], dim=1)  # (bags, longest, width)
    return taken if bool(valid.all()) else taken.masked_fill(~valid[..., None], 0)


def _require(holds: Tensor, error: type[InputError], *, first: int, expected: str, found: str) -> None:
    if not bool(holds.all()):
        position = first + int(holds.logical_not().nonzero()[0, 0])
        raise error(f"optimal transport, position {position} in the batch: expected {expected}, found {found}.")
