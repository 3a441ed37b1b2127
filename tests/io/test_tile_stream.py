"""Tiles of many slides in order, whatever the threads do, and memory that does not grow with their number."""

import threading

import numpy as np
import pytest

from tests.slides import damage, write_slide
from tta_pipeline.errors import ArtifactError
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.io.tile_stream import Request, stream_tiles
from tta_pipeline.numerics.resampling import resample

SIZE_PX = 16


@pytest.fixture(scope="module")
def pixels():
    return [np.random.default_rng(seed).integers(0, 256, size=(256, 384, 3), dtype=np.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory, pixels):
    folder = tmp_path_factory.mktemp("slides")
    return [write_slide(folder / f"s{number}.svs", image) for number, image in enumerate(pixels)]


@pytest.fixture(scope="module")
def coords():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256 - SIZE_PX, size=(count, 2)).astype(np.int32) for count in (53, 5, 21)]


def requests(paths, coords, *, edge=float(SIZE_PX)):
    return [
        Request(
            slide_id=path.stem,
            open=lambda path=path: open_slide(path, slide_id=path.stem, mpp=None),
            coords=corners,
            edge_level0_px=edge,
        )
        for path, corners in zip(paths, coords, strict=True)
    ]


def stream(wanted, *, batch_size=8, threads=3, size_px=SIZE_PX):
    return stream_tiles(
        wanted,
        batch_size=batch_size,
        threads=threads,
        allocate=lambda n: np.empty((n, size_px, size_px, 3), dtype=np.uint8),
        resample=resample,
    )


def by_slide(batches):
    found = {}
    for batch in batches:
        for part in batch.parts:
            found.setdefault(part.slide.request.slide_id, []).append(batch.pixels[part.rows])
    return {slide_id: np.concatenate(parts) for slide_id, parts in found.items()}


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (8, 3), (53, 2), (100, 2)])
def test_gives_the_pixels_at_the_coordinates_in_their_order(paths, pixels, coords, batch_size, threads):
    batches = list(stream(requests(paths, coords), batch_size=batch_size, threads=threads))
    assert [len(batch.pixels) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1), "batches span slides"
    found = by_slide(batches)
    assert list(found) == ["s0", "s1", "s2"]
    for number, image in enumerate(pixels):
        expected = np.stack([image[y : y + SIZE_PX, x : x + SIZE_PX] for x, y in coords[number]])
        np.testing.assert_array_equal(found[f"s{number}"], expected)


def test_no_slides_no_batches():
    assert list(stream([])) == []


def test_reads_at_most_two_batches_ahead_and_opens_slides_when_their_turn_comes(paths, coords, monkeypatch):
    started, opened = [], []
    read = Slide.read_square
    monkeypatch.setattr(Slide, "read_square", lambda self, **box: (started.append(1), read(self, **box))[1])
    wanted = requests(paths, coords)
    for position, _ in enumerate(stream((opened.append(1) or request for request in wanted), batch_size=4), start=1):
        assert len(started) <= 4 * position + 8
        assert len(opened) <= 1 + sum(np.cumsum([53, 5, 21]) < 4 * position + 8)


def test_a_slide_is_closed_when_its_last_tile_has_come(paths, coords):
    closed = []

    class Watched:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            self.slide = open_slide(self.path, slide_id=self.path.stem, mpp=None)
            return self.slide.__enter__()

        def __exit__(self, *error):
            closed.append(self.path.stem)
            return self.slide.__exit__(*error)

    wanted = [
        Request(
            slide_id=request.slide_id, open=lambda path=path: Watched(path), coords=request.coords, edge_level0_px=16.0
        )
        for path, request in zip(paths, requests(paths, coords), strict=True)
    ]
    seen = 0
    for batch in stream(wanted, batch_size=10):
        seen += len(batch.pixels)
        assert closed == [name for name, last in (("s0", 53), ("s1", 58), ("s2", 79)) if last <= seen]
    assert closed == ["s0", "s1", "s2"]


def test_few_slides_are_open_at_once_however_small_they_are(paths):
    """As many slides as files may be open in a process would be too many."""
    open_now, most = [], []

    class Counted:
        def __enter__(self):
            open_now.append(1)
            most.append(len(open_now))
            self.slide = open_slide(paths[0], slide_id="s0", mpp=None)
            return self.slide.__enter__()

        def __exit__(self, *error):
            open_now.pop()
            return self.slide.__exit__(*error)

    one = np.zeros((1, 2), dtype=np.int32)
    wanted = [Request(slide_id=f"s{number}", open=Counted, coords=one, edge_level0_px=16.0) for number in range(60)]
    assert sum(len(batch.pixels) for batch in stream(wanted, batch_size=64)) == 60
    assert max(most) <= 20
    assert not open_now


def test_a_reader_that_stops_early_leaves_no_threads(paths, coords):
    tiles = stream(requests(paths, coords))
    next(tiles)
    tiles.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tiles")]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_slide_that_is_damaged_or_not_there_does_not_stop_the_others(tmp_path, paths, pixels, coords, threads):
    corners = np.array([[0, 0], [270, 10]], dtype=np.int32)
    wanted = requests(
        [paths[0], damage(paths[0], tmp_path / "damaged.svs"), tmp_path / "gone.svs", paths[2]],
        [coords[0], corners, corners, coords[2]],
    )
    batches = list(stream(wanted, threads=threads))
    errors = {part.slide.request.slide_id: part.slide.error for batch in batches for part in batch.parts}
    assert errors["s0"] is None
    assert errors["s2"] is None
    assert str(errors["damaged"]).startswith("damaged: expected readable pixels at x ")
    assert str(errors["gone"]).startswith("gone: expected a slide at")
    expected = np.stack([pixels[2][y : y + SIZE_PX, x : x + SIZE_PX] for x, y in coords[2]])
    np.testing.assert_array_equal(by_slide(batches)["s2"], expected)


def test_a_failed_slide_is_not_read_to_its_end(tmp_path):
    corners = np.zeros((1000, 2), dtype=np.int32)
    batches = list(stream(requests([tmp_path / "gone.svs"], [corners]), batch_size=4))
    assert len(batches) <= 4


def test_other_errors_are_not_the_slides_fault(paths, coords):
    def refuse():
        raise ArtifactError("of another slide")

    wanted = [Request(slide_id="s0", open=refuse, coords=coords[0], edge_level0_px=16.0)]
    with pytest.raises(ArtifactError, match="of another slide"):
        list(stream(wanted))


def test_a_tile_is_averaged_over_its_area(tmp_path):
    """A chequerboard of single pixels becomes grey where it is reduced; sampling would keep black and white."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = write_slide(tmp_path / "board.svs", np.repeat(board[:, :, None], 3, axis=2))
    (batch,) = stream(requests([path], [np.array([[0, 0]], dtype=np.int32)], edge=202.6), size_px=64)
    assert np.abs(batch.pixels.astype(float) - 127.5).max() < 12
