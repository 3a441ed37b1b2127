"""Bags cut into parts of nearly equal size."""

import torch
from torch import Tensor


def partition(mask: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Parts of at most `size` tokens that cover each bag: a bag of n tokens has ceil(n / size), equal within one token.

    Parameters
    ----------
    mask
        (batch, tokens) bool, at least one True in each row.
    size
        At least 1.
    keys
        (tokens,) or (batch, tokens), different numbers: the order in which the 1st, 2nd, .. valid token of a bag are
        dealt out to its parts. A bag's parts depend on neither padding nor the other bags.

    Returns
    -------
    index, valid
        (batch, parts, longest part) each: positions among the tokens, and whether a place is filled. Bags of fewer
        parts have empty ones behind.
    """
    rank = (mask.cumsum(dim=1) - 1).clamp_min(0)  # (batch, tokens), among the valid
    own = keys.expand(mask.shape).gather(1, rank).masked_fill(~mask, torch.inf)
    order = own.argsort(dim=1)  # valid ones first
    n_tokens = mask.sum(dim=1)[:, None, None]
    n_parts = -(-n_tokens // size)
    longest = int((-(-n_tokens // n_parts)).max())
    part = torch.arange(int(n_parts.max()), device=mask.device)[:, None]
    place = part + n_parts * torch.arange(longest, device=mask.device)  # (batch, parts, longest)
    valid = (part < n_parts) & (place < n_tokens)
    index = order.gather(1, place.where(valid, 0).flatten(1)).view(place.shape)
    return index, valid
