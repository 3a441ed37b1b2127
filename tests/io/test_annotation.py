"""Tissue that somebody else has marked: image masks and GeoJSON, on the grid of a thumbnail."""

import json

import numpy as np
import pytest
from PIL import Image

from tta_pipeline.errors import SlideError
from tta_pipeline.io.annotation import read_annotation

SIZE, SHAPE, DOWNSAMPLE = (1600, 1000), (63, 100), 16.0  # 1000 / 16 = 62.5: the last row reaches beyond the slide


def read(path):
    return read_annotation(path, slide_id="s1", size_level0=SIZE, shape=SHAPE, downsample=DOWNSAMPLE)


def rectangle(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def marked(left, top, right, bottom):
    """Pixels of the thumbnail whose centres lie in a box of level-0 pixels."""
    x, y = ((np.arange(count) + 0.5) * DOWNSAMPLE for count in (SHAPE[1], SHAPE[0]))
    return ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))[None]


@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0])
def test_a_mask_of_any_resolution(tmp_path, scale):
    width, height = (round(length * scale) for length in SIZE)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[: height // 2, width // 4 :] = 1  # what is not black is tissue
    Image.fromarray(mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read(tmp_path / "m.png"), marked(400, 0, 1600, 500))


OUTER, HOLE, OTHER = rectangle(160, 160, 800, 640), rectangle(320, 320, 480, 480), rectangle(1000, 100, 1200, 300)
IMAGES = {
    "white on transparent": lambda mask: np.dstack([np.full((*mask.shape, 3), 255), mask * 255]).astype(np.uint8),
    "dark labels": lambda mask: np.dstack([mask * 3, mask * 0, mask * 0]).astype(np.uint8),
    "fractions": lambda mask: mask.astype(np.float32) * 0.4,
    "16 bit": lambda mask: mask.astype(np.uint16) * 9,
    "one bit": lambda mask: mask.astype(bool),
}


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)
def test_a_mask_in_any_mode(tmp_path, make):
    mask = np.zeros((100, 160), dtype=np.uint8)
    mask[:50, 40:] = 1
    Image.fromarray(make(mask)).save(tmp_path / "m.tiff")
    np.testing.assert_array_equal(read(tmp_path / "m.tiff"), marked(400, 0, 1600, 500))


FEATURES = {
    "collection": {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": polygon(OUTER, HOLE), "properties": {}},
            {"type": "Feature", "geometry": polygon(OTHER), "properties": {}},
        ],
    },
    "list of features": [
        {"type": "Feature", "geometry": polygon(OUTER, HOLE)},
        {"type": "Feature", "geometry": polygon(OTHER)},
    ],
    "one multipolygon": {"type": "MultiPolygon", "coordinates": [[OUTER, HOLE], [OTHER]]},
}


@pytest.mark.parametrize("content", FEATURES.values(), ids=FEATURES)
def test_polygons_with_holes(tmp_path, content):
    (tmp_path / "m.geojson").write_text(json.dumps(content))
    found = read(tmp_path / "m.geojson")
    expected = (marked(160, 160, 800, 640) & ~marked(320, 320, 480, 480)) | marked(1000, 100, 1200, 300)
    # Pillow draws a polygon with its border: up to one pixel more at each edge.
    assert (found != expected).mean() < 0.03
    inner = (marked(180, 180, 780, 620) & ~marked(300, 300, 500, 500)) | marked(1020, 120, 1180, 280)
    outer = (marked(140, 140, 820, 660) & ~marked(340, 340, 460, 460)) | marked(980, 80, 1220, 320)
    assert found[inner].all()
    assert not found[~outer].any()


def test_overlapping_polygons_do_not_cut_each_other(tmp_path):
    content = [{"geometry": polygon(OUTER, HOLE)}, {"geometry": polygon(rectangle(300, 300, 500, 500))}]
    (tmp_path / "m.json").write_text(json.dumps(content))
    assert read(tmp_path / "m.json")[marked(200, 200, 760, 600)].all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.geojson", "{", "expected polygons as GeoJSON"),
        ("m.geojson", '{"type": "Point", "coordinates": [1, 2]}', "expected at least one polygon"),
        (
            "m.geojson",
            '{"type": "Polygon", "coordinates": [[[1, 2], ["a", 3], [4, 5]]]}',
            "expected polygons as GeoJSON",
        ),
        ("m.geojson", '{"type": "Polygon"}', "expected polygons as GeoJSON"),
        ("m.geojson", "3", "expected polygons as GeoJSON"),
        (
            "m.geojson",
            '{"type": "Polygon", "coordinates": [[[1, 2], [NaN, 3], [4, 5]]]}',
            "expected polygons as GeoJSON",
        ),
        ("m.geojson", "[" * 100_000, "expected polygons as GeoJSON"),
        (
            "m.geojson",
            '{"type": "Polygon", "coordinates": [[[9000, 9000], [9900, 9000], [9900, 9900]]]}',
            "expected tissue to be marked in",
        ),
        ("m.png", "text", "expected an image mask or .geojson"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(SlideError, match=rf"s1: {message}.*{name}"):
        read(tmp_path / name)


def test_a_polygon_that_reaches_beyond_the_slide(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps(polygon(rectangle(-800, 400, 480, 5000))))
    found = read(tmp_path / "m.json")
    assert found[marked(-1, 420, 460, 1000)].all()
    assert not found[:, 33:].any()
    assert not found[:23].any()


def test_an_empty_mask(tmp_path):
    Image.fromarray(np.zeros((100, 160), dtype=np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(
        SlideError, match=r"s1: expected tissue to be marked in .*m\.png, found nothing within the slide"
    ):
        read(tmp_path / "m.png")


def test_a_missing_mask(tmp_path):
    with pytest.raises(SlideError, match=r"s1: expected a mask at .*none\.png, found nothing"):
        read(tmp_path / "none.png")
