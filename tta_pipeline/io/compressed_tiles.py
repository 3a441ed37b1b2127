"""The compressed tiles of a TIFF slide, decoded without detours: each once, and at 1/2, 1/4 or 1/8 where less is asked.

A tile of a slide at 40x and 20x is four JPEG tiles, whole or in parts. libjpeg leaves out the high frequencies of a
JPEG tile for a fraction of the cost of decoding and reducing it, and a decoded tile is kept for its neighbours. Only
what is known to mean the same as in OpenSlide is read here: 8-bit tiled JPEG in RGB or YCbCr, and JPEG 2000 in RGB, of
Aperio and generic TIFF files. OpenSlide reads everything else.
"""

import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

log = logging.getLogger(__name__)

RGB = NDArray[np.uint8]
VENDORS = ("aperio", "generic-tiff")
_JPEG, _APERIO_JPEG2000_RGB = 7, 33005
_PHOTOMETRIC_RGB, _PHOTOMETRIC_YCBCR = 2, 6
_JPEG_REDUCTIONS = (8, 4, 2, 1)
# A compressed tile is hardly ever larger than its pixels; a damaged header may say so.
_MAX_EXPANSION = 4
_LOST_BLOCK = bytes(256)
_JPEG2000_END, _PADDING = b"\xff\xd9", 4
_START, _APP0, _APP14 = b"\xff\xd8", b"\xff\xe0", b"\xff\xee"
# Adobe's marker, which tells libjpeg the colour space: version 100, two fields of flags, then the transform.
_ADOBE = _APP14 + b"\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_COLOUR_TRANSFORM = {_PHOTOMETRIC_RGB: b"\x00", _PHOTOMETRIC_YCBCR: b"\x01"}


class TileDecodeError(Exception):
    """A compressed tile is cut off or damaged."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid, cut into compressed tiles, row by row.

    offsets, sizes: place of each tile in the file, bytes; size 0 is a tile that the scanner left out.
    head: what goes before a tile's own data to make it a JPEG file; empty for JPEG 2000.
    reductions: by how much a tile may be reduced while it is decoded, largest first.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    head: bytes
    reductions: tuple[int, ...]


def find_levels(path: Path, *, dimensions: Sequence[tuple[int, int]]) -> list[Level | None]:
    """Levels that can be read here: for each (width, height) of OpenSlide's levels one of the file's, or None.

    A file whose structure tifffile cannot read has none; what is wrong with it is OpenSlide's to say.
    """
    try:
        with tifffile.TiffFile(path) as file:
            pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
            sizes = Counter((page.imagewidth, page.imagelength) for page in pages)
            readable = {(page.imagewidth, page.imagelength): page for page in pages if _readable(page)}
            # Of two pages of one size, as of a stack of focal planes, only OpenSlide knows which it takes.
            found = {size: page for size, page in readable.items() if sizes[size] == 1}
            return [_level(found[size]) if size in found else None for size in dimensions]
    except (tifffile.TiffFileError, ValueError, LookupError, ArithmeticError, OSError, TypeError) as error:
        log.info("%s: its tiles cannot be read directly (%s)", path, error)
        return [None] * len(dimensions)


class CompressedTiles:
    """Pixels from the compressed tiles of a file; may be used from several threads.

    Parameters
    ----------
    levels
        See `find_levels`.
    cache_bytes
        Memory for decoded tiles.
    """

    def __init__(self, path: Path, levels: Sequence[Level | None], *, cache_bytes: int):
        self.levels = tuple(levels)
        self._file = os.open(path, os.O_RDONLY)
        self._decoded = _OnceCache(cache_bytes)

    def close(self) -> None:
        """Close the file and drop the cache."""
        os.close(self._file)
        self._decoded.clear()

    def read(self, index: int, *, reduction: int, left: int, top: int, width: int, height: int) -> RGB | None:
        """Pixels of a box of level `index`, reduced `reduction` times while decoding.

        Parameters
        ----------
        left, top, width, height
            The box in reduced pixels. Its upper-left corner lies on the level; what lies beyond the right or lower
            border repeats the last column or row.

        Returns
        -------
        uint8 (height, width, 3), or None where the scanner left a tile of the box out.

        Raises
        ------
        TileDecodeError
            A tile of the box is damaged.
        """
        level = self.levels[index]
        if level is None:
            raise ValueError(f"level {index} cannot be read directly")
        inner_width = min(width, -(-level.width // reduction) - left)
        inner_height = min(height, -(-level.height // reduction) - top)
        tile_width, tile_height = level.tile_width // reduction, level.tile_height // reduction
        box = np.empty((inner_height, inner_width, 3), dtype=np.uint8)
        for row in range(top // tile_height, (top + inner_height - 1) // tile_height + 1):
            for column in range(left // tile_width, (left + inner_width - 1) // tile_width + 1):
                tile = self._tile(index, level, row=row, column=column, reduction=reduction)
                if tile is None:
                    return None
                y, x = row * tile_height - top, column * tile_width - left  # of the tile's corner in the box
                part = tile[max(0, -y) : inner_height - y, max(0, -x) : inner_width - x]
                box[max(0, y) : y + tile_height, max(0, x) : x + tile_width] = part
        if (inner_height, inner_width) == (height, width):
            return box
        return np.pad(box, ((0, height - inner_height), (0, width - inner_width), (0, 0)), mode="edge")

    def _tile(self, index: int, level: Level, *, row: int, column: int, reduction: int) -> RGB | None:
        number = row * -(-level.width // level.tile_width) + column
        size = int(level.sizes[number])
        if size == 0:
            return None

        def decode() -> RGB:
            try:
                data = self._read(number, level)
                tile = _decode(data, level=level, reduction=reduction)
            except (ValueError, RuntimeError, OSError) as error:
                raise TileDecodeError(f"compressed tile {number} of level {index} ({size} bytes): {error}") from error
            expected = (level.tile_height // reduction, level.tile_width // reduction, 3)
            if tile.shape != expected or tile.dtype != np.uint8:
                raise TileDecodeError(
                    f"compressed tile {number} of level {index}: expected uint8 {expected}, found {tile.dtype} "
                    f"{tile.shape}"
                )
            return tile

        return self._decoded.get((index, number, reduction), decode)

    def _read(self, number: int, level: Level) -> bytes:
        size = int(level.sizes[number])
        largest = _MAX_EXPANSION * level.tile_width * level.tile_height * 3
        if size > largest:
            raise ValueError(f"at most {largest} bytes expected, the header names {size}")
        data = os.pread(self._file, size, int(level.offsets[number]))
        if len(data) < size:
            raise ValueError(f"the file ends after {len(data)} of them")
        return data


class _OnceCache:
    """The latest values by key; a value that is being made is waited for, not made twice."""

    def __init__(self, size_bytes: int):
        self._free_bytes = size_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[tuple[int, int, int], Future[RGB]] = OrderedDict()

    def get(self, key: tuple[int, int, int], make: Callable[[], RGB]) -> RGB:
        with self._lock:
            known = self._values.get(key)
            if known is not None:
                self._values.move_to_end(key)
            else:
                future: Future[RGB] = Future()
                self._values[key] = future
        if known is not None:
            return known.result()
        try:
            value = make()
        except BaseException as error:
            future.set_exception(error)
            raise
        with self._lock:
            # Within the lock, so that an entry whose value is there has been counted.
            future.set_result(value)
            if self._values.get(key) is future:  # not dropped meanwhile
                self._free_bytes -= value.nbytes
            while self._free_bytes < 0 and self._values:
                self._drop_oldest()
        return value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()

    def _drop_oldest(self) -> None:
        _, oldest = self._values.popitem(last=False)
        if oldest.done() and oldest.exception() is None:
            self._free_bytes += oldest.result().nbytes


def _readable(page: tifffile.TiffPage) -> bool:
    return (
        page.is_tiled
        and (page.bitspersample, page.samplesperpixel, page.planarconfig) == (8, 3, 1)
        and (
            (page.compression == _JPEG and page.photometric in _COLOUR_TRANSFORM)
            or page.compression == _APERIO_JPEG2000_RGB
        )
    )


def _level(page: tifffile.TiffPage) -> Level:
    jpeg = page.compression == _JPEG
    expected = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    if not len(page.dataoffsets) == len(page.databytecounts) == expected:
        raise ValueError(f"{expected} tiles expected, {len(page.dataoffsets)} found")
    edges = (page.tilewidth, page.tilelength)
    return Level(
        width=page.imagewidth,
        height=page.imagelength,
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        offsets=np.asarray(page.dataoffsets, dtype=np.int64),
        sizes=np.asarray(page.databytecounts, dtype=np.int64),
        head=_jpeg_head(page) if jpeg else b"",
        reductions=tuple(r for r in _JPEG_REDUCTIONS if not any(edge % r for edge in edges)) if jpeg else (1,),
    )


def _jpeg_head(page: tifffile.TiffPage) -> bytes:
    """Start of image, the colour space that the TIFF names, and the tables that all tiles share."""
    tables = bytes(page.jpegtables)[2:-2] if page.jpegtables else b""  # without start and end of image
    return _START + _ADOBE + _COLOUR_TRANSFORM[int(page.photometric)] + tables


def _decode(data: bytes, *, level: Level, reduction: int) -> RGB:
    if not level.head:
        # The decoder would make something up for what is missing.
        if _JPEG2000_END not in data[-_PADDING:]:
            raise ValueError("it does not end as JPEG 2000 data do: they are cut off")
        if _LOST_BLOCK in data:
            raise ValueError(f"{len(_LOST_BLOCK)} zero bytes in a row, which JPEG 2000 does not have: a block is lost")
        return np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    if data[:2] != _START:
        raise ValueError("it does not start as JPEG data do")
    start = 2
    while data[start : start + 2] in (_APP0, _APP14):  # the tile's own word on its colours gives way to the TIFF's
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return np.asarray(
        simplejpeg.decode_jpeg(
            level.head + data[start:],
            colorspace="RGB",
            min_height=level.tile_height // reduction,
            min_width=level.tile_width // reduction,
            min_factor=reduction,
            strict=True,
        )
    )
