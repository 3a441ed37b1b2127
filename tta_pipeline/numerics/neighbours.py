"""The nearest other tokens of each token of a bag."""

import torch
from torch import Tensor

_CHUNK_ENTRIES = 2**24  # distances worked on at a time


@torch.no_grad()
def nearest(points: Tensor, *, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The token itself, then its `count` nearest others by Euclidean distance; all others where a bag has fewer.

    Parameters
    ----------
    points : (batch, n, d), finite where the mask is True.
    mask : (batch, n) bool, True where a token is real, at least one in each row.
    count : at least 0.

    Returns
    -------
    index, valid
        (batch, n, 1 + most) each, with `most` the lesser of `count` and n - 1: positions in the bag, the nearer ones
        first, and which of them there are. Nothing is valid in rows of padding.
    """
    width = max(1, _CHUNK_ENTRIES // points.shape[1] ** 2)
    chunks = [slice(first, first + width) for first in range(0, len(points), width)]
    others = [_others(points[chunk], mask=mask[chunk], count=count) for chunk in chunks]
    index, valid = (torch.cat(parts) for parts in zip(*others, strict=True))
    itself = torch.arange(points.shape[1], device=points.device)[:, None].expand(len(points), -1, 1)
    return torch.cat([itself, index], dim=2), torch.cat([mask[..., None], valid], dim=2)


def _others(points: Tensor, *, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Nearest other tokens of some bags, so many rows of the distances at a time as are worked on."""
    points = points.masked_fill(~mask[..., None], 0.0)
    centre = points.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]
    points = points - centre  # what all have in common would cost digits
    lengths = points.square().sum(dim=2)
    height = max(1, _CHUNK_ENTRIES // (len(points) * points.shape[1]))
    found = []
    for first in range(0, points.shape[1], height):
        rows = points[:, first : first + height]
        distances = torch.baddbmm(lengths[:, None], rows, points.mT, alpha=-2)  # (batch, rows, n), up to |x_i|^2
        distances = distances.masked_fill_(~mask[:, None], torch.inf)
        distances.diagonal(offset=first, dim1=1, dim2=2).fill_(torch.inf)
        found.append(distances.topk(min(count, points.shape[1] - 1), dim=2, largest=False))
    values, index = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return index, values.isfinite() & mask[..., None]


def window(mask: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """The 1 + `count` tokens in a row that a token is in the middle of, moved inside where a bag ends.

    Parameters
    ----------
    mask : (batch, n) bool, True where a token is real.
    count : even, at least 0.

    Returns
    -------
    index, valid
        (batch, n, 1 + count) each, as `nearest` gives them, but in the order of the bag.
    """
    rank = mask.cumsum(dim=1) - 1  # (batch, n), among the real
    lengths = mask.sum(dim=1, keepdim=True)
    first = torch.minimum(rank - count // 2, lengths - 1 - count).clamp_min(0)
    place = first[..., None] + torch.arange(1 + count, device=mask.device)
    valid = (place < lengths[..., None]) & mask[..., None]
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)  # real ones first
    index = order.gather(1, place.where(valid, 0).flatten(1)).view(place.shape)
    return index, valid
