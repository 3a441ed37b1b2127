"""Whole-slide images: their size and micrometres per pixel, and pixels of any region at any resolution.

Coordinates and sizes named `level0` are pixels of the slide's finest level. Colours are those of the file: ICC profiles
are not applied.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from tta_pipeline.errors import SlideError
from tta_pipeline.io.compressed_tiles import VENDORS, CompressedTiles, TileDecodeError, find_levels
from tta_pipeline.io.resolution import resolve_mpp

# A level that is coarser than asked by less than this counts as fitting: pyramids have downsamples such as 4.0002, and
# scanners of 40x give 0.2462 to 0.2530 µm per pixel, so that half of their resolution is 0.5 but for 1 %.
_LEVEL_TOLERANCE = 1.02
_BLOCK_PX = 2048
_CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class Slide:
    """An open slide. Its methods may be called from several threads.

    mpp: micrometres per pixel of level 0, and where it was found (`mpp_source`).
    """

    slide_id: str
    path: Path
    width_level0: int
    height_level0: int
    mpp: float
    mpp_source: str
    _downsamples: tuple[float, ...] = field(repr=False)
    _background: str = field(repr=False)
    _handle: openslide.OpenSlide = field(repr=False)
    _tiles: CompressedTiles | None = field(repr=False, default=None)

    def read_square(
        self, *, left_level0: int, top_level0: int, edge_level0: float, edge_px: int
    ) -> tuple[NDArray[np.uint8], float]:
        """Pixels of a square of `edge_level0` level-0 pixels, at the coarsest resolution at hand of `edge_px` or more.

        That is the coarsest level that is fine enough; a level of JPEG tiles counts as being there at 1/2, 1/4 and 1/8
        too, since it can be decoded so. The square's corner is rounded to a pixel of that resolution.

        Returns
        -------
        uint8 (height, width, 3), the square and, where it is to be resized, up to two more pixels to the right and
        below; and the number of these pixels, not rounded, per pixel of `edge_px`.

        Raises
        ------
        SlideError
            The square cannot be decoded.
        """
        factor = edge_level0 / edge_px
        level, reduction = self._source(factor)
        scale = self._downsamples[level] * reduction
        left, top = (math.floor(start / scale + 0.5) for start in (left_level0, top_level0))
        edge = _edge_to_read(edge_px, factor / scale)
        if self._tiles is not None and self._tiles.levels[level] is not None:
            try:
                pixels = self._tiles.read(level, reduction=reduction, left=left, top=top, width=edge, height=edge)
            except TileDecodeError as error:
                raise SlideError(
                    f"{self.slide_id}: expected readable pixels at x {left_level0}, y {top_level0} of {self.path}, "
                    f"found damaged data: {error}. The file is damaged or cut off: fetch it again."
                ) from error
            if pixels is not None:
                return pixels, factor / scale
        return self._square_of_openslide(left_level0, top_level0, edge_px=edge_px, factor=factor)

    def _square_of_openslide(self, x: int, y: int, *, edge_px: int, factor: float) -> tuple[NDArray[np.uint8], float]:
        level = self._level(factor)
        scale = self._downsamples[level]
        # Between the pixels of a level OpenSlide would interpolate, and blur.
        x, y = (round(math.floor(start / scale + 0.5) * scale) for start in (x, y))
        edge = _edge_to_read(edge_px, factor / scale)
        return np.array(self._region(x, y, level=level, size=(edge, edge))), factor / scale

    def _source(self, factor: float) -> tuple[int, int]:
        """Level and reduction while decoding from which pixels `factor` times as large as level 0's are made."""
        level = self._level(factor)
        known = None if self._tiles is None else self._tiles.levels[level]
        if known is None:
            return level, 1
        most = factor * _LEVEL_TOLERANCE / self._downsamples[level]
        return level, next((reduction for reduction in known.reductions if reduction <= most), 1)

    def read_tile(self, *, left_level0: int, top_level0: int, edge_level0: float, edge_px: int) -> NDArray[np.uint8]:
        """The square of `read_square`, each pixel the mean over its area: uint8 (edge_px, edge_px, 3)."""
        pixels, factor = self.read_square(
            left_level0=left_level0, top_level0=top_level0, edge_level0=edge_level0, edge_px=edge_px
        )
        covered = edge_px * factor
        box = (0.0, 0.0, min(covered, pixels.shape[1]), min(covered, pixels.shape[0]))
        return np.asarray(Image.fromarray(pixels).resize((edge_px, edge_px), Image.Resampling.BOX, box=box))

    def read(
        self,
        *,
        left_level0: float,
        top_level0: float,
        size_level0: tuple[float, float],
        size_px: tuple[int, int],
        resampling: Image.Resampling,
    ) -> NDArray[np.uint8]:
        """Pixels of a box of `size_level0` = (width, height) level-0 pixels, resized to `size_px` = (width, height).

        Read from the coarsest level that is at least as fine as asked, then resized with an antialiasing filter.
        The box may start and end within a pixel; it is placed to within one level-0 pixel. What the scanner left
        transparent, and what lies beyond the slide, has the slide's background colour, white where it names none.

        Returns
        -------
        uint8 (height, width, 3).

        Raises
        ------
        SlideError
            The region cannot be decoded.
        """
        factor = size_level0[0] / size_px[0]
        level = self._level(factor)
        scale = self._downsamples[level]
        left, top = left_level0 / scale, top_level0 / scale
        right, bottom = left + size_level0[0] / scale, top + size_level0[1] / scale
        x, y = math.floor(left + 1e-6), math.floor(top + 1e-6)
        width, height = math.ceil(right - 1e-6) - x, math.ceil(bottom - 1e-6) - y
        region = self._region(round(x * scale), round(y * scale), level=level, size=(width, height))
        box = (max(left - x, 0.0), max(top - y, 0.0), min(right - x, width), min(bottom - y, height))
        return np.asarray(region.resize(size_px, resampling, box=box))

    def thumbnail(self, *, downsample: float) -> NDArray[np.uint8]:
        """The whole slide, each pixel the mean of `downsample` x `downsample` level-0 pixels.

        Read and reduced block by block, so that memory does not grow with the slide. Pixel (r, c) covers level-0
        pixels `c * downsample` to `(c + 1) * downsample`; the last row and column may reach beyond the slide.

        Returns
        -------
        uint8 (ceil(height / downsample), ceil(width / downsample), 3).
        """
        height, width = (math.ceil(length / downsample) for length in (self.height_level0, self.width_level0))
        block = max(1, int(_BLOCK_PX * self._downsamples[self._level(downsample)] / downsample))
        image = np.empty((height, width, 3), dtype=np.uint8)
        for top in range(0, height, block):
            for left in range(0, width, block):
                rows, columns = min(block, height - top), min(block, width - left)
                image[top : top + rows, left : left + columns] = self.read(
                    left_level0=left * downsample,
                    top_level0=top * downsample,
                    size_level0=(columns * downsample, rows * downsample),
                    size_px=(columns, rows),
                    resampling=Image.Resampling.BOX,
                )
        return image

    def _level(self, downsample: float) -> int:
        fitting = [level for level, scale in enumerate(self._downsamples) if scale <= downsample * _LEVEL_TOLERANCE]
        return max(fitting, default=0)

    def _region(self, x: int, y: int, *, level: int, size: tuple[int, int]) -> Image.Image:
        try:
            region = self._handle.read_region((x, y), level, size)  # RGBA
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.slide_id}: expected readable pixels at x {x}, y {y} (level {level}) of {self.path}, found: "
                f"{error}. The file is damaged or cut off: fetch it again."
            ) from error
        if region.getchannel("A").getextrema() == (255, 255):
            return region.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", size, self._background), region).convert("RGB")


def _edge_to_read(edge_px: int, factor: float) -> int:
    """Pixels that `numerics.resampling.resample` needs along each axis."""
    return edge_px if factor == 1.0 else math.ceil(edge_px * factor + 0.5)


@contextmanager
def open_slide(
    path: Path,
    *,
    slide_id: str,
    mpp: float | None,
    reader: Literal["auto", "openslide"] = "auto",
    mpp_from_objective: bool = False,
) -> Iterator[Slide]:
    """Open a whole-slide image.

    Parameters
    ----------
    path
        Any format that OpenSlide reads.
    slide_id
        Name of the slide in messages.
    mpp
        Micrometres per level-0 pixel as the slides sheet gives it; None or NaN reads it from the header.
    reader
        What `read_square` decodes with: the compressed tiles where their format is known ("auto"), or OpenSlide alone.
    mpp_from_objective
        Whether the objective power may stand in for micrometres per pixel that are not known otherwise.

    Raises
    ------
    SlideError
        The file is missing or no slide that OpenSlide reads, a level has no pixels, or its micrometres per pixel are
        unknown, out of 0.05 to 20, or differ between x and y by more than 1 %.
    """
    if not path.is_file():
        raise SlideError(f"{slide_id}: expected a slide at {path}, found nothing. Mend its path in the slides sheet.")
    try:
        handle = openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"{slide_id}: expected a slide that OpenSlide reads, found {path} of {path.stat().st_size} bytes "
            f"({error}). The file is of another format, damaged or cut off: fetch it again."
        ) from error
    with ExitStack() as stack:
        stack.enter_context(handle)
        width, height = handle.dimensions
        if not all(min(size) > 0 for size in handle.level_dimensions):
            raise SlideError(
                f"{slide_id}: expected levels of at least one pixel, found {handle.level_dimensions} in {path}. "
                "The file is damaged: fetch it again."
            )
        tiles = None
        if reader == "auto" and handle.properties.get(openslide.PROPERTY_NAME_VENDOR) in VENDORS:
            levels = find_levels(path, dimensions=handle.level_dimensions)
            tiles = CompressedTiles(path, levels, cache_bytes=_CACHE_BYTES)
            stack.callback(tiles.close)
        if tiles is None or None in tiles.levels:  # else OpenSlide reads little, and its own small cache will do
            handle.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        value, source = resolve_mpp(
            handle.properties, given=mpp, slide_id=slide_id, path=path, from_objective=mpp_from_objective
        )
        yield Slide(
            slide_id=slide_id,
            path=path,
            width_level0=width,
            height_level0=height,
            mpp=value,
            mpp_source=source,
            # Asked once: after one failed read, OpenSlide answers nothing more, in other threads too.
            _downsamples=handle.level_downsamples,
            _background=f"#{handle.properties.get('openslide.background-color', 'FFFFFF')}",
            _handle=handle,
            _tiles=tiles,
        )
