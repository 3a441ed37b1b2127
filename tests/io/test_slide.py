"""Slides: exact pixels, micrometres per pixel and their source, and errors that name the slide."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.slides import TILE_PX, damage, glass, with_tissue, write_slide
from tta_pipeline.errors import SlideError
from tta_pipeline.io import slide as slide_module
from tta_pipeline.io.resolution import resolve_mpp
from tta_pipeline.io.slide import open_slide
from tta_pipeline.numerics.grid import reading_step_px
from tta_pipeline.numerics.resampling import resample

BOX = Image.Resampling.BOX


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, size=(256, 384, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory, pixels):
    return write_slide(tmp_path_factory.mktemp("slides") / "s1.svs", pixels, levels=2)


def opened(path, *, mpp=None):
    return open_slide(path, slide_id="s1", mpp=mpp)


def test_size_and_resolution_come_from_the_header(path):
    with opened(path) as slide:
        assert (slide.width_level0, slide.height_level0, slide.mpp, slide.mpp_source) == (
            384,
            256,
            0.5,
            "openslide.mpp-x",
        )


def test_a_box_at_full_resolution_is_the_pixels_themselves(path, pixels):
    with opened(path) as slide:
        box = slide.read(left_level0=33, top_level0=50, size_level0=(70, 40), size_px=(70, 40), resampling=BOX)
    np.testing.assert_array_equal(box, pixels[50:90, 33:103])


def test_a_box_is_read_from_the_nearest_finer_level(path, pixels):
    with opened(path) as slide:
        half = slide.read(left_level0=40, top_level0=24, size_level0=(64, 64), size_px=(32, 32), resampling=BOX)
        quarter = slide.read(left_level0=40, top_level0=24, size_level0=(64, 64), size_px=(16, 16), resampling=BOX)
    for factor, found in ((2, half), (4, quarter)):
        size = 64 // factor
        mean = pixels[24:88, 40:104].reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
        assert np.abs(found - mean).max() <= 1


def test_a_box_may_cut_through_pixels(path, pixels):
    """Mean over a box that ends within pixels, against the integral of the picture, constant within each pixel."""
    left, top, width, height = 10.25, 20.5, 30.6, 12.3
    with opened(path) as slide:
        found = slide.read(
            left_level0=left, top_level0=top, size_level0=(width, height), size_px=(1, 1), resampling=BOX
        )
    # Pillow's box filter counts the pixels whose centres lie inside, whole.
    x = np.arange(384) + 0.5
    y = np.arange(256) + 0.5
    inside = pixels[(top <= y) & (y < top + height)][:, (left <= x) & (x < left + width)]
    assert np.abs(found[0, 0] - inside.mean(axis=(0, 1))).max() <= 4


@pytest.mark.parametrize("block_px", [32, 2048])
@pytest.mark.parametrize("downsample", [1.0, 2.0, 4.0, 8.0])
def test_a_thumbnail_is_the_mean_and_does_not_depend_on_blocks(path, pixels, monkeypatch, downsample, block_px):
    monkeypatch.setattr(slide_module, "_BLOCK_PX", block_px)
    with opened(path) as slide:
        found = slide.thumbnail(downsample=downsample)
    factor = int(downsample)
    mean = pixels.reshape(256 // factor, factor, 384 // factor, factor, 3).mean(axis=(1, 3))
    assert found.shape == mean.shape
    assert np.abs(found - mean).max() <= 1.5, "rounded at most three times: level, rows, columns"


def test_a_thumbnail_places_things_where_they_are_at_any_downsample(tmp_path):
    picture = np.full((300, 500, 3), 255, dtype=np.uint8)
    picture[120:180, 200:260] = 0
    with opened(write_slide(tmp_path / "s.svs", picture)) as slide:
        found = 255.0 - slide.thumbnail(downsample=7.3)[:, :, 0]
    assert found.shape == (42, 69)
    rows, columns = (np.arange(length) + 0.5 for length in found.shape)
    assert found.sum(axis=1) @ rows / found.sum() * 7.3 == pytest.approx(150, abs=0.8)
    assert found.sum(axis=0) @ columns / found.sum() * 7.3 == pytest.approx(230, abs=0.8)
    assert found.sum() / 255 * 7.3**2 == pytest.approx(60 * 60, rel=0.03)


def test_what_lies_beyond_the_slide_is_white(path, pixels):
    with opened(path) as slide:
        box = slide.read(left_level0=380, top_level0=250, size_level0=(10, 10), size_px=(10, 10), resampling=BOX)
    np.testing.assert_array_equal(box[:6, :4], pixels[250:, 380:])
    assert (box[6:] == 255).all()
    assert (box[:, 4:] == 255).all()


def test_several_threads_read_the_same_pixels(path, pixels):
    with opened(path) as slide, ThreadPoolExecutor(4) as pool:
        boxes = pool.map(
            lambda i: slide.read(left_level0=i, top_level0=i, size_level0=(90, 90), size_px=(90, 90), resampling=BOX),
            range(100),
        )
        for i, box in enumerate(boxes):
            np.testing.assert_array_equal(box, pixels[i : i + 90, i : i + 90])


MPP_CASES = [
    (0.3, {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}, 0.3, "sheet"),
    (None, {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.502", "aperio.MPP": "1"}, 0.501, "openslide.mpp-x"),
    (float("nan"), {"aperio.MPP": "0.2527"}, 0.2527, "aperio.MPP"),
    (
        None,
        {"tiff.ResolutionUnit": "centimeter", "tiff.XResolution": "40000", "tiff.YResolution": "40100"},
        0.24969,
        "tiff.XResolution",
    ),
    (
        None,
        {"tiff.ResolutionUnit": "inch", "tiff.XResolution": "50800", "tiff.YResolution": "50800"},
        0.5,
        "tiff.XResolution",
    ),
]
DPI_72 = {"tiff.ResolutionUnit": "inch", "tiff.XResolution": "72", "tiff.YResolution": "72"}


@pytest.mark.parametrize(("given", "properties", "mpp", "source"), MPP_CASES)
def test_the_sheet_comes_before_the_header(tmp_path, given, properties, mpp, source):
    found = resolve_mpp(properties, given=given, slide_id="s1", path=tmp_path)
    assert found == (pytest.approx(mpp, rel=1e-5), source)


@pytest.mark.parametrize(
    ("given", "properties", "message"),
    [
        (
            None,
            {},
            r"s1: expected micrometres per pixel .*found none in the header of slide.svs. Give it in column mpp",
        ),
        (None, DPI_72, r"s1: expected micrometres per pixel .*found none in the header"),
        (None, {**DPI_72, "tiff.ResolutionUnit": "none"}, r"s1: expected micrometres per pixel .*found none"),
        (None, {"aperio.AppMag": "20"}, r"found only an objective power of 20 .*or set tiles.mpp_from_objective"),
        (None, {"aperio.MPP": "0,25"}, r"s1: expected a number in header field aperio.MPP, found '0,25'"),
        (None, {"aperio.MPP": "0"}, r"s1: expected 0.05 to 20.0 micrometres per pixel, found 0 x 0 in aperio.MPP"),
        (None, {"aperio.MPP": "nan"}, r"expected 0.05 to 20.0 micrometres per pixel, found nan"),
        (25.0, {}, r"expected 0.05 to 20.0 micrometres per pixel, found 25 x 25 in column mpp of the slides sheet"),
        (None, {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.51"}, r"expected square pixels, found 0.5 x 0.51"),
    ],
)
def test_resolution_that_cannot_be_used(tmp_path, monkeypatch, given, properties, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SlideError, match=message):
        resolve_mpp(properties, given=given, slide_id="s1", path=tmp_path.relative_to(tmp_path) / "slide.svs")


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"openslide.objective-power": "40", "aperio.AppMag": "40"}, (0.25, "openslide.objective-power")),
        ({"aperio.AppMag": "20"}, (0.5, "aperio.AppMag")),
        ({"aperio.AppMag": "20", "aperio.MPP": "0.4990"}, (0.499, "aperio.MPP")),
    ],
)
def test_objective_power_comes_last_and_where_it_is_allowed(tmp_path, properties, found):
    assert resolve_mpp(properties, given=None, slide_id="s1", path=tmp_path, from_objective=True) == found


@pytest.mark.parametrize("power", ["0", "-5", "forty"])
def test_an_objective_power_that_is_none(tmp_path, power):
    with pytest.raises(SlideError, match="s1: expected"):
        resolve_mpp({"aperio.AppMag": power}, given=None, slide_id="s1", path=tmp_path, from_objective=True)


def test_a_level_without_pixels(path, monkeypatch):
    monkeypatch.setattr(slide_module.openslide.OpenSlide, "level_dimensions", ((384, 256), (96, 0)))
    with pytest.raises(SlideError, match=r"s1: expected levels of at least one pixel, found .*\(96, 0\)"), opened(path):
        pass


@pytest.mark.parametrize("reader", ["auto", "openslide"])
@pytest.mark.parametrize("left_steps", [0, 1, 19])
@pytest.mark.parametrize(
    ("mpp", "target_mpp"),
    [(0.2462, 0.5), (0.252, 0.5), (0.5, 0.5), (0.2527, 0.5), (0.25, 1.0), (0.2462, 1.0), (0.25, 2.0)],
)
def test_a_ruler_measures_the_same_on_every_scanner(tmp_path, mpp, target_mpp, left_steps, reader):
    """Lines 64 µm apart stand where they are in a tile at any resolution, whatever that of the slide."""
    height, width, size_um = 640, 2200, 448
    columns_um = (np.arange(width) + 0.5) * mpp
    phase = columns_um % 64
    line = np.clip(1 - np.abs(np.minimum(phase, 64 - phase)) / 8, 0, 1)  # 16 µm wide, at 0, 64, 128, ... µm
    pixels = np.repeat(np.tile(255 - 200 * line, (height, 1))[:, :, None], 3, axis=2).astype(np.uint8)
    ruler = tmp_path / "ruler.svs"
    with tifffile.TiffWriter(ruler) as file:
        description = f"Aperio Image Library v11.0.0\r\n{width}x{height} (256x256)|MPP = {mpp}"
        page = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 95}}
        file.write(pixels, description=description, metadata=None, **page)
    size = round(size_um / target_mpp)
    edge, left = size * target_mpp / mpp, left_steps * reading_step_px(target_mpp / mpp)
    tile = np.empty((size, size, 3), dtype=np.uint8)
    with open_slide(ruler, slide_id="s1", mpp=None, reader=reader) as slide:
        square, factor = slide.read_square(left_level0=left, top_level0=0, edge_level0=edge, edge_px=size)
        resample(square, factor=factor, out=tile)
    darkness = 255.0 - tile[: int(0.5 * height / edge * size), :, 0].mean(axis=0)
    apart, start = 64 / target_mpp, left * mpp / target_mpp
    expected = np.array([apart * k - start for k in range(1, 9) if apart / 2 < apart * k - start < size - apart / 2])
    centres = []
    for at in expected:
        near = np.arange(round(at - apart / 4), round(at + apart / 4))
        centres.append(np.average(near + 0.5, weights=darkness[near] - darkness[near].min()))
    assert len(centres) >= 5
    np.testing.assert_allclose(centres, expected, atol=0.15)


def test_a_missing_slide(tmp_path):
    with (
        pytest.raises(SlideError, match=r"s1: expected a slide at .*none\.svs, found nothing"),
        opened(tmp_path / "none.svs"),
    ):
        pass


def test_no_slide(tmp_path):
    text = tmp_path / "s.svs"
    text.write_text("this is no slide")
    message = r"s1: expected a slide that OpenSlide reads, found .*s\.svs of 16 bytes"
    with pytest.raises(SlideError, match=message), opened(text):
        pass


@pytest.mark.parametrize("part", [0.3, 0.9, 0.98])
def test_a_slide_that_was_cut_off(tmp_path, path, part):
    content = path.read_bytes()
    cut = tmp_path / "cut.svs"
    cut.write_bytes(content[: int(part * len(content))])
    with pytest.raises(SlideError, match=r"s1: expected .*cut\.svs.*fetch it again"), opened(cut) as slide:
        slide.thumbnail(downsample=1.0)


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_damaged_pixels_are_an_error_and_never_white(tmp_path, pixels, compression):
    whole = write_slide(tmp_path / "whole.svs", pixels, compression=compression)
    message = r"s1: expected readable pixels at x .* of .*damaged\.svs, found: .*fetch it"
    with opened(damage(whole, tmp_path / "damaged.svs")) as slide, pytest.raises(SlideError, match=message):
        slide.thumbnail(downsample=1.0)


def test_after_a_damaged_tile_every_read_says_so(tmp_path, path):
    """OpenSlide answers nothing more after an error, and threads that read ahead are past it."""
    with opened(damage(path, tmp_path / "damaged.svs")) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match="expected readable pixels"):
                slide.thumbnail(downsample=1.0)


def test_a_missing_tile_of_the_scanner_has_the_background_colour(tmp_path):
    """Aperio leaves out tiles that were not scanned: OpenSlide gives them as transparent."""
    picture = with_tissue(glass(width=4 * TILE_PX, height=2 * TILE_PX), rows=slice(None), columns=slice(None))
    path = write_slide(tmp_path / "s.svs", picture)
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = list(file.pages[0].databytecounts)
        file.pages[0].tags["TileByteCounts"].overwrite([0, *counts[1:]])
    with opened(path) as slide:
        image = slide.thumbnail(downsample=1.0)
    assert (image[:TILE_PX, :TILE_PX] == 255).all()
    np.testing.assert_array_equal(image[:, TILE_PX:], picture[:, TILE_PX:])


@pytest.mark.real
def test_real_slides(real_data):
    with opened(real_data / "slides" / "cmu-1-small-region.svs") as slide:
        assert (slide.width_level0, slide.height_level0) == (2220, 2967)
        assert (slide.mpp, slide.mpp_source) == (0.499, "openslide.mpp-x")
        assert slide.thumbnail(downsample=16.0).shape == (186, 139, 3)
    without = real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    with pytest.raises(SlideError, match="expected micrometres per pixel"), opened(without):
        pass
    with opened(without, mpp=0.25) as slide:
        assert slide.mpp_source == "sheet"
        coarse, fine = slide.thumbnail(downsample=2.0).astype(float), slide.thumbnail(downsample=1.0).astype(float)
    halved = fine[:3566, :4442].reshape(1783, 2, 2221, 2, 3).mean(axis=(1, 3))
    inner = halved[900:1500, 500:1500]
    off_by = {
        (dy, dx): np.abs(inner - coarse[900 + dy : 1500 + dy, 500 + dx : 1500 + dx]).mean()
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    assert min(off_by, key=off_by.get) == (0, 0), "both levels of a slide show the same place"
