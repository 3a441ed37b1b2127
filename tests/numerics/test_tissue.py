"""The tissue mask: laws of its parts, then pictures whose tissue is known."""

import numpy as np
import pytest
from PIL import Image
from skimage.morphology import remove_small_holes, remove_small_objects

from tests.slides import glass, with_tissue
from tta_pipeline.numerics.tissue import (
    drop_small,
    fill_small_holes,
    find_tissue,
    optical_density,
    otsu_within,
    outline,
    saturation_of,
)

ROWS, COLUMNS = slice(60, 180), slice(80, 240)
LIMITS = {"mpp": 8.0, "min_object_um2": 20_000.0, "max_hole_um2": 20_000.0}


def overlap(mask, *, rows=ROWS, columns=COLUMNS):
    """Intersection over union with a rectangle."""
    truth = np.zeros_like(mask)
    truth[rows, columns] = True
    return (mask & truth).sum() / (mask | truth).sum()


def tissue_mask(rgb, **options):
    return find_tissue(rgb, **options).tissue


def painted(pixels, colour, *, rows, columns):
    copy = pixels.copy()
    copy[rows, columns] = colour
    return copy


@pytest.fixture
def slide():
    return with_tissue(glass(width=320, height=240), rows=ROWS, columns=COLUMNS)


def test_saturation_is_that_of_hsv():
    rgb = np.random.default_rng(0).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    independent = np.asarray(Image.fromarray(rgb).convert("HSV"))[:, :, 1] / 255
    np.testing.assert_allclose(saturation_of(rgb.astype(np.float32)), independent, atol=1.01 / 255)
    assert saturation_of(np.zeros((1, 1, 3), dtype=np.float32)) == 0


def test_optical_density_is_zero_for_white_and_adds_for_two_filters():
    assert optical_density(np.full((1, 1, 3), 255.0)) == pytest.approx(0)
    once, twice = 256 * 0.5 - 1, 256 * 0.25 - 1
    assert optical_density(np.full((1, 1, 3), twice)) == pytest.approx(2 * optical_density(np.full((1, 1, 3), once)))


def test_otsu_separates_two_classes_and_stays_within_its_limits():
    values = np.concatenate([np.full(50, 0.1), np.full(50, 0.9)])
    assert 0.1 <= otsu_within(values, limits=(0.0, 1.0)) < 0.9
    assert otsu_within(values, limits=(0.3, 0.4)) in (0.3, 0.4)
    assert otsu_within(np.zeros(9), limits=(0.3, 0.4)) == 0.3


def test_pieces_and_holes_as_scikit_image_has_them():
    mask = np.random.default_rng(1).random((80, 80)) < 0.55
    np.testing.assert_array_equal(
        drop_small(mask, min_object_px=12), remove_small_objects(mask, max_size=11, connectivity=2)
    )
    inner = np.pad(np.ones((80, 80), bool), 1)  # a closed frame: no hole touches the border
    inner[2:-2, 2:-2] = mask[1:-1, 1:-1]
    holes = np.pad(fill_small_holes(inner[1:-1, 1:-1], max_hole_px=12), 1)
    np.testing.assert_array_equal(holes[1:-1, 1:-1], remove_small_holes(inner[1:-1, 1:-1], max_size=11, connectivity=1))


def test_a_hole_at_the_border_is_background_however_small():
    mask = np.ones((9, 9), bool)
    mask[0, 4] = mask[4, 4] = False
    filled = fill_small_holes(mask, max_hole_px=5)
    assert not filled[0, 4]
    assert filled[4, 4]


def test_outline_surrounds_the_mask():
    mask = np.zeros((10, 12), bool)
    mask[2:7, 3:9] = True
    line = outline(mask)
    assert line.sum() == 2 * 5 + 2 * 6 - 4
    assert not line[3:6, 4:8].any()


def test_finds_a_rectangle_of_tissue_within_a_pixel_of_blur(slide):
    assert overlap(tissue_mask(slide, **LIMITS)) > 0.96


@pytest.mark.parametrize("tint", [(255, 255, 255), (243, 243, 243), (240, 236, 238), (225, 225, 225)])
def test_empty_glass_has_no_tissue(tint):
    noise = np.random.default_rng(2).normal(0, 2, size=(200, 200, 3))
    assert not tissue_mask(np.clip(tint + noise, 0, 255).astype(np.uint8), **LIMITS).any()


def test_a_slide_full_of_tissue_is_all_tissue():
    full = with_tissue(glass(width=100, height=90), rows=slice(None), columns=slice(None))
    assert tissue_mask(full, **LIMITS).all()


INKS = {
    "green": (60, 160, 80),
    "blue": (30, 80, 180),
    "turquoise": (20, 150, 150),
    "black": (25, 25, 28),
    "red": (205, 25, 40),
    "dark red": (170, 15, 30),
}


@pytest.mark.parametrize("ink", INKS.values(), ids=INKS)
def test_ink_beside_the_tissue_is_left_out(slide, ink):
    marked = painted(slide, ink, rows=slice(10, 40), columns=slice(20, 300))
    found = find_tissue(marked, **LIMITS)
    assert found.ink[10:40, 20:300].all()
    assert not found.ink[60:].any()
    assert not found.tissue[:50].any()
    assert overlap(found.tissue) > 0.96


@pytest.mark.parametrize(
    "stain",
    [(120, 80, 150), (235, 190, 215), (215, 60, 140), (190, 60, 80), (200, 55, 70)],
    ids=["haematoxylin", "pale eosin", "strong eosin", "blood", "strong blood"],
)
def test_colours_of_tissue_are_no_ink(stain):
    stained = painted(glass(width=320, height=240), stain, rows=ROWS, columns=COLUMNS)
    assert overlap(tissue_mask(stained, **LIMITS)) > 0.96


def test_a_vessel_of_the_purest_blood_is_too_small_for_a_stroke_of_ink(slide):
    vessel = painted(slide, (205, 25, 40), rows=slice(100, 130), columns=slice(120, 150))  # 0.24 mm across
    assert not find_tissue(vessel, **LIMITS).ink.any()


def test_plain_otsu_takes_ink_for_tissue_and_finds_the_rest(slide):
    assert overlap(tissue_mask(slide, method="otsu", **LIMITS)) > 0.96
    marked = painted(slide, (60, 160, 80), rows=slice(10, 40), columns=slice(20, 300))
    found = find_tissue(marked, method="otsu", **LIMITS)
    assert found.tissue[12:38, 22:298].all()
    assert not found.ink.any()
    assert not tissue_mask(glass(width=100, height=100), method="otsu", **LIMITS).any()


def test_grey_shadow_of_the_cover_slip_is_left_out(slide):
    assert (
        overlap(tissue_mask(painted(slide, (190, 190, 192), rows=slice(200, 230), columns=slice(None)), **LIMITS))
        > 0.96
    )


def test_areas_are_in_square_micrometres(slide):
    hole_px, mpp = 20 * 20, 8.0
    pierced = painted(slide, (243, 243, 243), rows=slice(100, 120), columns=slice(120, 140))
    sizes = {"mpp": mpp, "min_object_um2": 0.0}
    kept = tissue_mask(pierced, max_hole_um2=0.5 * hole_px * mpp**2, **sizes)
    filled = tissue_mask(pierced, max_hole_um2=1.2 * hole_px * mpp**2, **sizes)
    assert not kept[110, 130]
    assert filled[110, 130]
    all_tissue_um2 = 120 * 160 * mpp**2
    assert not tissue_mask(slide, mpp=mpp, min_object_um2=1.2 * all_tissue_um2, max_hole_um2=0.0).any()


def test_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match=r"expected uint8 \(height, width, 3\), found float64"):
        tissue_mask(np.zeros((3, 3, 3)), **LIMITS)


@pytest.mark.real
def test_real_thumbnails_of_tcga_slides(real_data):
    """Every one has tissue, and the lower right corner, glass or pen on all of them, is none."""
    for path in sorted((real_data / "thumbnails").glob("*.jpg")):
        mask = tissue_mask(np.asarray(Image.open(path).convert("RGB")), **(LIMITS | {"mpp": 16.0}))
        assert 0.05 < mask.mean() < 0.8, path.name
        assert not mask[-3:, -3:].any(), path.name
