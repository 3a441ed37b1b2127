"""Tissue that somebody else has marked on a slide: an image mask, or polygons as GeoJSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from tta_pipeline.errors import SlideError

_GEOJSON = (".geojson", ".json")
_MAX_DISTORTION = 0.02
_MAX_MASK_PX = 400_000_000

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
        The file is missing, of another kind, without polygons, or a mask of another shape than the slide's.
    """
    if not path.is_file():
        raise SlideError(f"{slide_id}: expected a mask at {path}, found nothing. Mend its path in the slides sheet.")
    if path.suffix.lower() in _GEOJSON:
        return _rasterise(list(_polygons(path, slide_id=slide_id)), shape=shape, downsample=downsample)
    return _resized(path, slide_id=slide_id, size_level0=size_level0, shape=shape, downsample=downsample)


def _resized(
    path: Path, *, slide_id: str, size_level0: tuple[int, int], shape: tuple[int, int], downsample: float
) -> NDArray[np.bool_]:
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MAX_MASK_PX:
                raise SlideError(
                    f"{slide_id}: expected a mask of at most {_MAX_MASK_PX:,} pixels, found {image.width} x "
                    f"{image.height} in {path}. Save it at a coarser resolution."
                )
            marked = np.asarray(image.convert("L")) > 0
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
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


def _rasterise(polygons: list[list[Ring]], *, shape: tuple[int, int], downsample: float) -> NDArray[np.bool_]:
    marked = np.zeros(shape, dtype=np.bool_)
    for outer, *holes in polygons:
        canvas = Image.new("1", (shape[1], shape[0]))
        draw = ImageDraw.Draw(canvas)
        for ring, value in ((outer, 1), *((hole, 0) for hole in holes)):
            # A pixel belongs to a polygon that holds its centre, which Pillow places at whole numbers.
            draw.polygon([(x / downsample - 0.5, y / downsample - 0.5) for x, y in ring], fill=value)
        marked |= np.asarray(canvas)
    return marked


def _polygons(path: Path, *, slide_id: str) -> Iterator[list[Ring]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = [
            [[(float(point[0]), float(point[1])) for point in ring] for ring in polygon]
            for geometry in _geometries(content)
            for polygon in (
                geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
            )
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
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
