"""Bags cut at random into parts of near-equal size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tta_pipeline.errors import InputError


@dataclass(frozen=True)
class Partition:
    """Parts of all bags of a batch, those of a bag one after another.

    bag: (parts,) int64, row of the batch that a part is of.
    tokens: (parts, largest) int64, its tokens' columns in that row; 0 where a part is smaller.
    mask: (parts, largest) bool, True where there is a token.
    """

    bag: Tensor
    tokens: Tensor
    mask: Tensor


def partition(mask: Tensor, *, size: int, seed: int | None = None) -> Partition:
    """Shuffle each bag of n real tokens and cut it into floor(n / size) + 1 parts whose sizes differ by at most one.

    Every real token is in one part. A bag has no more parts than tokens.

    Parameters
    ----------
    mask : (batch, tokens) bool, True where a token is real, at least one in each row.
    size : tokens that no part exceeds, >= 1.
    seed : draws one order, which bags of one length share and which depends on nothing but their length; None draws
        from torch's global generator, for each bag by itself.

    Raises
    ------
    InputError
        A size below 1, or a bag without a token.
    """
    lengths = mask.sum(dim=1)  # (batch,)
    if size < 1 or not bool(lengths.all()):
        raise InputError(
            f"partition: expected a size of at least 1 and a token in each bag, found a size of {size} and bags of "
            f"{lengths.tolist()} tokens."
        )
    shuffled = _keys(mask, seed=seed).masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)  # (batch, tokens)
    parts = torch.minimum(lengths // size + 1, lengths)
    bag = torch.arange(len(mask), device=mask.device).repeat_interleave(parts)  # (parts,)
    number = torch.arange(len(bag), device=mask.device) - (parts.cumsum(0) - parts)[bag]
    least, rest = (lengths // parts)[bag], (lengths % parts)[bag]  # the first `rest` parts have one token more
    first, sizes = number * least + torch.minimum(number, rest), least + (number < rest)
    step = torch.arange(int(sizes.max()), device=mask.device)
    present = step < sizes[:, None]  # (parts, largest)
    tokens = shuffled[bag[:, None], (first[:, None] + step).clamp_max(mask.shape[1] - 1)]
    return Partition(bag=bag, tokens=tokens.masked_fill(~present, 0), mask=present)


def _keys(mask: Tensor, *, seed: int | None) -> Tensor:
    """Numbers (batch, tokens) that a shuffle sorts by."""
    if seed is None:
        return torch.rand(mask.shape, device=mask.device)
    drawn = np.random.default_rng(seed).random(mask.shape[1])  # one stream: longer batches begin with the same
    return torch.from_numpy(drawn).to(mask.device)[(mask.cumsum(dim=1) - 1).clamp_min(0)]
