"""How sharp a tile is."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Of red, green and blue: ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def laplacian_variance(rgb: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a picture's luma: large where there are edges, small where it is out of focus.

    It depends on the resolution, so pictures must be compared at one: at 1 µm per pixel, tissue in focus has thousands,
    and what is blurred by a Gaussian of 2 µm less than 60.

    Parameters
    ----------
    rgb
        uint8 (height, width, 3), values 0 to 255.

    References
    ----------
    Pech-Pacheco et al., Proc. ICPR 15 (2000) vol. 3, 314: operator LAPV, with the 4-neighbour Laplacian.
    """
    luma = rgb.astype(np.float32) @ _LUMA  # (height, width)
    return float(ndimage.laplace(luma, mode="nearest").var())
