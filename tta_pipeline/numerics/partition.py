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


def partition(mask: Tensor, *, parts: Tensor, seed: int | None = None) -> Partition:
    """Shuffle each bag of real tokens and deal it out to its parts, whose sizes then differ by at most one.

    Every real token is in one part.

    Parameters
    ----------
    mask : (batch, tokens) bool, True where a token is real.
    parts : (batch,) int64, number of parts of each bag, from 1 to its tokens.
    seed : draws one order, which bags of one length share and which depends on nothing but their length; None draws
        from torch's global generator, for each bag by itself.

    Raises
    ------
    InputError
        A bag with fewer than one part, or with fewer tokens than parts.
    """
    lengths = mask.sum(dim=1)  # (batch,)
    if not bool(((parts >= 1) & (parts <= lengths)).all()):
        raise InputError(
            f"partition: expected from one part per bag to one per token, found {parts.tolist()} parts of bags of "
            f"{lengths.tolist()} tokens."
        )
    shuffled = _keys(mask, seed=seed).masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)  # (batch, tokens)
    bag = torch.arange(len(mask), device=mask.device).repeat_interleave(parts)  # (parts,)
    number = torch.arange(len(bag), device=mask.device) - (parts.cumsum(0) - parts)[bag]
    round_ = torch.arange(int((-(-lengths // parts)).max()), device=mask.device)
    place = number[:, None] + parts[bag][:, None] * round_  # (parts, largest), in the shuffled bag
    present = place < lengths[bag][:, None]
    tokens = shuffled[bag[:, None], place.where(present, 0)]
    return Partition(bag=bag, tokens=tokens.masked_fill(~present, 0), mask=present)


def _keys(mask: Tensor, *, seed: int | None) -> Tensor:
    """Numbers (batch, tokens) that a shuffle sorts by."""
    if seed is None:
        return torch.rand(mask.shape, dtype=torch.float64, device=mask.device)
    drawn = np.random.default_rng(seed).random(mask.shape[1])  # one stream: longer batches begin with the same
    return torch.from_numpy(drawn).to(mask.device)[(mask.cumsum(dim=1) - 1).clamp_min(0)]
