"""Tiles in order, whatever the threads do, and memory that does not grow with their number."""

import threading

import numpy as np
import pytest

from tests.slides import damage, write_slide
from tta_pipeline.errors import SlideError
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.io.tile_stream import stream_tiles

SIZE_PX = 16


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, size=(256, 384, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory, pixels):
    return write_slide(tmp_path_factory.mktemp("slides") / "s1.svs", pixels)


@pytest.fixture(scope="module")
def coords():
    return np.random.default_rng(1).integers(0, 256 - SIZE_PX, size=(53, 2)).astype(np.int32)


def stream(slide, coords, *, batch_size=8, threads=3):
    return stream_tiles(
        slide, coords, edge_level0_px=float(SIZE_PX), tile_size_px=SIZE_PX, batch_size=batch_size, threads=threads
    )


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (8, 3), (53, 2), (100, 2)])
def test_gives_the_pixels_at_the_coordinates_in_their_order(path, pixels, coords, batch_size, threads):
    with open_slide(path, slide_id="s1", mpp=None) as slide:
        batches = list(stream(slide, coords, batch_size=batch_size, threads=threads))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    expected = np.stack([pixels[y : y + SIZE_PX, x : x + SIZE_PX] for x, y in coords])
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_no_tiles_no_batches(path):
    with open_slide(path, slide_id="s1", mpp=None) as slide:
        assert list(stream(slide, np.empty((0, 2), dtype=np.int32))) == []


def test_reads_at_most_two_batches_ahead(path, coords, monkeypatch):
    started = []
    read = Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, **box: (started.append(1), read(self, **box))[1])
    with open_slide(path, slide_id="s1", mpp=None) as slide:
        for position, _ in enumerate(stream(slide, coords, batch_size=4), start=1):
            assert len(started) <= 4 * position + 8


def test_a_reader_that_stops_early_leaves_no_threads(path, coords):
    with open_slide(path, slide_id="s1", mpp=None) as slide:
        tiles = stream(slide, coords)
        next(tiles)
        tiles.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tiles")]


def test_a_tile_is_averaged_over_its_area(tmp_path):
    """A chequerboard of single pixels becomes grey where it is reduced; sampling would keep black and white."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    slide_path = write_slide(tmp_path / "board.svs", np.repeat(board[:, :, None], 3, axis=2))
    with open_slide(slide_path, slide_id="s1", mpp=None) as slide:
        (tile,) = stream_tiles(
            slide, np.array([[0, 0]], dtype=np.int32), edge_level0_px=202.6, tile_size_px=64, batch_size=1, threads=1
        )
    assert np.abs(tile.astype(float) - 127.5).max() < 12


def test_damaged_pixels_stop_the_stream(tmp_path, path):
    coords = np.array([[0, 0], [270, 10]], dtype=np.int32)
    message = "s1: expected readable pixels at x"
    with (
        open_slide(damage(path, tmp_path / "damaged.svs"), slide_id="s1", mpp=None) as slide,
        pytest.raises(SlideError, match=message),
    ):
        list(stream(slide, coords))
