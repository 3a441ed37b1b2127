"""The variance of the Laplacian: what it is on pictures that can be computed by hand, and on tissue out of focus."""

import numpy as np
import pytest
from scipy import ndimage

from tta_pipeline.io.slide import open_slide
from tta_pipeline.numerics.focus import laplacian_variance


def grey(values):
    return np.repeat(np.asarray(values, dtype=np.uint8)[:, :, None], 3, axis=2)


def test_nothing_to_see_is_zero():
    assert laplacian_variance(grey(np.full((20, 20), 77))) == pytest.approx(0, abs=1e-6)


def test_one_bright_pixel():
    """The Laplacian is -4a at the pixel and a at its four neighbours: a mean of 0 and a mean square of 20 a^2 / n."""
    picture = np.zeros((32, 32))
    picture[10, 12] = 200
    assert laplacian_variance(grey(picture)) == pytest.approx(20 * 200**2 / 32**2, rel=1e-5)


def test_a_ramp_is_no_edge():
    assert laplacian_variance(grey(np.tile(np.arange(40), (40, 1)))[:, 1:-1]) < 0.1


@pytest.mark.real
@pytest.mark.parametrize(("name", "mpp"), [("cmu-1-small-region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)])
def test_real_tissue_in_and_out_of_focus(real_data, name, mpp):
    """At 1 µm per pixel the default of tiles.min_focus, 50, parts tiles in focus from those out of focus by 2.5 µm."""
    with open_slide(real_data / "slides" / name, slide_id="s", mpp=mpp) as slide:
        picture = slide.thumbnail(downsample=1 / slide.mpp)
    rows, columns = (length // 128 for length in picture.shape[:2])
    blurred = ndimage.gaussian_filter(picture.astype(np.float32), sigma=(2.5, 2.5, 0)).round().astype(np.uint8)
    tissue = 0
    for row in range(rows):
        for column in range(columns):
            tile = np.s_[row * 128 : (row + 1) * 128, column * 128 : (column + 1) * 128]
            if picture[tile].std() < 25:  # glass
                continue
            tissue += 1
            assert laplacian_variance(picture[tile]) > 500
            assert laplacian_variance(blurred[tile]) < 50
    assert tissue > 15
