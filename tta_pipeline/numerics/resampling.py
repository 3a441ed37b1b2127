"""Resampling of tiles."""

import numpy as np
import torch
from numpy.typing import NDArray

# Of an edge in pixels, which is a quotient of two floats.
_ROUNDING = 1e-6


def resample(pixels: NDArray[np.uint8], *, factor: float, out: NDArray[np.uint8]) -> None:
    """Resize a region by an exact, not rounded factor.

    Pixel i of the result covers `i * factor` to `(i + 1) * factor` of the region's pixels, from its upper-left corner,
    whatever lies beyond the last one. The filter is the cubic convolution kernel (a = -0.5), widened by the factor
    where it reduces, so that nothing aliases (Keys, IEEE Trans. ASSP 29 (1981) 1153, eq. 15).

    Parameters
    ----------
    pixels
        uint8 (height, width, 3), writable, at least `factor * size` pixels along each axis.
    factor
        Pixels of the region per pixel of the result, > 0; below 1 it enlarges.
    out
        uint8 (size, size, 3), overwritten with the result.

    Raises
    ------
    ValueError
        The region is smaller than the result needs.
    """
    size = len(out)
    height, width = pixels.shape[:2]
    if min(height, width) < factor * size - _ROUNDING:
        raise ValueError(f"expected at least {factor * size:g} pixels along each axis, found {width} x {height}")
    if factor == 1.0:
        out[...] = pixels[:size, :size]
        return
    if size in (height, width):  # torch copies a region that has the size of the result, whatever the factor
        pixels = np.pad(pixels, ((0, int(height == size)), (0, int(width == size)), (0, 0)), mode="edge")
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (1, 3, height, width)
    # The operator beneath torch.nn.functional.interpolate, which takes either the size of the result or the factor.
    resized = torch.ops.aten._upsample_bicubic2d_aa(planes, [size, size], False, 1 / factor, 1 / factor)[0]
    out[...] = resized.permute(1, 2, 0).numpy()  # (size, size, 3)
