"""Where the tissue is on a thumbnail of an H&E slide."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from tta_pipeline.numerics.ink import ink_mask

# Otsu's threshold separates two classes even where there is only one. These limits say what glass and tissue look like:
# below the lower limit everything is glass, above the upper one everything is tissue, whatever the histogram says.
SATURATION_LIMITS = (0.06, 0.12)
DENSITY_LIMITS = (0.05, 0.10)
_BLUR_PX = 1.0
Method = Literal["stain", "otsu"]


@dataclass(frozen=True)
class TissueMap:
    """Boolean (height, width) each: what is tissue, and what is ink and therefore none."""

    tissue: NDArray[np.bool_]
    ink: NDArray[np.bool_]


def find_tissue(
    rgb: NDArray[np.uint8], *, mpp: float, min_object_um2: float, max_hole_um2: float, method: Method = "stain"
) -> TissueMap:
    """Pixels of a thumbnail that show tissue.

    With "stain", a pixel is tissue where, after a Gaussian blur of one pixel, both its saturation and its optical
    density exceed Otsu's thresholds, these held within limits that glass and stained tissue keep (an empty slide has
    no tissue), and where it is no ink; see `numerics.ink`. With "otsu", a pixel is tissue where its blurred saturation
    exceeds Otsu's threshold, held above the limit below which everything is glass; ink is tissue then. After either,
    holes are filled and small pieces dropped, in this order.

    Parameters
    ----------
    rgb
        uint8 (height, width, 3), values 0 to 255, white glass.
    mpp
        Micrometres per pixel of `rgb`.
    min_object_um2
        Pieces of tissue (8-connected) with a smaller area are dropped.
    max_hole_um2
        Holes (4-connected) with a smaller area are filled; a hole at the border of the image is
        background.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62, eq. 18; optical density: Ruifrok and Johnston,
    Anal. Quant. Cytol. Histol. 23 (2001) 291, eq. 1; saturation: Smith, SIGGRAPH 12 (1978) 12, HSV.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected uint8 (height, width, 3), found {rgb.dtype} {rgb.shape}")
    smooth = ndimage.gaussian_filter(rgb.astype(np.float32), sigma=(_BLUR_PX, _BLUR_PX, 0), mode="nearest")
    saturation = saturation_of(smooth)
    if method == "otsu":
        ink = np.zeros(saturation.shape, dtype=np.bool_)
        mask = saturation > otsu_within(saturation, limits=(SATURATION_LIMITS[0], 1.0))
    else:
        density = optical_density(smooth)  # (height, width, 3)
        mean_density = density.mean(axis=2)
        ink = ink_mask(density, saturation=saturation, mpp=mpp)
        mask = saturation > otsu_within(saturation, limits=SATURATION_LIMITS)
        mask &= mean_density > otsu_within(mean_density, limits=DENSITY_LIMITS)
        mask &= ~ink
    filled = fill_small_holes(mask, max_hole_px=max_hole_um2 / mpp**2)
    return TissueMap(tissue=drop_small(filled, min_object_px=min_object_um2 / mpp**2), ink=ink)


def saturation_of(rgb: NDArray[np.floating]) -> NDArray[np.float32]:
    """HSV saturation (max - min) / max of RGB values 0 to 255, in 0 to 1; black has saturation 0."""
    highest = rgb.max(axis=2)
    spread = highest - rgb.min(axis=2)
    return np.asarray(np.divide(spread, highest, out=np.zeros_like(spread), where=highest > 0), dtype=np.float32)


def optical_density(rgb: NDArray[np.floating]) -> NDArray[np.float32]:
    """-log10((value + 1) / 256) of RGB values 0 to 255: 0 for white, 2.41 for black."""
    return np.asarray(-np.log10((rgb + 1.0) / 256.0), dtype=np.float32)


def otsu_within(values: NDArray[np.floating], *, limits: tuple[float, float]) -> float:
    """Otsu's threshold, held within `limits`; the lower limit where all values are equal."""
    lower, upper = limits
    if values.min() == values.max():
        return lower
    return float(np.clip(threshold_otsu(values), lower, upper))  # type: ignore[no-untyped-call]


def fill_small_holes(mask: NDArray[np.bool_], *, max_hole_px: float) -> NDArray[np.bool_]:
    """Fill 4-connected holes of fewer than `max_hole_px` pixels that do not touch the border of the image."""
    holes, sizes = _pieces(~mask, connectivity=1)
    small = sizes < max_hole_px
    at_border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    small[at_border] = False
    small[0] = False  # label 0 is the tissue itself
    return np.asarray(mask | small[holes])


def drop_small(mask: NDArray[np.bool_], *, min_object_px: float) -> NDArray[np.bool_]:
    """Drop 8-connected pieces of fewer than `min_object_px` pixels."""
    pieces, sizes = _pieces(mask, connectivity=2)
    large = sizes >= min_object_px
    large[0] = False  # label 0 is the background
    return np.asarray(large[pieces])


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask that touch, by an edge, a pixel outside of it; the image's border counts as outside."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


def _pieces(mask: NDArray[np.bool_], *, connectivity: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels = label(mask, connectivity=connectivity)  # type: ignore[no-untyped-call]  # (height, width), 0 outside the mask
    return labels, np.bincount(labels.ravel(), minlength=1)
