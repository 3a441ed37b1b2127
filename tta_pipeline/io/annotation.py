"""Tissue that somebody else has marked on a slide: an image mask, or polygons as GeoJSON."""

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from tta_pipeline.errors import SlideError

_GEOJSON = (".geojson", ".json")
_MAX_DISTORTION = 0.02

Ring = list[tuple[float, float]]


def read_annotation(
    path: Path, *, slide_id: str, size_level0: tuple[int, int], shape: tuple[int, int], downsample: float
) -> NDArray[np.bool_]:
    """Marked tissue on the grid of a thumbnail.

    Parameters
    ----------
    path
        .geojson or .json: polygons in level-0 pixels, as QuPath exports them; their union is tissue. Anything else: an
        image of the whole slide at any resolution; what is not black is tissue.
    size_level0
        Width and height of the slide in level-0 pixels.
    shape, downsample
        Height and width of the thumbnail, and level-0 pixels per pixel of it.

    Returns
    -------
    Boolean, of the given shape.

    Raises
    ------
    SlideError
        The file is missing, of another kind, marks nothing on the slide, or is a mask of another shape than its own.
    """
    if not path.is_file():
        raise SlideError(f"{slide_id}: expected a mask at {path}, found nothing. Mend its path in the slides sheet.")
    if path.suffix.lower() in _GEOJSON:
        marked = _rasterise(list(_polygons(path, slide_id=slide_id)), shape=shape, downsample=downsample)
    else:
        marked = _resized(path, slide_id=slide_id, size_level0=size_level0, shape=shape, downsample=downsample)
    if not marked.any():
        raise SlideError(
            f"{slide_id}: expected tissue to be marked in {path}, found nothing within the slide of {size_level0[0]} x "
            f"{size_level0[1]} px. Polygons must be in level-0 pixels; in an image, tissue is what is not black."
        )
    return marked


def _resized(
    path: Path, *, slide_id: str, size_level0: tuple[int, int], shape: tuple[int, int], downsample: float
) -> NDArray[np.bool_]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                marked = _not_black(image)
    except Image.DecompressionBombError as error:
        raise SlideError(
            f"{slide_id}: expected a mask of at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, found {path} "
            f"({error}). Save it at a coarser resolution."
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:  # Pillow's, for damaged files
        raise SlideError(f"{slide_id}: expected an image mask or .geojson, found {path} ({error}).") from error
    width, height = size_level0
    distortion = (marked.shape[1] / width) / (marked.shape[0] / height)
    if abs(distortion - 1) > _MAX_DISTORTION:
        raise SlideError(
            f"{slide_id}: expected a mask of the whole slide, {width} x {height} px or as much smaller along both "
            f"axes, found {marked.shape[1]} x {marked.shape[0]} in {path}."
        )
    # The centre of each pixel of the thumbnail, in pixels of the mask; beyond the slide its last row and column.
    rows, columns = (
        np.minimum(((np.arange(count) + 0.5) * downsample / length * extent).astype(np.int64), extent - 1)
        for count, length, extent in zip(shape, (height, width), marked.shape, strict=True)
    )
    return np.asarray(marked[np.ix_(rows, columns)])


def _not_black(image: Image.Image) -> NDArray[np.bool_]:
    """Pixels of any value but black or 0, in whatever mode the image is; transparent ones are not marked."""
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;"):
        return np.asarray(np.asarray(image) != 0)
    pixels = np.asarray(image.convert("RGBA"))
    return np.asarray(pixels[:, :, :3].any(axis=2) & (pixels[:, :, 3] > 0))


def _rasterise(polygons: list[list[Ring]], *, shape: tuple[int, int], downsample: float) -> NDArray[np.bool_]:
    """The union of polygons, each drawn on a canvas of its own size."""
    marked = np.zeros(shape, dtype=np.bool_)
    for rings in polygons:
        # A pixel belongs to a polygon that holds its centre, which Pillow places at whole numbers.
        outer, *holes = (np.array(ring) / downsample - 0.5 for ring in rings)  # (point, 2)
        left, top = np.maximum(np.floor(outer.min(axis=0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(outer.max(axis=0)) + 1, shape[::-1]).astype(int)
        if right <= left or bottom <= top:
            continue
        canvas = Image.new("1", (int(right - left), int(bottom - top)))
        draw = ImageDraw.Draw(canvas)
        for ring, value in ((outer, 1), *((hole, 0) for hole in holes)):
            draw.polygon([tuple(point) for point in ring - (left, top)], fill=value)
        marked[top:bottom, left:right] |= np.asarray(canvas)
    return marked


def _polygons(path: Path, *, slide_id: str) -> Iterator[list[Ring]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        found = [
            [[(float(point[0]), float(point[1])) for point in ring] for ring in polygon]
            for geometry in _geometries(content)
            for polygon in (
                geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
            )
        ]
        if not all(math.isfinite(value) for polygon in found for ring in polygon for point in ring for value in point):
            raise ValueError("a coordinate is no finite number")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SlideError(
            f"{slide_id}: expected polygons as GeoJSON in level-0 pixels, found {path} that cannot be read as such "
            f"({type(error).__name__}: {error})."
        ) from error
    found = [polygon for polygon in found if polygon and all(len(ring) >= 3 for ring in polygon)]
    if not found:
        raise SlideError(f"{slide_id}: expected at least one polygon, found none in {path}.")
    yield from found


def _geometries(content: Any) -> Iterator[dict[str, Any]]:
    """Every Polygon and MultiPolygon within a geometry, a feature, a collection of either, or a list of them."""
    if isinstance(content, list):
        for item in content:
            yield from _geometries(item)
    elif content.get("type") in ("Polygon", "MultiPolygon"):
        yield content
    else:
        for key in ("features", "geometries", "geometry"):
            if content.get(key):
                yield from _geometries(content[key])
