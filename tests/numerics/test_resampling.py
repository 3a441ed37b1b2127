"""Resampling: exact where nothing changes, exact in place and scale elsewhere, and free of aliasing."""

import math

import numpy as np
import pytest
from PIL import Image

from tta_pipeline.numerics.resampling import resample


def resampled(pixels, *, factor, size):
    out = np.empty((size, size, 3), dtype=np.uint8)
    resample(pixels, factor=factor, out=out)
    return out


def needed(factor, size):
    return math.ceil(factor * size + 0.5)


def test_factor_one_is_a_copy():
    pixels = np.random.default_rng(0).integers(0, 256, size=(40, 41, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resampled(pixels, factor=1.0, size=40), pixels[:40, :40])


@pytest.mark.parametrize("factor", [0.7, 0.985, 0.995, 1.003, 1.0157, 1.5, 2.031, 3.9])
def test_a_ramp_is_measured_at_the_centres_of_the_pixels(factor):
    """Pixel i covers i * factor to (i + 1) * factor, so a ramp of x has there the value (i + 0.5) * factor - 0.5."""
    size = 48
    length = needed(factor, size)
    ramp = np.broadcast_to(np.arange(length, dtype=np.uint8)[None, :, None], (length, length, 3)).copy()
    found = resampled(ramp, factor=factor, size=size)[size // 2, 4:-4, 0].astype(float)
    expected = (np.arange(size) + 0.5)[4:-4] * factor - 0.5
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize(("factor", "bound"), [(2.0, 3), (2.5, 3), (4.0, 3)])
def test_detail_finer_than_a_pixel_becomes_its_mean(factor, bound):
    length = needed(factor, 32)
    board = (np.indices((length, length)).sum(axis=0) % 2 * 200).astype(np.uint8)
    found = resampled(np.repeat(board[:, :, None], 3, axis=2), factor=factor, size=32)[2:-2, 2:-2].astype(float)
    assert np.abs(found - 100).max() <= bound


def test_agrees_with_pillows_bicubic():
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).resize((131, 131))).copy()
    found = resampled(smooth, factor=2.0, size=64)
    expected = np.asarray(Image.fromarray(smooth).resize((64, 64), Image.Resampling.BICUBIC, box=(0, 0, 128, 128)))
    assert np.abs(found[2:-2, 2:-2].astype(int) - expected[2:-2, 2:-2]).max() <= 1


@pytest.mark.parametrize(("factor", "shape"), [(1.0, (39, 40, 3)), (1.5, (59, 60, 3))])
def test_a_region_that_is_too_small(factor, shape):
    with pytest.raises(ValueError, match="expected at least"):
        resampled(np.zeros(shape, dtype=np.uint8), factor=factor, size=40)
