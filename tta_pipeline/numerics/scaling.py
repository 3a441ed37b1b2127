"""Mean and scale of columns, accumulated in float64 over chunks of rows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.float32]


def mean_and_scale(chunks: Iterable[NDArray[np.floating[Any]]]) -> tuple[Columns, Columns]:
    """Mean and standard deviation of each column over the rows of all chunks.

    Chunks are merged by their own means, so that columns of very different sizes lose no digits.
    The deviation divides by the number of rows. A constant column gets scale 1: standardised, it is 0.

    Parameters
    ----------
    chunks
        Arrays (rows, columns) of one width; at least one row in all.

    Returns
    -------
    mean, scale
        (columns,) float32 each; scale > 0.

    References
    ----------
    Chan, Golub, LeVeque, Am. Stat. 37 (1983), eq. 1.5.
    """
    count = 0
    mean = total = low = high = np.zeros(0)
    for chunk in chunks:
        rows = np.asarray(chunk, dtype=np.float64)
        chunk_mean = rows.mean(axis=0)
        chunk_total = ((rows - chunk_mean) ** 2).sum(axis=0)
        if count == 0:
            mean, total, low, high = chunk_mean, chunk_total, rows.min(axis=0), rows.max(axis=0)
        else:
            shift = chunk_mean - mean
            total = total + chunk_total + shift**2 * (count * len(rows) / (count + len(rows)))
            mean = mean + shift * (len(rows) / (count + len(rows)))
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        count += len(rows)
    scale = np.sqrt(total / count).astype(np.float32)
    scale[(low == high) | (scale == 0)] = 1.0
    return mean.astype(np.float32), scale
