"""The grid of tiles on a slide and how much tissue is under each."""

import math

import numpy as np
from numpy.typing import NDArray

# Scanners of 40x give 0.2462 to 0.2530 µm per pixel; half of that counts as 0.5.
_NEARLY = 1.02


def tile_edge_level0_px(*, tile_size_px: int, mpp: float, mpp_level0: float) -> float:
    """Edge of a tile in level-0 pixels, not rounded: it covers exactly `tile_size_px * mpp` micrometres."""
    return tile_size_px * mpp / mpp_level0


def reading_step_px(factor: float) -> int:
    """Largest power of two up to `factor`, at least 1: the level-0 pixels that a slide's reader makes one of.

    Pyramids and JPEG decoding reduce by powers of two, so a tile whose corner is a multiple of this step is read where
    it stands, without a displacement by a part of a pixel.
    """
    return int(2 ** max(0, math.floor(math.log2(factor * _NEARLY))))


def axis_positions(*, length_px: int, edge_px: float, stride_px: float, step_px: int = 1) -> NDArray[np.int64]:
    """Starts of the tiles along one axis.

    Position i is `i * stride_px` rounded half up to a multiple of `step_px`, so that no error adds up along the axis:
    each start is at most half a step from its exact place. Only tiles that lie within the slide as a whole are kept, so
    a rest of less than one tile at the right and lower border is left out.

    Parameters
    ----------
    length_px
        Width or height of the slide in level-0 pixels.
    edge_px, stride_px
        Edge of a tile and distance between neighbours in level-0 pixels, both > 0.
    step_px
        What starts are multiples of; see `reading_step_px`.

    Returns
    -------
    int64 (k,), ascending; empty where the slide is smaller than one tile.
    """
    if edge_px <= 0 or stride_px <= 0:
        raise ValueError(f"expected edge and stride above 0, found {edge_px} and {stride_px}")
    count = int(max(0, np.ceil((length_px - edge_px) / stride_px) + 1))
    starts = np.floor(np.arange(count) * stride_px / step_px + 0.5).astype(np.int64) * step_px
    return np.asarray(starts[starts + edge_px <= length_px + 1e-6])


def grid_coords(*, size_px: tuple[int, int], edge_px: float, stride_px: float, step_px: int = 1) -> NDArray[np.int32]:
    """Upper-left corners of all tiles on a slide of `size_px` = (width, height), in level-0 pixels.

    Returns
    -------
    int32 (n, 2) of x and y, row by row from the top, each row from the left.
    """
    axis = {"edge_px": edge_px, "stride_px": stride_px}
    x, y = (axis_positions(length_px=length, step_px=step_px, **axis) for length in size_px)
    rows, columns = np.meshgrid(y, x, indexing="ij")  # (rows, columns)
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.int32)  # (rows * columns, 2)


def tissue_fraction(
    mask: NDArray[np.bool_], coords: NDArray[np.int32], *, edge_px: float, downsample: float
) -> NDArray[np.float64]:
    """Fraction of each tile's area that the mask calls tissue.

    The mask is constant within its pixels, so its integral from the origin is bilinear between the corners of pixels:
    the integral image, interpolated, gives the exact area under a tile whose borders cut through mask pixels
    (summed-area table: Crow, SIGGRAPH 18 (1984) 207).

    Parameters
    ----------
    mask
        Boolean (height, width); pixel (r, c) covers level-0 pixels `c * downsample` to `(c + 1) * downsample`.
    coords
        int32 (n, 2), x and y of the corners in level-0 pixels; every tile lies within the mask.
    edge_px
        Edge of the tiles in level-0 pixels.
    downsample
        Level-0 pixels per mask pixel, along each axis.

    Returns
    -------
    float64 (n,), 0 to 1.
    """
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    integral[1:, 1:] = mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    left, top = coords.T.astype(np.float64) / downsample
    edge = edge_px / downsample
    right, bottom = left + edge, top + edge
    area = (
        _bilinear(integral, bottom, right)
        - _bilinear(integral, top, right)
        - _bilinear(integral, bottom, left)
        + _bilinear(integral, top, left)
    )
    return np.clip(area / edge**2, 0.0, 1.0)


def sample_evenly(coords: NDArray[np.int32], *, largest: int | None, seed: int) -> NDArray[np.int64]:
    """At most `largest` of n tiles, spread evenly over the tissue, each with the same chance.

    The tiles are put in the order in which a Hilbert curve visits them, and every (n / largest)-th is taken from a
    random start: neighbours on the curve are neighbours on the slide, so each piece of tissue gives tiles in proportion
    to its area (systematic sampling; the curve: Hilbert, Math. Ann. 38 (1891) 459).

    Parameters
    ----------
    coords
        int32 (n, 2), x and y >= 0.
    largest
        None keeps all.

    Returns
    -------
    int64 rows of `coords`, ascending.
    """
    count = len(coords)
    if largest is None or count <= largest:
        return np.arange(count)
    start = np.random.default_rng(seed).random()
    taken = np.floor((np.arange(largest) + start) * (count / largest)).astype(np.int64)
    return np.sort(np.argsort(hilbert_order(coords), kind="stable")[taken])


def hilbert_order(coords: NDArray[np.int32]) -> NDArray[np.int64]:
    """Position of points, int32 (n, 2) of 0 or more, along a Hilbert curve over a square that holds them."""
    x, y = coords.T.astype(np.int64)
    position = np.zeros(len(coords), dtype=np.int64)
    for bit in reversed(range(int(coords.max(initial=1)).bit_length())):
        side = np.int64(1) << bit
        right, upper = (x & side) > 0, (y & side) > 0
        position = position * 4 + np.where(right, np.where(upper, 2, 3), np.where(upper, 1, 0))
        # The curve in the two lower quadrants is the whole curve mirrored; beyond the first bit only bits below count.
        x, y = x & (side - 1), y & (side - 1)
        turned = ~upper
        flipped = turned & right
        x, y = np.where(flipped, side - 1 - x, x), np.where(flipped, side - 1 - y, y)
        x, y = np.where(turned, y, x), np.where(turned, x, y)
    return position


def _bilinear(table: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    r = np.clip(np.floor(row).astype(np.int64), 0, table.shape[0] - 2)
    c = np.clip(np.floor(column).astype(np.int64), 0, table.shape[1] - 2)
    down, across = row - r, column - c
    upper = table[r, c] * (1 - across) + table[r, c + 1] * across
    lower = table[r + 1, c] * (1 - across) + table[r + 1, c + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)
