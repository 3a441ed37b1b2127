"""Layers that models share: pathway tokens, single-head attention, the block around it."""

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline.models.dropout import Dropout

_SHORTEST_VECTOR = 1e-12  # shorter ones are scaled by it, as torch.nn.functional.normalize does


class PathwayLinear(nn.Module):
    """One private linear layer per gene set, as one batched product.

    The weights of all sets lie in one parameter (total members, out); for the product they are spread to
    (sets, largest set, out) with zeros as padding, so a small set costs nothing in the optimiser and on disk.
    Each set starts as `nn.Linear` would with its own number of genes.
    """

    columns: Tensor
    slots: Tensor

    def __init__(self, members: list[NDArray[np.int64]], out: int):
        super().__init__()
        sizes = [len(columns) for columns in members]
        self.shape = (len(members), max(sizes))
        columns = np.zeros(self.shape, dtype=np.int64)
        for row, genes in zip(columns, members, strict=True):
            row[: len(genes)] = genes
        filled = np.arange(self.shape[1]) < np.array(sizes)[:, None]  # (sets, largest)
        self.register_buffer("columns", torch.from_numpy(columns), persistent=False)
        self.register_buffer("slots", torch.from_numpy(np.flatnonzero(filled)), persistent=False)
        bound = torch.tensor(sizes, dtype=torch.float32).rsqrt()  # (sets,), 1 / sqrt(fan-in)
        per_member = bound.repeat_interleave(torch.tensor(sizes))[:, None]
        self.weight = nn.Parameter((2 * torch.rand(sum(sizes), out) - 1) * per_member)
        self.bias = nn.Parameter((2 * torch.rand(len(sizes), out) - 1) * bound[:, None])

    def forward(self, expression: Tensor) -> Tensor:
        """(batch, genes) -> (batch, sets, out)."""
        out = self.weight.shape[1]
        spread = self.weight.new_zeros(self.shape[0] * self.shape[1], out).index_copy(0, self.slots, self.weight)
        spread = spread.view(*self.shape, out)  # (sets, largest, out)
        genes = expression[:, self.columns].transpose(0, 1)  # (sets, batch, largest)
        return torch.baddbmm(self.bias[:, None], genes, spread).transpose(0, 1)  # (batch, sets, out)


class Attention(nn.Module):
    """Single-head attention of all tokens to all tokens."""

    def __init__(self, dim: int):
        super().__init__()
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, *, twice: tuple[slice, slice] | None = None) -> Tensor:
        """(batch, tokens, dim) -> (batch, tokens, dim).

        `twice` names a block (queries, keys) of the logits that goes through its own softmax before the common one.
        """
        mixed: Tensor = self.out(attend(self.query_key_value(tokens), twice=twice))
        return mixed


def attend(query_key_value: Tensor, *, twice: tuple[slice, slice] | None = None) -> Tensor:
    """What each token reads of all: queries, keys and values side by side (batch, tokens, 3 d) -> (batch, tokens, d).

    `twice` as in `Attention`.
    """
    query, key, value = query_key_value.chunk(3, dim=-1)
    logits = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])  # (batch, tokens, tokens)
    if twice is not None:
        rows, columns = twice
        logits = logits.clone()
        logits[:, rows, columns] = logits[:, rows, columns].softmax(dim=-1)
    read: Tensor = logits.softmax(dim=-1) @ value
    return read


class Block(nn.Module):
    """LayerNorm, single-head attention, [LayerNorm, Linear, GELU, Dropout, Linear], LayerNorm.

    The first LayerNorm makes the result independent of the size of the tokens, hence of the length of the bag
    that they are sums over.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.attention = Attention(dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), Dropout(dropout), nn.Linear(dim, dim)
        )
        self.norm_out = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, *, twice: tuple[slice, slice] | None = None) -> Tensor:
        """(batch, tokens, dim) -> (batch, tokens, dim)."""
        attended = self.attention(self.norm_in(tokens), twice=twice)
        out: Tensor = self.norm_out(self.feed_forward(attended))
        return out


def mean_units(hidden: Tensor, *, weight: Tensor, bias: Tensor, views: Tensor) -> Tensor:
    """Weighted means of unit vectors: sum_i v_i unit(W h_i + b), without keeping a unit vector per token.

    Parameters
    ----------
    hidden : (batch, tokens, d)
    weight, bias : (heads, s, d) and (heads, s)
    views : (batch, views, tokens), constants

    Returns
    -------
    Tensor
        (heads, batch, views, s)
    """
    means: Tensor = _MeanUnits.apply(hidden, weight, bias, views)  # type: ignore[no-untyped-call]
    return means


class _MeanUnits(torch.autograd.Function):
    """Patient by patient and head by head, so that what is between two products stays in the cache.

    Kept for the gradient: W h + b and its lengths.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, views: Tensor) -> Tensor:
        heads, width, _ = weight.shape
        size, n_tokens, _ = hidden.shape
        projected = hidden.new_empty(size, heads, n_tokens, width)
        lengths = hidden.new_empty(size, heads, n_tokens)
        means = hidden.new_empty(heads, size, views.shape[1], width)
        for patient, head in product(range(size), range(heads)):
            own, length = projected[patient, head], lengths[patient, head]
            torch.addmm(bias[head], hidden[patient], weight[head].T, out=own)
            torch.linalg.vector_norm(own, dim=-1, out=length)
            length.clamp_(min=_SHORTEST_VECTOR)
            torch.mm(views[patient] / length, own, out=means[head, patient])
        ctx.save_for_backward(hidden, weight, views, projected, lengths)
        return means

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, views, projected, lengths = ctx.saved_tensors
        (slope,) = gradients  # (heads, batch, views, s)
        to_hidden, to_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        to_bias = weight.new_zeros(weight.shape[:2])
        for patient, head in product(range(len(hidden)), range(len(weight))):
            own, length = projected[patient, head], lengths[patient, head][:, None]
            pull = views[patient].T @ slope[head, patient]  # (tokens, s)
            along = torch.linalg.vecdot(pull, own)[:, None] / length**2
            pull.addcmul_(own, along, value=-1).div_(length)  # across the unit vector only
            to_hidden[patient].addmm_(pull, weight[head])
            to_weight[head].addmm_(pull.T, hidden[patient])
            to_bias[head] += pull.sum(dim=0)
        return to_hidden, to_weight, to_bias, None
