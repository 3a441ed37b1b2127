"""Tiles decoded directly, against OpenSlide: each level, partial edge tiles, missing and damaged tiles, reductions."""

import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from tests.slides import damage
from tta_pipeline.errors import SlideError
from tta_pipeline.io.compressed_tiles import CompressedTiles, TileDecodeError, _OnceCache, find_levels
from tta_pipeline.io.slide import open_slide

WIDTH, HEIGHT, TILE = 300, 212, 64  # no multiples of the tile: the last column and row are partial


@pytest.fixture(scope="module")
def pixels():
    """Smooth colours with fine grain, as of tissue."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(HEIGHT // 8 + 2, WIDTH // 8 + 2, 3)).repeat(8, axis=0).repeat(8, axis=1)
    for axis in (0, 1):
        for _ in range(3):
            coarse = (coarse + np.roll(coarse, 3, axis=axis)) / 2
    grain = rng.normal(0, 4, size=(HEIGHT, WIDTH, 3))
    return np.clip(np.array([180, 130, 170]) + 20 * coarse[:HEIGHT, :WIDTH] + grain, 0, 255).astype(np.uint8)


def write(path: Path, pixels, *, vendor="aperio", levels=1, **page) -> Path:
    height, width = pixels.shape[:2]
    description = f"Aperio Image Library v11.0.0\r\n{width}x{height} (64x64)|MPP = 0.25" if vendor == "aperio" else None
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            file.write(
                pixels[:: 4**level, :: 4**level],
                tile=(TILE, TILE),
                metadata=None,
                description=description,
                subfiletype=1 if level and vendor != "aperio" else 0,
                **page,
            )
    return path


JPEGS = {
    "YCbCr": {"photometric": "rgb", "compression": "jpeg", "subsampling": (1, 1)},
    "YCbCr, colour halved": {"photometric": "rgb", "compression": "jpeg", "subsampling": (2, 2)},
    "RGB": {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"outcolorspace": "RGB"}},
}


@pytest.mark.parametrize("vendor", ["aperio", "generic"])
@pytest.mark.parametrize("page", JPEGS.values(), ids=JPEGS)
def test_every_pixel_of_every_level_is_openslides(tmp_path, pixels, page, vendor):
    path = write(tmp_path / "s.svs", pixels, vendor=vendor, levels=2, **page)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == (2 if "compressionargs" in page else 6)
    judge = openslide.OpenSlide(path)
    assert judge.level_count == 2
    tiles = CompressedTiles(path, find_levels(path, dimensions=judge.level_dimensions), cache_bytes=1 << 20)
    for level, (width, height) in enumerate(judge.level_dimensions):
        assert tiles.levels[level] is not None
        found = tiles.read(level, reduction=1, left=0, top=0, width=width, height=height)
        expected = np.asarray(judge.read_region((0, 0), level, (width, height)).convert("RGB"))
        np.testing.assert_array_equal(found, expected)
    tiles.close()


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduced_tile_is_the_mean_of_its_pixels(tmp_path, pixels, reduction):
    """libjpeg drops the high frequencies of each 8 x 8 block, which differs a little from the mean over its pixels."""
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    tiles = CompressedTiles(path, find_levels(path, dimensions=[(WIDTH, HEIGHT)]), cache_bytes=1 << 20)
    whole = tiles.read(0, reduction=1, left=0, top=0, width=256, height=192).astype(float)
    shape = (192 // reduction, reduction, 256 // reduction, reduction, 3)
    found = tiles.read(0, reduction=reduction, left=0, top=0, width=256 // reduction, height=192 // reduction)
    difference = np.abs(found - whole.reshape(shape).mean(axis=(1, 3)))
    assert difference.mean() < 1
    assert np.percentile(difference, 99) < 5


def test_beyond_the_border_the_last_pixels_are_repeated(tmp_path, pixels):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    tiles = CompressedTiles(path, find_levels(path, dimensions=[(WIDTH, HEIGHT)]), cache_bytes=1 << 20)
    inside = tiles.read(0, reduction=1, left=WIDTH - 20, top=HEIGHT - 20, width=20, height=20)
    found = tiles.read(0, reduction=1, left=WIDTH - 20, top=HEIGHT - 20, width=22, height=21)
    np.testing.assert_array_equal(found, np.pad(inside, ((0, 1), (0, 2), (0, 0)), mode="edge"))


def leave_out(path: Path, *, tile: int) -> None:
    """Set offset and size of a tile to 0, as scanners do for what they did not scan."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = file.pages[0].tags[name]
            width = {3: 2, 4: 4, 16: 8}[tag.dtype]
            start = tag.valueoffset + tile * width
            content[start : start + width] = struct.pack(f"<{'HIQ'[{2: 0, 4: 1, 8: 2}[width]]}", 0)
    path.write_bytes(content)


def test_a_tile_that_was_not_scanned_is_background_as_in_openslide(tmp_path, pixels):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    leave_out(path, tile=6)  # second row, second column
    square = {"left_level0": 40, "top_level0": 40, "edge_level0": 64.0, "edge_px": 64}
    found = []
    for reader in ("auto", "openslide"):
        with open_slide(path, slide_id="s", mpp=None, reader=reader) as slide:
            found.append(slide.read_square(**square)[0])
    np.testing.assert_array_equal(*found)
    assert (found[0][30:60, 30:60] == 255).all()
    assert (found[0][:20, :20] < 255).any()


@pytest.mark.parametrize("page", JPEGS.values(), ids=JPEGS)
def test_a_damaged_tile_is_an_error_and_its_neighbours_are_not(tmp_path, pixels, page):
    path = damage(write(tmp_path / "s.svs", pixels, **page), tmp_path / "d.svs", tile=6)
    with open_slide(path, slide_id="s", mpp=None) as slide:
        with pytest.raises(
            SlideError, match=r"s: expected readable pixels at x 64, y 64 .*compressed tile 6 of level 0"
        ):
            slide.read_square(left_level0=64, top_level0=64, edge_level0=64.0, edge_px=64)
        slide.read_square(left_level0=0, top_level0=0, edge_level0=64.0, edge_px=64)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_tile_that_is_cut_off(tmp_path, pixels, part):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[0].dataoffsets[6], file.pages[0].databytecounts[6]
    content = bytearray(path.read_bytes())
    content[start + int(part * size) : start + size] = bytes(size - int(part * size))
    path.write_bytes(content)
    tiles = CompressedTiles(path, find_levels(path, dimensions=[(WIDTH, HEIGHT)]), cache_bytes=1 << 20)
    with pytest.raises(TileDecodeError, match="compressed tile 6 of level 0"):
        tiles.read(0, reduction=2, left=32, top=32, width=32, height=32)


def test_the_cache_keeps_its_size_with_many_threads():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        cache = _OnceCache(3 * 300)
        with ThreadPoolExecutor(8) as pool:
            futures = [
                pool.submit(cache.get, (0, number % 7, 1), lambda: np.zeros((10, 10, 3), dtype=np.uint8))
                for number in range(4000)
            ]
            assert all(future.result().shape == (10, 10, 3) for future in futures)
    finally:
        sys.setswitchinterval(interval)
    assert len(cache._values) <= 3
    assert cache._free_bytes == 3 * 300 - 300 * len(cache._values)


@pytest.mark.real
@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
def test_a_jpeg_2000_tile_that_is_cut_off(tmp_path, real_data, part):
    """As an interrupted download leaves it: the rest of the file is there, but zero."""
    path = tmp_path / "s.svs"
    content = bytearray((real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs").read_bytes())
    with tifffile.TiffFile(real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs") as file:
        page = file.pages[0]
        columns = -(-page.imagewidth // page.tilewidth)
        number, edge = 3 * columns + 4, page.tilewidth
        start, size = page.dataoffsets[number], page.databytecounts[number]
    content[start + int(part * size) : start + size] = bytes(size - int(part * size))
    path.write_bytes(content)
    with open_slide(path, slide_id="s", mpp=0.25) as slide, pytest.raises(SlideError, match="cut off"):
        slide.read_square(left_level0=4 * edge, top_level0=3 * edge, edge_level0=float(edge), edge_px=edge)


@pytest.mark.real
def test_a_lost_block_within_a_jpeg_2000_tile(tmp_path, real_data):
    source = real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    with tifffile.TiffFile(source) as file:
        start, size = file.pages[0].dataoffsets[60], file.pages[0].databytecounts[60]
    content = bytearray(source.read_bytes())
    content[start + size // 2 : start + size // 2 + 512] = bytes(512)
    (tmp_path / "s.svs").write_bytes(content)
    with open_slide(tmp_path / "s.svs", slide_id="s", mpp=0.25) as slide:
        (level, *_) = slide._tiles.levels
        columns = -(-level.width // level.tile_width)
        corner = {"left_level0": 60 % columns * level.tile_width, "top_level0": 60 // columns * level.tile_height}
        with pytest.raises(SlideError, match="256 zero bytes in a row"):
            slide.read_square(**corner, edge_level0=200.0, edge_px=200)


def test_what_the_disk_does_is_said_of_the_slide(tmp_path, pixels, monkeypatch):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])

    def broken(*place):
        raise OSError(5, "Input/output error")

    with open_slide(path, slide_id="s", mpp=None) as slide:
        monkeypatch.setattr("tta_pipeline.io.compressed_tiles.os.pread", broken)
        with pytest.raises(SlideError, match=r"s: expected readable pixels .*Input/output error"):
            slide.read_square(left_level0=0, top_level0=0, edge_level0=64.0, edge_px=64)


def test_a_header_that_names_gigabytes_is_not_believed(tmp_path, pixels):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    (level,) = find_levels(path, dimensions=[(WIDTH, HEIGHT)])
    level.sizes[6] = 3 << 30
    with pytest.raises(TileDecodeError, match="at most 49152 bytes expected, the header names 3221225472"):
        CompressedTiles(path, [level], cache_bytes=1).read(0, reduction=1, left=64, top=64, width=64, height=64)


def test_of_two_pages_of_one_size_openslide_chooses(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for colour in ((200, 30, 30), (30, 30, 200)):
            page = np.full((HEIGHT, WIDTH, 3), colour, dtype=np.uint8)
            file.write(page, tile=(TILE, TILE), photometric="rgb", compression="jpeg", metadata=None)
    with open_slide(tmp_path / "s.tif", slide_id="s", mpp=0.5) as slide:
        pixels, _ = slide.read_square(left_level0=0, top_level0=0, edge_level0=64.0, edge_px=64)
    assert np.abs(pixels[0, 0].astype(int) - (200, 30, 30)).max() < 5


@pytest.mark.parametrize(
    "page", [{"photometric": "rgb", "compression": "zlib"}, {"photometric": "minisblack", "compression": "jpeg"}]
)
def test_other_layouts_are_left_to_openslide(tmp_path, pixels, page):
    image = pixels if page["photometric"] == "rgb" else pixels[:, :, 0]
    path = tmp_path / "s.tiff"
    tifffile.imwrite(path, image, tile=(TILE, TILE), metadata=None, **page)
    assert find_levels(path, dimensions=[(WIDTH, HEIGHT)]) == [None]


def test_no_tiff_has_no_levels(tmp_path):
    path = tmp_path / "s.svs"
    path.write_text("not a slide")
    assert find_levels(path, dimensions=[(10, 10)]) == [None]


def test_decodes_each_tile_once_and_keeps_no_more_than_it_may(tmp_path, pixels, monkeypatch):
    path = write(tmp_path / "s.svs", pixels, **JPEGS["YCbCr"])
    decoded = []
    decode = "tta_pipeline.io.compressed_tiles._decode"
    original = __import__("tta_pipeline.io.compressed_tiles", fromlist=["_decode"])._decode
    monkeypatch.setattr(decode, lambda data, **options: decoded.append(1) or original(data, **options))
    levels = find_levels(path, dimensions=[(WIDTH, HEIGHT)])
    box = {"reduction": 1, "left": 0, "top": 0, "width": 128, "height": 128}
    roomy = CompressedTiles(path, levels, cache_bytes=1 << 20)
    tight = CompressedTiles(path, levels, cache_bytes=TILE * TILE * 3)
    for tiles, count in ((roomy, 4), (tight, 8)):
        decoded.clear()
        first = tiles.read(0, **box)
        np.testing.assert_array_equal(tiles.read(0, **box), first)
        assert len(decoded) == count


@pytest.mark.real
@pytest.mark.parametrize(("name", "mpp"), [("cmu-1-small-region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)])
def test_real_slides_have_openslides_pixels(real_data, name, mpp):
    path = real_data / "slides" / name
    with (
        open_slide(path, slide_id="s", mpp=mpp) as direct,
        open_slide(path, slide_id="s", mpp=mpp, reader="openslide") as judge,
    ):
        for corner in ((0, 0), (1000, 700), (direct.width_level0 - 256, direct.height_level0 - 256)):
            square = {"left_level0": corner[0], "top_level0": corner[1], "edge_level0": 256.0, "edge_px": 256}
            found, expected = direct.read_square(**square)[0], judge.read_square(**square)[0]
            np.testing.assert_array_equal(found, expected)
