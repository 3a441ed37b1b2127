"""Tiny slides for the tests of slides, tiles and features; lossless unless asked otherwise."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

TILE_PX = 64


def write_slide(
    path: Path, pixels: NDArray[np.uint8], *, header: str = "|MPP = 0.5", levels: int = 1, compression: str = "zlib"
) -> Path:
    """Write uint8 (height, width, 3) as an Aperio slide whose level l is reduced 4**l times by averaging."""
    height, width = pixels.shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            factor = 4**level
            small = pixels[: height // factor * factor, : width // factor * factor]
            small = small.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3))
            file.write(
                small.round().astype(np.uint8),
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                compression=compression,
                metadata=None,
                description=f"Aperio Image Library v11.0.0\r\n{width}x{height} ({TILE_PX}x{TILE_PX}) Q=70{header}",
            )
    return path


def glass(*, width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Empty glass with the noise of a camera, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).normal(0, 2, size=(height, width, 3))
    return np.clip(243 + noise, 0, 255).astype(np.uint8)


def with_tissue(pixels: NDArray[np.uint8], *, rows: slice, columns: slice, seed: int = 1) -> NDArray[np.uint8]:
    """The same picture with a rectangle in the colours of haematoxylin and eosin."""
    painted = pixels.copy()
    shape = painted[rows, columns].shape
    noise = np.random.default_rng(seed).normal(0, 12, size=shape)
    painted[rows, columns] = np.clip(np.array([190, 110, 170]) + noise, 0, 255).astype(np.uint8)
    return painted


def damage(slide: Path, target: Path, *, tile: int = 4) -> Path:
    """Copy a slide with the data of one level-0 tile (counted row by row) overwritten by zeros."""
    with tifffile.TiffFile(slide) as file:
        start, size = file.pages[0].dataoffsets[tile], file.pages[0].databytecounts[tile]
    content = bytearray(slide.read_bytes())
    content[start : start + size] = bytes(size)
    target.write_bytes(content)
    return target
