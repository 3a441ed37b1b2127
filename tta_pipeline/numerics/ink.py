"""Ink of pens on a thumbnail of an H&E slide, by colour.

Haematoxylin and eosin absorb green the most and red the least, and blue in between. Ink that absorbs otherwise is told
from tissue by the optical densities of red, green and blue; red ink, which absorbs as blood does, by its purity and by
the width of a pen's stroke as well.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

# Blue, green and turquoise ink absorb more red than green: by this density.
RED_OVER_GREEN = 0.15
# Black ink, dirt and the slide's edge absorb all colours alike: density and saturation of a grey absorber.
GREY_DENSITY = 0.5
GREY_SATURATION = 0.15
# Red ink lets red pass and takes green and blue alike, both strongly. Blood is paler and keeps more blue.
RED_SATURATION = 0.75
RED_PASSES = 0.25  # density of red as a part of that of green, at most
BLUE_OVER_GREEN = 0.75  # density of blue as a part of that of green, at least
RED_STROKE_UM2 = 100_000.0  # half a millimetre of a stroke 0.2 mm wide; vessels full of blood are smaller
_MARGIN_PX = 2


def ink_mask(density: NDArray[np.float32], *, saturation: NDArray[np.float32], mpp: float) -> NDArray[np.bool_]:
    """Pixels of pen ink, black dirt and the slide's edge, with a margin of two pixels.

    Parameters
    ----------
    density
        float32 (height, width, 3), optical density of red, green and blue; 0 is white.
    saturation
        float32 (height, width), HSV saturation, 0 to 1.
    mpp
        Micrometres per pixel.

    Returns
    -------
    Boolean (height, width).

    References
    ----------
    Absorption of the stains: Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291, table 1.
    """
    red, green, blue = np.moveaxis(density, 2, 0)
    cool = red - green > RED_OVER_GREEN
    grey = (density.mean(axis=2) > GREY_DENSITY) & (saturation < GREY_SATURATION)
    pure = (saturation > RED_SATURATION) & (red < RED_PASSES * green) & (blue > BLUE_OVER_GREEN * green)
    return np.asarray(ndimage.binary_dilation(cool | grey | _large(pure, mpp=mpp), iterations=_MARGIN_PX))


def _large(mask: NDArray[np.bool_], *, mpp: float) -> NDArray[np.bool_]:
    pieces = label(mask, connectivity=2)  # type: ignore[no-untyped-call]
    large = np.bincount(pieces.ravel(), minlength=1) * mpp**2 >= RED_STROKE_UM2
    large[0] = False
    return np.asarray(large[pieces])
