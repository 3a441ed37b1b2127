"""The nearest other tokens of each token of a bag."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
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


def nearest_in_place(places: Tensor, *, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The token itself, then its `count` nearest others on the same slide; all others where a slide has fewer.

    Tokens of different slides are never neighbours. Of others that are equally far, a search tree of the sorted points
    takes some, always the same whatever the order of the tokens: only tokens in one place are told apart by it.

    Parameters
    ----------
    places : (batch, n, 3), finite where the mask is True: number of the slide, then x and y in any unit of the slide.
    mask : (batch, n) bool, True where a token is real.
    count : at least 0.

    Returns
    -------
    index, valid
        (batch, n, 1 + count) each, as `nearest` gives them.
    """
    index = np.zeros((*mask.shape, 1 + count), dtype=np.int64)
    valid = np.zeros(index.shape, dtype=np.bool_)
    for row, (bag, real) in enumerate(zip(places.cpu().numpy(), mask.cpu().numpy(), strict=True)):
        for slide in np.unique(bag[real, 0]):
            members = np.flatnonzero(real & (bag[:, 0] == slide))
            found = members[_nearest_points(bag[members, 1:], count=count)]  # (members, 1 + most)
            index[row, members, : found.shape[1]] = found
            valid[row, members, : found.shape[1]] = True
    return torch.from_numpy(index).to(mask.device), torch.from_numpy(valid).to(mask.device)


def _nearest_points(points: NDArray[np.float32], *, count: int) -> NDArray[np.int64]:
    """Of points (n, 2), itself and the nearest others, (n, 1 + most) with `most` the lesser of `count` and n - 1."""
    order = np.lexsort((points[:, 0], points[:, 1]))
    itself = np.arange(len(points))
    _, found = cKDTree(points[order]).query(points[order], k=np.arange(1, 2 + min(count, len(points) - 1)))
    found = np.take_along_axis(found, np.argsort(found != itself[:, None], axis=1, kind="stable"), axis=1)
    found[:, 0] = itself  # it is not found where many are in its place
    nearest = np.empty_like(found)
    nearest[order] = order[found]
    return nearest
