"""The grid: exact places, no drift, and areas against a sum over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_pipeline.numerics.grid import (
    axis_positions,
    grid_coords,
    hilbert_order,
    reading_step_px,
    sample_evenly,
    tile_edge_level0_px,
    tissue_fraction,
)

PIXELS = st.floats(20, 700)


def test_a_tile_covers_the_same_micrometres_on_every_slide():
    for mpp_level0 in (0.25, 0.2527, 0.499):
        assert tile_edge_level0_px(tile_size_px=256, mpp=0.5, mpp_level0=mpp_level0) * mpp_level0 == pytest.approx(128)


@given(length=st.integers(1, 100_000), edge=PIXELS, stride=PIXELS)
def test_positions_stay_within_half_a_pixel_and_inside_the_slide(length, edge, stride):
    starts = axis_positions(length_px=length, edge_px=edge, stride_px=stride)
    assert np.abs(starts - np.arange(len(starts)) * stride).max(initial=0) <= 0.5
    assert (starts + edge <= length + 1e-6).all()
    following = len(starts) * stride
    assert following + 0.5 + edge > length, "one more tile would have fitted"


def test_a_non_integer_stride_does_not_drift():
    starts = axis_positions(length_px=100_000, edge_px=506.53, stride_px=506.53)
    assert starts[150] == round(150 * 506.53)
    assert len(starts) == 197


@pytest.mark.parametrize(("edge", "stride"), [(0.0, 5.0), (5.0, 0.0), (5.0, -1.0)])
def test_refuses_a_grid_that_does_not_advance(edge, stride):
    with pytest.raises(ValueError, match="edge and stride above 0"):
        axis_positions(length_px=10, edge_px=edge, stride_px=stride)


def test_coords_run_row_by_row_as_x_and_y():
    coords = grid_coords(size_px=(30, 25), edge_px=10.0, stride_px=10.0)
    assert coords.tolist() == [[0, 0], [10, 0], [20, 0], [0, 10], [10, 10], [20, 10]]
    assert coords.dtype == np.int32


def test_a_slide_smaller_than_a_tile_has_none():
    assert grid_coords(size_px=(9, 100), edge_px=10.0, stride_px=10.0).shape == (0, 2)


@given(downsample=st.sampled_from([1.0, 2.5, 31.66]), edge=st.floats(5, 90), seed=st.integers(0, 99))
def test_fraction_is_the_area_under_the_tile(downsample, edge, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 17)) < 0.5
    size = np.array([17, 12]) * downsample
    edge = min(edge, size.min())
    coords = np.floor(rng.random((6, 2)) * (size - edge)).astype(np.int32)
    found = tissue_fraction(mask, coords, edge_px=edge, downsample=downsample)
    for (x, y), fraction in zip(coords, found, strict=True):
        covered = [covers(start, edge, count, downsample) for start, count in ((y, 12), (x, 17))]
        assert fraction == pytest.approx(covered[0] @ mask @ covered[1] / edge**2, abs=1e-9)


def covers(start, edge, count, downsample):
    """Length of each mask pixel that lies under the tile, along one axis."""
    left = np.arange(count) * downsample
    return np.clip(np.minimum(left + downsample, start + edge) - np.maximum(left, start), 0, None)


def test_a_full_and_an_empty_mask():
    coords = grid_coords(size_px=(1000, 900), edge_px=97.3, stride_px=97.3)
    for value in (0.0, 1.0):
        mask = np.full((29, 32), bool(value))
        np.testing.assert_allclose(tissue_fraction(mask, coords, edge_px=97.3, downsample=31.66), value, atol=1e-12)


def tissue_coords():
    """Two pieces of tissue, one three times as large as the other, on the grid of 512 px."""
    large = grid_coords(size_px=(30 * 512, 30 * 512), edge_px=512, stride_px=512)
    small = grid_coords(size_px=(15 * 512, 20 * 512), edge_px=512, stride_px=512) + np.array([60 * 512, 50 * 512])
    return np.concatenate([large, small]).astype(np.int32)


def test_a_sample_is_ascending_of_the_wanted_size_and_repeats_with_its_seed():
    coords = tissue_coords()
    rows = sample_evenly(coords, largest=10, seed=3)
    assert len(np.unique(rows)) == 10
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sample_evenly(coords, largest=10, seed=3))
    assert not np.array_equal(rows, sample_evenly(coords, largest=10, seed=4))
    for largest in (None, 5, 9):
        assert sample_evenly(coords[:5], largest=largest, seed=0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("factor", "step"), [(0.95, 1), (1.0, 1), (1.98, 2), (2.03, 2), (3.9, 2), (4.06, 4), (9.0, 8)])
def test_corners_are_multiples_of_what_is_read(factor, step):
    assert reading_step_px(factor) == step
    starts = axis_positions(length_px=50_000, edge_px=256 * factor, stride_px=256 * factor, step_px=step)
    assert (starts % step == 0).all()
    assert np.abs(starts - np.arange(len(starts)) * 256 * factor).max() <= step / 2


def test_a_hilbert_curve_visits_every_cell_and_steps_to_a_neighbour():
    cells = grid_coords(size_px=(32, 32), edge_px=1, stride_px=1)
    order = hilbert_order(cells)
    assert sorted(order) == list(range(32 * 32))
    steps = np.abs(np.diff(cells[np.argsort(order)], axis=0)).sum(axis=1)
    assert (steps == 1).all()


def test_a_sample_is_even_over_the_tissue():
    """Each piece gives tiles by its area, and no tile is far from a drawn one; a plain draw leaves larger gaps."""
    coords = tissue_coords()
    gaps, plain_gaps = [], []
    for seed in range(20):
        rows = sample_evenly(coords, largest=48, seed=seed)
        assert 35 <= (coords[rows, 0] < 30 * 512).sum() <= 37  # 900 of 1,200 tiles
        drawn = coords[rows].astype(float)
        plain = coords[np.random.default_rng(seed).choice(len(coords), 48, replace=False)].astype(float)
        for found, into in ((drawn, gaps), (plain, plain_gaps)):
            distance = np.linalg.norm(coords[:, None] - found[None], axis=2).min(axis=1)
            into.append(distance.max() / 512)
    assert max(gaps) < np.mean(plain_gaps)


def test_every_tile_has_the_same_chance():
    coords = tissue_coords()[:100]
    drawn = np.concatenate([sample_evenly(coords, largest=25, seed=seed) for seed in range(2000)])
    share = np.bincount(drawn, minlength=100) / 2000
    np.testing.assert_allclose(share, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 2000))
